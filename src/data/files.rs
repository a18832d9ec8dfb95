//! Small file helpers of the data sets: reading text, listing images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::MaskValue;

/// File name extensions, in lower case, of the image formats that can be read.
pub const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp"];

/// Whether the path has one of the `EXTENSIONS`, in upper or lower case.
pub fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// Expands files and folders into image files.
///
/// A file is taken as it is, whatever its extension; a folder gives every file below it with one of the
/// `EXTENSIONS`, sorted by path. Names that begin with a dot, and folders that are symbolic links inside a given
/// folder, are left out.
///
/// # Errors
/// A path that does not exist, a folder that cannot be listed, or nothing found at all.
pub fn collect_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut found)?;
        } else if path.exists() {
            found.push(path.clone());
        } else {
            bail!(
                "{} does not exist; give image files or folders",
                path.display()
            );
        }
    }
    if found.is_empty() {
        let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        bail!(
            "no images in {}; looked for files that end in {}",
            names.join(", "),
            EXTENSIONS.join(", ")
        );
    }
    Ok(found)
}

/// Appends the image files below `dir`, sorted by path.
pub(super) fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(dir)? {
        // A link to a folder may lead back up and never end.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found)?;
        } else if path.is_file() && has_image_extension(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// The entries of a folder, sorted, without names that begin with a dot.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(|e| anyhow!("cannot list the folder {}: {e}", dir.display()))?;
    let mut paths: Vec<_> = listed
        .into_iter()
        .filter(|p| !file_name(p).starts_with('.'))
        .collect();
    paths.sort();
    Ok(paths)
}

/// The last part of a path, with whatever is not Unicode replaced.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The last part of a path without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Reads a text file, without a byte order mark.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)
        .map_err(|e| anyhow!("cannot read {} as UTF-8 text: {e}", path.display()))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The class names of a `classes.txt` (one a line, blank lines ignored), or `None` where there is no such file.
///
/// # Errors
/// A file that cannot be read, is empty, names a class twice, has more than 254 names (255 means ignore) or
/// one that is "background".
pub(super) fn read_classes(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut names: Vec<String> = Vec::new();
    for name in read_text(path)?
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
    {
        if names.iter().any(|n| n == name) {
            bail!(
                "{} names the class {name:?} twice; keep one",
                path.display()
            );
        }
        names.push(name.to_owned());
    }
    if names.is_empty() {
        bail!(
            "{} is empty; write one class name a line or remove it",
            path.display()
        );
    }
    check_classes(&names, path)?;
    Ok(Some(names))
}

/// Fails where there are more classes than a mask of 8 bits can tell apart, or one is called as what is no class.
pub(super) fn check_classes(names: &[String], place: &Path) -> Result<()> {
    let most = MaskValue::MOST_CLASSES;
    if names.len() > most {
        bail!(
            "{} has {} classes; masks of 8 bits hold at most {most}",
            place.display(),
            names.len()
        );
    }
    let background = |name: &&String| name.eq_ignore_ascii_case("background");
    if let Some(name) = names.iter().find(background) {
        bail!(
            "{} has a class {name:?}, which stands for what is of no class; rename it",
            place.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_expanded_in_order_and_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("set/inner")).unwrap();
        for name in [
            "set/b.JPG",
            "set/a.png",
            "set/inner/c.webp",
            "set/notes.txt",
            "set/._a.png",
            "odd",
        ] {
            fs::write(at(name), "").unwrap();
        }
        let found = collect_images(&[at("odd"), at("set")]).unwrap();
        assert_eq!(
            found,
            [
                at("odd"),
                at("set/a.png"),
                at("set/b.JPG"),
                at("set/inner/c.webp")
            ]
        );

        let missing = collect_images(&[at("none")]).unwrap_err().to_string();
        assert!(missing.contains("none does not exist"), "{missing}");
        fs::create_dir(at("empty")).unwrap();
        let empty = collect_images(&[at("empty")]).unwrap_err().to_string();
        assert!(
            empty.contains("no images in") && empty.contains("webp"),
            "{empty}"
        );
    }

    #[test]
    fn class_lists_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classes.txt");
        assert_eq!(read_classes(&path).unwrap(), None);
        fs::write(&path, "\u{feff}dog\r\n\n cat \n").unwrap();
        assert_eq!(read_classes(&path).unwrap().unwrap(), ["dog", "cat"]);
        fs::write(&path, "dog\ndog\n").unwrap();
        assert!(
            read_classes(&path)
                .unwrap_err()
                .to_string()
                .contains("\"dog\" twice")
        );
        fs::write(&path, "\n").unwrap();
        assert!(
            read_classes(&path)
                .unwrap_err()
                .to_string()
                .contains("is empty")
        );
    }
}
