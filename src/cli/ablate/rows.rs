//! What an ablation trains: the rows of a paper's tables, from `assets/ablations/`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::pipeline::Stage;
use crate::stages;

/// Embedded ablations by method, with the tables that are trained unless others are asked for.
const EMBEDDED: [(&str, &str, &[&str]); 4] = [
    ("rrm", include_str!("../../../assets/ablations/rrm.toml"), &["2"]),
    ("aalr", include_str!("../../../assets/ablations/aalr.toml"), &["1"]),
    ("cian", include_str!("../../../assets/ablations/cian.toml"), &["2"]),
    ("mcis", include_str!("../../../assets/ablations/mcis.toml"), &["2", "4"]),
];

/// The tables of a paper.
#[derive(Deserialize)]
pub struct Ablation {
    /// The last of the stages that all rows share.
    pub shared: String,
    /// All rows of all tables.
    pub row: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Numbers of the tables in the paper that have it, or the name of one that the paper only speaks of; separated by
    /// commas.
    pub table: String,
    /// Name of its run.
    pub name: String,
    /// What the paper calls it.
    pub title: String,
    /// Method that is run.
    pub method: String,
    /// Overrides of the recipe.
    pub set: Vec<String>,
    /// mIoU in the paper, percent; none where it has no such row.
    pub paper: Option<f64>,
    /// The same with other backbones, by name, where the paper has rows with several.
    #[serde(default)]
    pub paper_on: BTreeMap<String, f64>,
    /// Another row, whose training is this one's too.
    pub from: Option<Source>,
    /// Extra images: single or web.
    pub extra: Option<String>,
}

/// A row whose stages another one takes over.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// Its name.
    pub row: String,
    /// The last of these stages.
    pub until: String,
}

impl Row {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.table.split(',').any(|table| table == name)
    }
}

impl Ablation {
    /// The paper's mIoU of `row` with the backbone called `backbone`: of one that the paper has rows with, that row's own or
    /// none; of others the usual one.
    pub fn paper(&self, row: &Row, backbone: &str) -> Option<f64> {
        let is_another = self.row.iter().any(|row| row.paper_on.contains_key(backbone));
        match is_another {
            true => row.paper_on.get(backbone).copied(),
            false => row.paper,
        }
    }
}

/// The stage that an ablation names.
pub fn known(stage: &str) -> Result<Stage> {
    stages::named(stage).with_context(|| format!("assets/ablations: there is no stage {stage}"))
}

/// The ablation, and the rows of it that are asked for.
pub fn rows(method: &str, wanted: &[String]) -> Result<(Ablation, Vec<Row>)> {
    let Some((_, text, main)) = EMBEDDED.iter().find(|(name, ..)| *name == method) else {
        let known = EMBEDDED.map(|(name, ..)| name).join(", ");
        bail!("no ablation of {method:?}: use one of {known}");
    };
    let ablation: Ablation = toml::from_str(text).context("assets/ablations")?;
    let wanted: Vec<&str> = match wanted.is_empty() {
        true => main.to_vec(),
        false => wanted.iter().map(String::as_str).collect(),
    };
    for name in &wanted {
        if !ablation.row.iter().any(|row| row.is_called(name)) {
            let known: Vec<&str> = ablation.row.iter().map(|row| row.name.as_str()).collect();
            bail!("--rows {name}: there is no such row: use {}", known.join(", "));
        }
    }
    let rows = ablation.row.iter();
    let rows = rows.filter(|row| wanted.iter().any(|name| row.is_called(name)));
    let rows = rows.cloned().collect();
    Ok((ablation, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods;
    use crate::recipe::Recipe;

    /// The first stage that a key of the recipe matters to, by what the key begins with; the longer ones first.
    const MATTERS_FROM: [(&str, &str); 7] = [
        ("cam.", "cam"),
        ("mcis.related", "cam"),
        ("mcis.maps", "cam"),
        ("mcis.", "coattend"),
        ("joint.", "joint"),
        ("cian.", "cross"),
        ("predict.", "predict"),
    ];

    /// Whether none of the overrides matters to a stage of `method` up to `until`.
    fn come_after<'a>(set: impl Iterator<Item = &'a String>, method: &str, until: &str) -> bool {
        let stages = methods::named(method).unwrap().stages;
        let place = |name: &str| stages.iter().position(|s| s.name() == name).unwrap();
        let mut first = set.map(|key| {
            let known = MATTERS_FROM.iter().find(|(start, _)| key.starts_with(start));
            known.unwrap_or_else(|| panic!("which stage is {key} of?")).1
        });
        first.all(|stage| place(stage) > place(until))
    }

    #[test]
    fn a_row_has_the_papers_figure_of_its_own_backbone() {
        let (cian, rows) = rows("cian", &["2".into(), "4".into()]).unwrap();
        let papers = |backbone: &str| -> Vec<_> { rows.iter().map(|row| cian.paper(row, backbone)).collect() };
        let [deep, shallow] = ["preact_resnet101", "preact_resnet50"].map(papers);
        assert_eq!(deep, papers("nano"));
        let expected = [58.3, 59.1, 62.5, 64.3, 61.4, 65.8, 62.2, 67.3].map(Some);
        assert_eq!(deep, expected);
        let of_table_4 = [
            Some(57.5),
            None,
            Some(60.4),
            None,
            Some(60.2),
            Some(63.5),
            Some(61.6),
            Some(65.7),
        ];
        assert_eq!(shallow, of_table_4);
    }

    #[test]
    fn every_row_changes_the_recipe_as_it_says() {
        for (name, text, main) in EMBEDDED {
            let ablation: Ablation = toml::from_str(text).unwrap();
            known(&ablation.shared).unwrap();
            for table in main {
                assert!(ablation.row.iter().any(|row| row.is_called(table)), "{name}");
            }
            let mut names: Vec<_> = ablation.row.iter().map(|row| row.name.clone()).collect();
            for row in &ablation.row {
                Recipe::load("nano", &row.set).unwrap();
                methods::named(&row.method).unwrap();
                assert!(
                    come_after(row.set.iter(), &row.method, &ablation.shared),
                    "{name} {}",
                    row.name
                );
                let paper = row.paper.unwrap_or(50.0);
                assert!((30.0..80.0).contains(&paper), "{name} {}", row.name);
                if let Some(from) = &row.from {
                    known(&from.until).unwrap();
                    let other = ablation.row.iter().find(|other| other.name == from.row);
                    // What is taken over must not be what the row changes.
                    let other = other.unwrap();
                    assert!(other.from.is_none() && other.method == row.method);
                    let own = row.set.iter().filter(|set| !other.set.contains(set));
                    let others = other.set.iter().filter(|set| !row.set.contains(set));
                    assert!(
                        come_after(own.chain(others), &row.method, &from.until),
                        "{name} {}",
                        row.name
                    );
                }
                assert!(["single", "web"].map(Some).contains(&row.extra.as_deref()) || row.extra.is_none());
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), ablation.row.len(), "{name}");
        }
    }
}
