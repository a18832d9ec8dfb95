//! The table of the methods in the README.

use super::METHODS;

/// What stands before the table in the README.
pub(super) const BEGIN: &str = "<!-- methods -->";
/// What stands behind it.
pub(super) const END: &str = "<!-- /methods -->";

/// The methods as a table in Markdown, with the comments around it that the README has.
pub fn readme_table() -> String {
    let mut text = format!("{BEGIN}\n| `--method` | paper | stages | what it is |\n|---|---|---|---|\n");
    for method in METHODS {
        let stages: Vec<String> = method
            .stages
            .iter()
            .map(|stage| format!("`{}`", stage.name()))
            .collect();
        let paper = match &method.paper {
            Some(paper) => format!("[{}]({}) ({})", method.title, paper.link, paper.reference),
            None => method.title.to_string(),
        };
        text += &format!(
            "| `{}` | {paper} | {} | {} |\n",
            method.name,
            stages.join(", "),
            method.summary
        );
    }
    text + END
}
