//! The files that a run reads: whether they are the ones that it began with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A file as it was read; in files, `SIZE MODIFIED HASH`, one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Stamp {
    /// In bytes.
    size: u64,
    /// Nanoseconds from 1970 to when it was written last.
    modified: u64,
    /// FNV-1a of its content, in hexadecimal.
    hash: String,
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> String {
        format!("{} {} {}", stamp.size, stamp.modified, stamp.hash)
    }
}

impl TryFrom<String> for Stamp {
    type Error = String;

    fn try_from(text: String) -> Result<Stamp, String> {
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or_else(|| format!("{text:?} is no SIZE MODIFIED HASH"));
        let number = |part: &str| part.parse().map_err(|_| format!("{part:?} in {text:?} is no number"));
        Ok(Stamp {
            size: number(next()?)?,
            modified: number(next()?)?,
            hash: next()?.to_owned(),
        })
    }
}

/// What a run reads of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Where the data set is, an absolute path.
    pub place: PathBuf,
    files: BTreeMap<String, Stamp>,
}

/// What an input file is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// An image to train on.
    Training,
    /// An image that is only predicted.
    Validation,
    /// A true mask.
    Mask,
}

impl Role {
    fn key(self, name: &str) -> String {
        let role = match self {
            Role::Training => "train",
            Role::Validation => "val",
            Role::Mask => "mask",
        };
        format!("{role}/{name}")
    }

    fn of_key(key: &str) -> Option<Role> {
        let (role, _) = key.split_once('/')?;
        match role {
            "train" => Some(Role::Training),
            "val" => Some(Role::Validation),
            "mask" => Some(Role::Mask),
            _ => None,
        }
    }
}

/// An input file that is not the one that the run has read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What it is to the run.
    pub role: Role,
    /// Its path, or its name where it is gone.
    pub file: String,
}

impl Inputs {
    /// Looks at `files`, each with its role and a name that is its own among those of the role. The content of a file
    /// is read where its size or its time is not the one in `before`.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn look(place: &Path, files: &[(Role, String, PathBuf)], before: Option<&Inputs>) -> Result<Inputs> {
        let stamp = |(role, name, path): &(Role, String, PathBuf)| {
            let key = role.key(name);
            let known = before.and_then(|before| before.files.get(&key));
            let stamp = stamp(path, known);
            Ok((key, stamp.with_context(|| format!("cannot read {}", path.display()))?))
        };
        Ok(Inputs {
            place: place.to_owned(),
            files: files.par_iter().map(stamp).collect::<Result<_>>()?,
        })
    }

    /// The files of `files`, which these were made of, that `before` has with other content, and masks that it lacks or
    /// that are gone.
    pub fn changed(&self, files: &[(Role, String, PathBuf)], before: &Inputs) -> Vec<Changed> {
        let mut found = Vec::new();
        for (role, name, path) in files {
            let key = role.key(name);
            let (new, old) = (self.files.get(&key), before.files.get(&key));
            let is_other = match (new, old) {
                (Some(new), Some(old)) => new.hash != old.hash || new.size != old.size,
                (_, None) => true,
                (None, _) => false,
            };
            if is_other {
                found.push(Changed {
                    role: *role,
                    file: path.display().to_string(),
                });
            }
        }
        let gone = before.files.keys().filter(|key| !self.files.contains_key(*key));
        for key in gone {
            if let Some(role) = Role::of_key(key) {
                let file = format!("{key} (which is gone)");
                found.push(Changed { role, file });
            }
        }
        found
    }
}

fn stamp(path: &Path, known: Option<&Stamp>) -> std::io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
    let modified = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let size = metadata.len();
    let hash = match known.filter(|known| known.size == size && known.modified == modified) {
        Some(known) => known.hash.clone(),
        None => hash(path)?,
    };
    Ok(Stamp { size, modified, hash })
}

/// FNV-1a, which is the same in every version of Rust.
fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(format!("{hash:016x}"));
        }
        for byte in &buffer[..read] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn files_with_other_content_have_changed_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut files = Vec::new();
        for name in ["a", "b", "c"] {
            fs::write(at(name), name).unwrap();
            files.push((Role::Training, name.to_owned(), at(name)));
        }
        fs::write(at("m"), "m").unwrap();
        files.push((Role::Mask, "a".to_owned(), at("m")));
        let before = Inputs::look(dir.path(), &files, None).unwrap();
        let again = Inputs::look(dir.path(), &files, Some(&before)).unwrap();
        assert_eq!(again, before);
        // In a file, a line each.
        let text = serde_json::to_string_pretty(&before).unwrap();
        assert_eq!(text.lines().count(), 5 + files.len());
        assert_eq!(serde_json::from_str::<Inputs>(&text).unwrap(), before);
        assert!(serde_json::from_str::<Stamp>("\"1 x y\"").is_err());
        assert_eq!(again.changed(&files, &before), []);

        // Another time alone is no change; another content of the same length is one.
        let later = SystemTime::now() + Duration::from_secs(60);
        for (name, text) in [("a", "a"), ("b", "x"), ("m", "longer")] {
            fs::write(at(name), text).unwrap();
            let file = File::options().write(true).open(at(name)).unwrap();
            file.set_modified(later).unwrap();
        }
        let now = Inputs::look(dir.path(), &files, Some(&before)).unwrap();
        let changed = now.changed(&files, &before);
        let roles: Vec<_> = changed.iter().map(|c| (c.role, c.file.clone())).collect();
        let path = |name: &str| at(name).display().to_string();
        assert_eq!(roles, [(Role::Training, path("b")), (Role::Mask, path("m"))]);

        files.pop();
        let without = Inputs::look(dir.path(), &files, Some(&now)).unwrap();
        let gone = without.changed(&files, &now);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].role, Role::Mask);
        fs::remove_file(at("c")).unwrap();
        let error = Inputs::look(dir.path(), &files, Some(&now)).unwrap_err();
        assert!(error.to_string().contains(&path("c")), "{error}");
    }
}
