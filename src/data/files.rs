//! Small file helpers of the data sets: listing images, class names.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::class_names;
use super::masks::is_written;
use super::seen::LeftOut;
use super::text::read_text;

/// File name extensions, in lower case, of the image formats that can be read.
pub const EXTENSIONS: [&str; 15] = [
    "jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp", "jpe", "jif", "jfif", "pjpeg", "pjp", "apng", "dib",
];

/// Extensions of image formats that cannot be read, in lower case.
const UNREAD: [&str; 28] = [
    "avif", "heic", "heif", "hif", "jp2", "j2k", "jxl", "ppm", "pgm", "pbm", "pnm", "pam", "tga", "psd", "svg", "ico",
    "exr", "hdr", "dds", "qoi", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf",
];

/// Folders that systems leave beside images, with files that are called as these: of macOS in zips, and of Synology.
const OF_SYSTEMS: [&str; 2] = ["__MACOSX", "@eaDir"];

/// The extension of an image file that cannot be read, such as `heic`.
pub(super) fn unread_extension(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    UNREAD.contains(&extension.as_str()).then_some(extension)
}

/// Whether the path has one of the `EXTENSIONS`, in upper or lower case.
pub fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// Expands files and folders into image files.
///
/// A file is taken as it is, whatever its extension; a folder gives every file below it with one of the
/// `EXTENSIONS`, sorted by path, and then what is behind links to folders. Names that begin with a dot, and run
/// directories inside of a given folder, are left out; so are image files of other formats, with a warning.
///
/// # Errors
/// A path that does not exist, a folder that cannot be listed, or nothing found at all.
pub fn collect_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left_out = LeftOut::default();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut found, &mut left_out)?;
        } else if path.exists() {
            found.push(path.clone());
        } else {
            bail!("{} does not exist; give image files or folders", path.display());
        }
    }
    for line in left_out.lines() {
        log::warn!("left out: {line}");
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

/// Appends the image files below `dir`, sorted by path, then those behind links to folders. Image files of formats that
/// cannot be read, and the run directories among the folders, are noted in `left_out`.
pub(super) fn walk(dir: &Path, found: &mut Vec<PathBuf>, left_out: &mut LeftOut) -> Result<()> {
    walk_for(dir, found, left_out, &is_image)
}

/// Whether a file is an image to read. Those of other formats, and masks that this program has written, are noted in
/// `left_out`.
pub(super) fn is_image(path: &Path, left_out: &mut LeftOut) -> bool {
    if let Some(extension) = unread_extension(path) {
        left_out.format(&extension, path);
    }
    if !has_image_extension(path) {
        return false;
    }
    let stem = stem(path);
    let painted = stem.strip_suffix("_overlay");
    let mask = painted.map(|name| path.with_file_name(format!("{name}.png")));
    if is_written(path) || mask.is_some_and(|mask| is_written(&mask)) {
        left_out.add("masks in VOC's colours", path);
        return false;
    }
    true
}

/// As [`walk`], for the files that `wanted` asks for.
pub(super) fn walk_for(
    dir: &Path,
    found: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
    wanted: &dyn Fn(&Path, &mut LeftOut) -> bool,
) -> Result<()> {
    // Links may lead up, or to one folder twice: each is walked once, and none that is above.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = real(dir);
    let mut visited = BTreeSet::new();
    let mut links = VecDeque::from([dir.to_owned()]);
    while let Some(start) = links.pop_front() {
        let place = real(&start);
        if visited.contains(&place) || (place != root && root.starts_with(&place)) {
            continue;
        }
        visited.insert(place);
        list_in_order(&start, found, left_out, wanted, &mut visited, &mut links)?;
    }
    Ok(())
}

fn list_in_order(
    folder: &Path,
    found: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
    wanted: &dyn Fn(&Path, &mut LeftOut) -> bool,
    visited: &mut BTreeSet<PathBuf>,
    links: &mut VecDeque<PathBuf>,
) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            if is_run(&path) {
                left_out.add(RUNS, &path);
            } else if path.is_symlink() {
                links.push_back(path);
            } else {
                visited.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
                list_in_order(&path, found, left_out, wanted, visited, links)?;
            }
        } else if path.is_file() && wanted(&path, left_out) {
            found.push(path);
        }
    }
    Ok(())
}

/// What run directories inside of a data set are called.
pub(super) const RUNS: &str = "run directories";

/// Whether a folder is a run directory: what a run wrote is nobody's data.
pub(super) fn is_run(dir: &Path) -> bool {
    dir.join("config.toml").is_file() && dir.join("run.json").is_file()
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
    let is_shown = |p: &PathBuf| {
        let name = file_name(p);
        !name.starts_with('.') && !OF_SYSTEMS.contains(&name.as_str())
    };
    let mut paths: Vec<_> = listed.into_iter().filter(is_shown).collect();
    paths.sort();
    Ok(paths)
}

/// The last part of a path, with whatever is not Unicode replaced.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The last part of a path without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The class names of a `classes.txt` (one a line, blank lines ignored), or `None` where there is no such file.
///
/// # Errors
/// A file that cannot be read, is empty, names a class twice, and what `class_names::check` refuses.
pub(super) fn read_classes(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut names: Vec<String> = Vec::new();
    for name in read_text(path)?.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if names.iter().any(|n| n == name) {
            bail!("{} names the class {name:?} twice; keep one", path.display());
        }
        names.push(name.to_owned());
    }
    if names.is_empty() {
        bail!("{} is empty; write one class name a line or remove it", path.display());
    }
    class_names::check(&names, path)?;
    Ok(Some(names))
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
            [at("odd"), at("set/a.png"), at("set/b.JPG"), at("set/inner/c.webp")]
        );

        let missing = collect_images(&[at("none")]).unwrap_err().to_string();
        assert!(missing.contains("none does not exist"), "{missing}");
        fs::create_dir(at("empty")).unwrap();
        let empty = collect_images(&[at("empty")]).unwrap_err().to_string();
        assert!(empty.contains("no images in") && empty.contains("webp"), "{empty}");
    }

    #[test]
    fn class_lists_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classes.txt");
        assert_eq!(read_classes(&path).unwrap(), None);
        fs::write(&path, "\u{feff}dog\r\n\n cat \n").unwrap();
        assert_eq!(read_classes(&path).unwrap().unwrap(), ["dog", "cat"]);
        fs::write(&path, "dog\ndog\n").unwrap();
        assert!(read_classes(&path).unwrap_err().to_string().contains("\"dog\" twice"));
        fs::write(&path, "\n").unwrap();
        assert!(read_classes(&path).unwrap_err().to_string().contains("is empty"));
    }
}
