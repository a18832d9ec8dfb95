//! Values in mask files that mean others.

use anyhow::{Context, Result};

use super::MaskValue;

/// What each value in mask files means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MaskMap {
    meant: [u8; 256],
    /// Whether a rule says what is to be ignored.
    ignores: bool,
}

impl MaskMap {
    /// Every value means itself, but for those in `rules`: `VALUE=CLASS`, with a class by its name, `background` or
    /// `ignore`.
    ///
    /// # Errors
    /// One line with the rule that is of another form, or names no class.
    pub fn new(rules: &[String], classes: &[String]) -> Result<MaskMap> {
        let mut map = std::array::from_fn(|value| value as u8);
        let mut ignores = false;
        for rule in rules {
            let parts = rule
                .split_once('=')
                .and_then(|(value, class)| Some((value.trim().parse::<u8>().ok()?, class.trim())));
            let (value, name) = parts.with_context(|| {
                format!("--mask-values {rule:?}: write VALUE=CLASS with a value from 0 to 255, as in 255=dog")
            })?;
            let named = classes.iter().position(|class| class == name);
            let meant = match (named.and_then(MaskValue::of_class), name) {
                (Some(value), _) => value,
                (None, "background") => MaskValue::BACKGROUND,
                (None, "ignore") => {
                    ignores = true;
                    MaskValue::IGNORED
                }
                (None, _) => anyhow::bail!(
                    "--mask-values {rule:?}: {name:?} is no class; known are {}, background and ignore",
                    classes.join(", ")
                ),
            };
            map[usize::from(value)] = meant.get();
        }
        Ok(MaskMap { meant: map, ignores })
    }

    /// Whether a rule says which value is to be ignored: then masks of nothing else are meant.
    pub fn ignores(&self) -> bool {
        self.ignores
    }

    /// What the value of a file means.
    pub fn meant(&self, value: u32) -> u32 {
        let known = usize::try_from(value).ok().and_then(|v| self.meant.get(v));
        known.map_or(value, |&meant| u32::from(meant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_classes() {
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let new = |rules: &[&str]| {
            let rules: Vec<String> = rules.iter().map(|r| r.to_string()).collect();
            MaskMap::new(&rules, &classes).map_err(|e| e.to_string())
        };
        let map = new(&["255=dog", "1=background", "7 = ignore"]).unwrap();
        assert_eq!([0, 1, 2, 7, 255, 300].map(|v| map.meant(v)), [0, 0, 2, 255, 2, 300]);
        assert!(map.ignores() && !new(&["255=dog"]).unwrap().ignores());
        let swapped = new(&["0=ignore", "255=background"]).unwrap();
        assert_eq!([0, 1, 255].map(|v| swapped.meant(v)), [255, 1, 0]);
        assert!(new(&["255"]).unwrap_err().contains("VALUE=CLASS"));
        assert!(new(&["256=dog"]).unwrap_err().contains("0 to 255"));
        assert!(new(&["255=bird"]).unwrap_err().contains("cat, dog, background"));
    }
}
