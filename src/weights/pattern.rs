//! Patterns of key maps: `res{level}a_{branch}_weight`, where a name in braces stands for letters and digits, or for
//! one of the words of a table, and `*` for anything.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Tables of words: what a placeholder of the table's name may match, and what it becomes in the target.
pub type Words = BTreeMap<String, BTreeMap<String, String>>;

/// What the placeholders of a pattern stand for; `*` is called `*`.
pub type Bindings = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    Placeholder(String),
}

/// A pattern, which matches keys and makes others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<Part>);

impl Pattern {
    /// Reads a pattern. Errors on braces that do not close.
    pub fn new(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '*']) {
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            }
            rest = &rest[at..];
            let name = match rest.strip_prefix('*') {
                Some(_) => "*",
                None => {
                    let end = rest.find('}').with_context(|| format!("pattern {text:?} lacks a }}"))?;
                    &rest[1..end]
                }
            };
            rest = &rest[if name == "*" { 1 } else { name.len() + 2 }..];
            parts.push(Part::Placeholder(name.to_owned()));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// What the placeholders stand for where `key` matches. Placeholders match as little as they can.
    pub fn matches(&self, key: &str, words: &Words) -> Option<Bindings> {
        let mut bindings = Bindings::new();
        matches(&self.0, key, words, &mut bindings).then_some(bindings)
    }

    /// The key that results from the placeholders' values. Errors where one has none.
    pub fn fill(&self, bindings: &Bindings) -> Result<String> {
        let mut key = String::new();
        for part in &self.0 {
            key += match part {
                Part::Literal(text) => text,
                Part::Placeholder(name) => bindings
                    .get(name)
                    .with_context(|| format!("nothing says what {{{name}}} stands for"))?,
            };
        }
        Ok(key)
    }

    /// Checks that `other` gives a value to each placeholder here.
    pub fn is_filled_by(&self, other: &Pattern) -> Result<()> {
        let missing = self
            .0
            .iter()
            .find(|part| matches!(part, Part::Placeholder(_)) && !other.0.contains(part));
        ensure!(missing.is_none(), "nothing says what {missing:?} stands for");
        Ok(())
    }
}

impl TryFrom<String> for Pattern {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

fn matches(parts: &[Part], key: &str, words: &Words, bindings: &mut Bindings) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return key.is_empty();
    };
    let name = match part {
        Part::Literal(text) => {
            return key
                .strip_prefix(text.as_str())
                .is_some_and(|key| matches(rest, key, words, bindings));
        }
        Part::Placeholder(name) => name,
    };
    let mut bind = |length: usize, value: &str| {
        let (Some(key), previous) = (key.get(length..), bindings.get(name)) else {
            return false;
        };
        // The same placeholder twice stands for the same text.
        if previous.is_some_and(|previous| previous != value) {
            return false;
        }
        let is_new = bindings.insert(name.clone(), value.to_owned()).is_none();
        let found = matches(rest, key, words, bindings);
        if !found && is_new {
            bindings.remove(name);
        }
        found
    };
    if let Some(table) = words.get(name) {
        return table
            .iter()
            .any(|(word, becomes)| key.starts_with(word.as_str()) && bind(word.len(), becomes));
    }
    if name == "*" {
        let ends = key.char_indices().map(|(at, _)| at).chain([key.len()]);
        return ends.into_iter().any(|end| bind(end, &key[..end]));
    }
    let longest = key.bytes().take_while(u8::is_ascii_alphanumeric).count();
    (1..=longest).any(|end| bind(end, &key[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let norm = [("gamma", "weight"), ("moving_var", "running_var")];
        let norm = norm.map(|(from, to)| (from.to_owned(), to.to_owned()));
        BTreeMap::from([("norm".to_owned(), BTreeMap::from(norm))])
    }

    fn rename(from: &str, to: &str, key: &str) -> Option<String> {
        let (from, to) = (Pattern::new(from).unwrap(), Pattern::new(to).unwrap());
        to.is_filled_by(&from).unwrap();
        Some(to.fill(&from.matches(key, &words())?).unwrap())
    }

    #[test]
    fn placeholders_words_and_stars() {
        let cases = [
            (
                "res{l}a_{b}_weight",
                "b{l}.conv_{b}.weight",
                "res2a_branch2b1_weight",
                Some("b2.conv_branch2b1.weight"),
            ),
            (
                "res{l}a_{b}_weight",
                "b{l}.conv_{b}.weight",
                "res2b1_branch2a_weight",
                None,
            ),
            (
                "res{l}b{u}_{b}_weight",
                "b{l}_{u}.conv_{b}.weight",
                "res4b5_branch2a_weight",
                Some("b4_5.conv_branch2a.weight"),
            ),
            ("bn7_{norm}", "bn7.{norm}", "bn7_moving_var", Some("bn7.running_var")),
            ("bn7_{norm}", "bn7.{norm}", "bn7_alpha", None),
            ("*", "vgg.*", "features.0.weight", Some("vgg.features.0.weight")),
            ("f.*.weight", "*", "f.a.weight.weight", Some("a.weight")),
            ("{a}.{a}", "{a}", "x.x", Some("x")),
            ("{a}.{a}", "{a}", "x.y", None),
            ("conv1", "c", "conv1", Some("c")),
            ("conv1", "c", "conv10", None),
        ];
        for (from, to, key, expected) in cases {
            assert_eq!(rename(from, to, key).as_deref(), expected, "{from} {key}");
        }
        assert!(Pattern::new("res{l").is_err());
        let filled = Pattern::new("{b}").unwrap().is_filled_by(&Pattern::new("{a}").unwrap());
        assert!(filled.is_err());
    }
}
