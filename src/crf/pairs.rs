//! Which scores belong to which image, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};

/// The extensions of files with scores, the one that says most first.
pub const EXTENSIONS: [&str; 3] = ["npz", "npy", "png"];

/// An image and its scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The image file.
    pub image: PathBuf,
    /// The file with its scores.
    pub scores: PathBuf,
    /// The image's file name without its extension: what its outputs are called.
    pub stem: OsString,
}

impl Pair {
    /// Where the mask of the winning channels goes.
    pub fn mask(&self, out: &Path) -> PathBuf {
        named(out, &self.stem, "png")
    }

    /// Where the posteriors go.
    pub fn posterior(&self, out: &Path) -> PathBuf {
        named(out, &self.stem, "npy")
    }
}

/// Finds the scores of every image: `scores` itself, with one image; or in that folder the file with the image's name
/// and one of the [`EXTENSIONS`], the first that is there and is not the image itself.
///
/// # Errors
/// One line: `scores` does not exist, is one file for several images, or lacks some of them (how many and the first
/// three); two images of one name.
pub fn pairs(images: &[PathBuf], scores: &Path) -> Result<Vec<Pair>> {
    if !scores.exists() {
        return Err(Error::NoScores(scores.to_owned()));
    }
    if scores.is_file() && images.len() > 1 {
        return Err(Error::OneFile {
            path: scores.to_owned(),
            images: images.len(),
        });
    }
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for image in images {
        let stem = image.file_stem().unwrap_or_default().to_owned();
        // Some file systems do not tell upper from lower case.
        if let Some(other) = seen.insert(stem.to_string_lossy().to_lowercase(), image) {
            return Err(Error::SameName([other.clone(), image.clone()]));
        }
        let file = match scores.is_dir() {
            false => Some(scores.to_owned()),
            true => EXTENSIONS
                .iter()
                .map(|extension| named(scores, &stem, extension))
                .find(|path| path.is_file() && real(path) != real(image)),
        };
        match file {
            Some(scores) => found.push(Pair {
                image: image.clone(),
                scores,
                stem,
            }),
            None => missing.push((image, stem)),
        }
    }
    if !missing.is_empty() {
        let first: Vec<String> = missing
            .iter()
            .take(3)
            .map(|(image, stem)| {
                let wanted = EXTENSIONS.map(|e| named(Path::new(""), stem, e).display().to_string());
                format!("{} ({})", image.display(), wanted.join(", "))
            })
            .collect();
        return Err(Error::Missing {
            folder: scores.to_owned(),
            missing: missing.len(),
            images: images.len(),
            first,
        });
    }
    Ok(found)
}

/// Checks that nothing that is read would be overwritten in `out`, by masks or, where they are asked for, posteriors.
///
/// # Errors
/// The first file that would.
pub fn check_outputs(pairs: &[Pair], out: &Path, posteriors: bool) -> Result<()> {
    let inputs = pairs.iter().flat_map(|pair| [&pair.image, &pair.scores]);
    let inputs: BTreeSet<PathBuf> = inputs.map(|path| real(path)).collect();
    for pair in pairs {
        let posterior = posteriors.then(|| pair.posterior(out));
        for path in std::iter::once(pair.mask(out)).chain(posterior) {
            if inputs.contains(&real(&path)) {
                return Err(Error::Overwritten(path));
            }
        }
    }
    Ok(())
}

/// `folder/STEM.extension`, whatever dots the stem has.
fn named(folder: &Path, stem: &OsString, extension: &str) -> PathBuf {
    let mut name = stem.clone();
    name.push(".");
    name.push(extension);
    folder.join(name)
}

/// One file has many paths; those of files that do not exist yet are nobody's.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(names: &[&str]) -> (tempfile::TempDir, impl Fn(&str) -> PathBuf + use<>) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let at = move |name: &str| root.join(name);
        for name in names {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "").unwrap();
        }
        (dir, at)
    }

    #[test]
    fn every_image_has_its_scores() {
        let (_dir, at) = folder(&[
            "i/a.x.jpg",
            "i/b.png",
            "i/c.JPG",
            "s/a.x.npy",
            "s/a.npy",
            "s/b.png",
            "s/c.npy",
            "s/c.npz",
            "s/c.png",
        ]);
        let images = [at("i/a.x.jpg"), at("i/b.png"), at("i/c.JPG")];
        let found = pairs(&images, &at("s")).unwrap();
        let scores: Vec<_> = found.iter().map(|pair| pair.scores.clone()).collect();
        assert_eq!(scores, [at("s/a.x.npy"), at("s/b.png"), at("s/c.npz")]);
        assert_eq!(found[0].mask(&at("o")), at("o/a.x.png"));
        assert_eq!(found[0].posterior(&at("o")), at("o/a.x.npy"));
        check_outputs(&found, &at("o"), true).unwrap();
        check_outputs(&found[2..], &at("s"), true).unwrap();
        for (out, posteriors, name) in [("s", false, "b.png"), ("s", true, "a.x.npy"), ("i", false, "b.png")] {
            let error = check_outputs(&found, &at(out), posteriors).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("overwritten"), "{error}");
        }
    }

    #[test]
    fn one_file_is_for_one_image() {
        let (_dir, at) = folder(&["a.png", "b.png", "scores.npy"]);
        let found = pairs(&[at("a.png")], &at("scores.npy")).unwrap();
        assert_eq!(found[0].scores, at("scores.npy"));
        let error = pairs(&[at("a.png"), at("b.png")], &at("scores.npy")).unwrap_err();
        assert!(error.to_string().contains("there are 2 images"), "{error}");
        let error = pairs(&[at("a.png")], &at("none")).unwrap_err();
        assert!(error.to_string().contains("none does not exist"), "{error}");
    }

    #[test]
    fn what_is_missing_is_counted_and_named() {
        let (_dir, at) = folder(&["a.jpg", "b.jpg", "c.jpg", "d.png", "e.jpg", "e.npy"]);
        let images = ["a.jpg", "b.jpg", "c.jpg", "d.png", "e.jpg"].map(&at);
        let error = pairs(&images, &at("")).unwrap_err().to_string();
        assert!(error.contains("4 of 5 images"), "{error}");
        assert!(error.contains("c.jpg (c.npz, c.npy, c.png)"), "{error}");
        assert!(!error.contains("d.png") && !error.contains('\n'), "{error}");
        // An image is not its own label map.
        assert!(pairs(&images[3..4], &at("")).is_err());
    }

    #[test]
    fn two_images_of_one_name() {
        let (_dir, at) = folder(&["x/a.jpg", "y/A.png", "a.npy"]);
        let error = pairs(&[at("x/a.jpg"), at("y/A.png")], &at("")).unwrap_err().to_string();
        assert!(error.contains("a.jpg and") && error.contains("A.png"), "{error}");
    }
}
