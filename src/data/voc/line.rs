//! A line of a list: which image it names, and which mask.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::data::files::{self, EXTENSIONS};

/// What a line names; neither file need exist.
pub(super) struct Line {
    /// What the image is called, without extension.
    pub name: String,
    pub image: PathBuf,
    pub mask: Option<PathBuf>,
}

/// Reads a line in the short (`2007_000032`) or long (`/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png`) form.
///
/// # Errors
/// A line of another form, with its `place`.
pub(super) fn parse(root: &Path, line: &str, place: &str) -> Result<Line> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let is_path = |p: &str| p.contains('/') || files::has_image_extension(Path::new(p));
    let entry = |image: PathBuf, name: String, mask: Option<PathBuf>| Line { name, image, mask };
    let mut parts = line.split_whitespace();
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let several = parts.next().is_some();
    let are_paths = is_path(first) && second.is_some_and(is_path) && !several;
    if second.is_some() && !are_paths {
        // Names with spaces: the whole line, or what stands before one of its spaces.
        if let Some((image, name)) = whole(root, line) {
            return Ok(entry(image, name, None));
        }
        for (space, _) in line.match_indices(char::is_whitespace) {
            let (image, mask) = (line[..space].trim_end(), line[space..].trim_start());
            if several && is_path(image) && is_path(mask) && below(image).is_file() {
                let image = below(image);
                let name = files::stem(&image);
                return Ok(entry(image, name, Some(below(mask))));
            }
        }
    }
    if several || second.is_some_and(|p| !is_path(p)) {
        bail!("{place} is {line:?}; write an image name, or the paths of an image and a mask");
    }
    let mask = second.map(below);
    if is_path(first) {
        let given = below(first);
        let (image, name) = match given.is_file() || first.contains('/') {
            true => (given.clone(), files::stem(&given)),
            false => whole(root, first).unwrap_or_else(|| (given.clone(), files::stem(&given))),
        };
        return Ok(entry(image, name, mask));
    }
    let usual = || root.join("JPEGImages").join(format!("{first}.jpg"));
    let image = image_of(root, first).unwrap_or_else(usual);
    Ok(entry(image, first.to_owned(), mask))
}

/// The image that a whole line of a list names, with extension or without, and its name.
fn whole(root: &Path, line: &str) -> Option<(PathBuf, String)> {
    if let Some(image) = image_of(root, line) {
        return Some((image, line.to_owned()));
    }
    let stem = Path::new(line).file_stem()?.to_str()?;
    let is_name = !line.contains('/') && files::has_image_extension(Path::new(line));
    let exact = root.join("JPEGImages").join(line);
    let image = match exact.is_file() {
        true => exact,
        false => image_of(root, stem)?,
    };
    is_name.then(|| (image, stem.to_owned()))
}

/// The image of that name in `JPEGImages`, of whichever format.
pub(super) fn image_of(root: &Path, name: &str) -> Option<PathBuf> {
    let at = |extension: &str| root.join("JPEGImages").join(format!("{name}.{extension}"));
    let first = ["jpg", "png", "jpeg"];
    let rest = EXTENSIONS.iter().filter(|e| !first.contains(e));
    let extensions = first.iter().chain(rest).map(|e| (*e).to_owned());
    let upper = EXTENSIONS.iter().map(|e| e.to_uppercase());
    let mut all = extensions.chain(upper).map(|e| at(&e));
    all.find(|path| path.is_file())
}
