//! What the images of a folder are called.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::files;

/// An image file with the tags that it is listed with.
pub(super) struct Listed {
    pub path: PathBuf,
    pub tags: Vec<String>,
}

/// An image with the name that results are stored under.
pub(super) struct Named {
    pub name: String,
    /// Whether other images have the same file name.
    pub shared: bool,
    pub image: Listed,
}

/// Joins files with one name and the same bytes into one image with the tags of all, and calls different images with
/// one name after their paths. Sorted by name.
///
/// # Errors
/// Two different images that get one name nevertheless: results are stored under it.
pub(super) fn merge(dir: &Path, listed: Vec<Listed>) -> Result<Vec<Named>> {
    let mut by_stem: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for new in listed {
        // Some file systems do not tell upper from lower case.
        let stem = files::stem(&new.path).to_lowercase();
        by_stem.entry(stem).or_default().push(new);
    }
    let mut by_name: BTreeMap<String, Named> = BTreeMap::new();
    for group in by_stem.into_values() {
        let group = join_equal(group)?;
        let shared = group.len() > 1;
        for image in group {
            let name = match shared {
                true => name_of_path(dir, &image.path),
                false => files::stem(&image.path),
            };
            let key = name.to_lowercase();
            if let Some(old) = by_name.get(&key) {
                bail!(
                    "{} and {} have one name (upper or lower case aside); rename one of them",
                    old.image.path.display(),
                    image.path.display()
                );
            }
            let named = Named { name, shared, image };
            by_name.insert(key, named);
        }
    }
    Ok(by_name.into_values().collect())
}

/// Joins files with the same name and bytes into the first of them.
fn join_equal(group: Vec<Listed>) -> Result<Vec<Listed>> {
    let mut different: Vec<Listed> = Vec::new();
    // Only files of one name and length can be equal, so that few are read.
    let mut alike: BTreeMap<(String, Option<u64>), Vec<usize>> = BTreeMap::new();
    let alone = group.len() == 1;
    for new in group {
        let length = match alone {
            true => None,
            false => fs::metadata(&new.path).map(|m| m.len()).ok(),
        };
        let indices = alike.entry((files::file_name(&new.path), length)).or_default();
        let mut same = None;
        for &i in indices.iter() {
            if same_bytes(&different[i].path, &new.path)? {
                same = Some(i);
                break;
            }
        }
        match same {
            Some(i) => different[i].tags.extend(new.tags),
            None => {
                indices.push(different.len());
                different.push(new);
            }
        }
    }
    Ok(different)
}

/// The folders below `dir` and the file's name, without extension, in one.
fn name_of_path(dir: &Path, path: &Path) -> String {
    let folder = path.parent().unwrap_or(dir);
    let folder = folder.strip_prefix(dir).unwrap_or(Path::new(""));
    let mut parts: Vec<String> = folder
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    parts.push(files::stem(path));
    parts.join("_")
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let read = |path: &Path| fs::read(path).map_err(|e| anyhow!("cannot read {}: {e}", path.display()));
    Ok(read(a)? == read(b)?)
}
