//! The table of the methods, and what is made of it.

use std::collections::BTreeSet;

use super::readme::{BEGIN, END};
use super::*;
use crate::pipeline::Product;
use crate::recipe::Recipe;

#[test]
fn the_readme_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let start = text.find(BEGIN).unwrap_or(text.len());
    let end = text.find(END).map_or(text.len(), |end| end + END.len());
    let found = text.get(start..end).unwrap_or_default();
    let expected = readme_table();
    assert_eq!(
        found.replace("\r\n", "\n"),
        expected,
        "README.md should have, in place of what is between {BEGIN} and {END}:\n\n{expected}\n"
    );
}

#[test]
fn names_differ_and_unknown_ones_are_told() {
    let different: BTreeSet<&str> = names().collect();
    assert_eq!(different.len(), METHODS.len());
    let error = named("magic").unwrap_err().to_string();
    assert!(error.starts_with("unknown method \"magic\": "), "{error}");
    for name in names() {
        assert_eq!(named(name).unwrap().name, name);
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn every_method_can_be_run() {
    for method in METHODS {
        let name = method.name;
        assert!(method.segmenter().is_ok(), "{name}");
        let last = method.stages.last().unwrap().product();
        assert!(matches!(last, Product::Masks), "{name}");
        let different: BTreeSet<&str> = method.stages.iter().map(|s| s.name()).collect();
        assert_eq!(different.len(), method.stages.len(), "{name}");
        let sets: Vec<String> = method.overrides.iter().map(|o| o.set.into()).collect();
        let changed = Recipe::load("nano", &sets).unwrap();
        assert_eq!(
            changed == Recipe::load("nano", &[]).unwrap(),
            sets.is_empty(),
            "{name}"
        );
        for change in method.overrides {
            assert!(method.stages.contains(&change.stage), "{name}");
        }
    }
    let bounds = METHODS.iter().filter(|m| m.needs_masks());
    assert_eq!(bounds.map(|m| m.name).collect::<Vec<_>>(), ["supervised"]);
}
