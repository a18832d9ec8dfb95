//! An annotation: the objects of an image, in XML.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::data::text;

/// The names of the objects in an annotation file, `None` where there is no file.
///
/// # Errors
/// A file that cannot be read or is not XML, and an object without a name, or with one in an encoding that is not read.
pub(super) fn read_tags(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = text::read_xml(path)?;
    let text = without_doctype(&text);
    let document = roxmltree::Document::parse(&text)
        .map_err(|e| anyhow!("{} is not valid XML: {e}; repair or remove it", path.display()))?;
    let objects = document.root_element().children().filter(|n| n.has_tag_name("object"));
    let mut names = Vec::new();
    for object in objects {
        // Parts of an object, such as a person's head, have names too, one level further down.
        let name = object.children().find(|n| n.has_tag_name("name"));
        match name.and_then(|n| n.text()).map(str::trim) {
            Some(name) if name.contains(char::REPLACEMENT_CHARACTER) => bail!(
                "{} has an object whose name is in an encoding that is not read; save the file as UTF-8",
                path.display()
            ),
            Some(name) if !name.is_empty() => names.push(name.to_owned()),
            _ => bail!("{} has an object without a name; repair or remove it", path.display()),
        }
    }
    Ok(Some(names))
}

/// The document without its DOCTYPE: whatever entities that defines are never expanded, and what uses them is an error.
fn without_doctype(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find("<!DOCTYPE") else {
        return Cow::Borrowed(text);
    };
    let (mut depth, mut quote) = (0usize, None);
    for (at, sign) in text[start..].char_indices() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(sign),
            (None, '[' | '<') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, '>') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let rest = &text[start + at + 1..];
                    return Cow::Owned(format!("{}{rest}", &text[..start]));
                }
            }
            _ => {}
        }
    }
    Cow::Borrowed(text)
}
