//! Which file of a folder of masks belongs to which image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files;
use super::seen::{LeftOut, MaskFiles};

/// What tools add to an image's name, before or behind it.
const SUFFIXES: [&str; 16] = [
    "_mask",
    "-mask",
    " mask",
    ".mask",
    "_masks",
    "_gt",
    "-gt",
    "_label",
    "_labels",
    "_labelids",
    "_labeltrainids",
    "_seg",
    "_segmentation",
    "_annotation",
    "_groundtruth",
    "_m",
];
const PREFIXES: [&str; 4] = ["mask_", "mask-", "gt_", "label_"];

/// What the folder of masks may be called beside a table of tags, in lower case, best first.
const FOLDERS: [&str; 8] = [
    "masks",
    "mask",
    "segmentationclass",
    "annotations",
    "labels",
    "gt",
    "groundtruth",
    "ground_truth",
];

/// Whether a row of the table begins with a file in the folder.
fn lists(table: &str, folder: &Path) -> bool {
    let name = files::file_name(folder);
    let rows = table
        .lines()
        .map(|row| row.trim_start_matches(['"', '\'', ' ', '.', '/', '\\']));
    let mut rest = rows.filter_map(|row| row.strip_prefix(name.as_str()));
    rest.any(|rest| rest.starts_with(['/', '\\']))
}

/// The folder of masks of the data folder `dir`: `masks`, in whatever case; beside a `tags.csv`, in which class folders
/// are none, what others call it too, unless the table lists images in it.
pub(super) fn folder(dir: &Path) -> PathBuf {
    let usual = dir.join("masks");
    if usual.is_dir() {
        return usual;
    }
    let names = match dir.join("tags.csv").exists() {
        true => &FOLDERS[..],
        false => &FOLDERS[..1],
    };
    let there = files::entries(dir).unwrap_or_default();
    let called = |name: &str| {
        let is = |path: &&PathBuf| files::file_name(path).eq_ignore_ascii_case(name) && path.is_dir();
        there.iter().find(is).cloned()
    };
    let table = fs::read(dir.join("tags.csv")).unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let found = names
        .iter()
        .find_map(|name| called(name).filter(|path| !lists(&table, path)));
    found.unwrap_or(usual)
}

/// Where a file is in a folder, without extension, in lower case.
fn place(folder: &Path, file: &Path) -> PathBuf {
    let inside = file.strip_prefix(folder).unwrap_or(file);
    let name = inside.with_file_name(files::stem(file));
    PathBuf::from(name.to_string_lossy().to_lowercase())
}

/// The rules, as they are told, best first.
const SAME_FOLDER: &str = "masks/FOLDER/NAME.png";
const SAME_NAME: &str = "masks/NAME.png";
const OTHER_CASE: &str = "masks/NAME.png in another case or folder";
const WITH_EXTENSION: &str = "masks/NAME.EXT.png";

/// The files of a folder of masks.
pub(super) struct Masks {
    root: PathBuf,
    /// What the images are called, in lower case: their names without extension, and the paths of these in the folder.
    images: BTreeSet<PathBuf>,
    /// By name without extension, in lower case.
    by_stem: BTreeMap<String, Vec<PathBuf>>,
    used: BTreeSet<PathBuf>,
    /// Those that were meant but cannot be used, with the reason.
    refused: BTreeMap<PathBuf, String>,
    matched: BTreeMap<String, usize>,
}

impl Masks {
    /// Lists the `masks` folder of a data folder, at any depth; nothing where there is none. `images` are all images of
    /// the folder, used or not: a mask that is called as one of them belongs to no other.
    pub(super) fn list<'a>(dir: &Path, images: impl Iterator<Item = &'a Path>) -> Result<Masks> {
        let images = images.flat_map(|image| [PathBuf::from(files::stem(image).to_lowercase()), place(dir, image)]);
        let root = folder(dir);
        let mut found = Vec::new();
        if root.is_dir() {
            files::walk_for(&root, &mut found, &mut LeftOut::default(), &|path, _| {
                files::has_image_extension(path) || files::unread_extension(path).is_some()
            })?;
        }
        let mut by_stem: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for path in found {
            let stem = files::stem(&path).to_lowercase();
            by_stem.entry(stem).or_default().push(path);
        }
        Ok(Masks {
            root,
            images: images.collect(),
            by_stem,
            used: BTreeSet::new(),
            refused: BTreeMap::new(),
            matched: BTreeMap::new(),
        })
    }

    /// The mask of the image at `image` in the folder `dir`. `name` is what the image is called; where another is called
    /// as its file is, `shared`, only a mask in the same folder or under that name is its own.
    pub(super) fn of(&mut self, dir: &Path, image: &Path, name: &str, shared: bool) -> Option<PathBuf> {
        let (path, rule) = self.find(dir, image, name, shared)?;
        self.used.insert(path.clone());
        let rule = rule.replacen("masks", &files::file_name(&self.root), 1);
        *self.matched.entry(rule).or_default() += 1;
        Some(path)
    }

    /// Whether the image has a mask, without taking it.
    pub(super) fn has(&mut self, dir: &Path, image: &Path) -> bool {
        self.find(dir, image, &files::stem(image), false).is_some()
    }

    fn find(&mut self, dir: &Path, image: &Path, name: &str, shared: bool) -> Option<(PathBuf, String)> {
        let stem = files::stem(image);
        let folder = image.parent().and_then(|p| p.strip_prefix(dir).ok());
        let folder = folder.filter(|f| !f.as_os_str().is_empty());
        let plain = |base: &Path, stem: &str| {
            let path = base.join(format!("{stem}.png"));
            path.is_file().then_some(path)
        };
        if let Some(path) = folder.and_then(|f| plain(&self.root.join(f), &stem)) {
            return Some((path, SAME_FOLDER.to_owned()));
        }
        if let Some(path) = plain(&self.root, name) {
            return Some((path, SAME_NAME.to_owned()));
        }
        let key = match shared {
            true => name.to_lowercase(),
            false => stem.to_lowercase(),
        };
        let mut tried = vec![(key.clone(), OTHER_CASE.to_owned())];
        if !shared {
            let full = files::file_name(image).to_lowercase();
            tried.push((full, WITH_EXTENSION.to_owned()));
        }
        tried.extend(SUFFIXES.map(|s| (format!("{key}{s}"), format!("masks/NAME{s}.png"))));
        tried.extend(PREFIXES.map(|p| (format!("{p}{key}"), format!("masks/{p}NAME.png"))));
        let own = place(dir, image);
        for (stem, rule) in tried {
            if stem != key && self.images.contains(Path::new(&stem)) {
                continue;
            }
            let Some(candidates) = self.by_stem.get(&stem) else {
                continue;
            };
            let is_others = |mask: &&PathBuf| {
                let of = place(&self.root, mask);
                of.components().count() > 1 && of != own && self.images.contains(&of)
            };
            let candidates: Vec<&PathBuf> = candidates.iter().filter(|mask| !is_others(mask)).collect();
            let is_png = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
            let mut pngs = candidates.iter().copied().filter(|path| is_png(path));
            match (pngs.next(), pngs.next()) {
                (Some(only), None) => return Some((only.clone(), rule)),
                (None, _) => {
                    for path in candidates {
                        let extension = path.extension().unwrap_or_default().to_string_lossy();
                        let reason =
                            format!("masks are PNG files, because formats like .{extension} may change values");
                        self.refused.insert(path.clone(), reason);
                    }
                }
                (Some(_), Some(_)) => {
                    for path in candidates {
                        let reason = "several masks of one image; join them into one, with a value for each class";
                        self.refused.insert(path.clone(), reason.to_owned());
                    }
                }
            }
        }
        None
    }

    /// What became of the files.
    pub(super) fn summary(self) -> MaskFiles {
        let all: Vec<PathBuf> = self.by_stem.into_values().flatten().collect();
        let unmatched = all.iter().filter(|path| !self.used.contains(*path));
        let refused = &self.refused;
        MaskFiles {
            found: all.len(),
            matched: self.matched,
            unmatched: unmatched
                .map(|path| (path.clone(), refused.get(path).cloned().unwrap_or_default()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The mask that each image gets, relative to the folder of masks, and what is unmatched.
    fn matched(masks: &[&str], images: &[&str]) -> (Vec<Option<String>>, MaskFiles) {
        let dir = tempfile::tempdir().unwrap();
        for name in masks {
            let path = dir.path().join("masks").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let paths: Vec<PathBuf> = images.iter().map(|image| dir.path().join(image)).collect();
        let mut all = Masks::list(dir.path(), paths.iter().map(PathBuf::as_path)).unwrap();
        let mut of = |image: &&str| {
            let image = dir.path().join(image);
            let mask = all.of(dir.path(), &image, &files::stem(&image), false)?;
            let path = mask.strip_prefix(dir.path().join("masks")).unwrap();
            Some(path.display().to_string().replace('\\', "/"))
        };
        let found = images.iter().map(&mut of).collect();
        (found, all.summary())
    }

    #[test]
    fn masks_are_matched_where_it_can_be_meant() {
        for (mask, image) in [
            ("p0.png", "p0.jpg"),
            ("p0.PNG", "p0.jpg"),
            ("P0.png", "p0.jpg"),
            ("p0_mask.png", "p0.jpg"),
            ("p0_gt.png", "p0.jpg"),
            ("mask_p0.png", "p0.jpg"),
            ("p0.jpg.png", "p0.jpg"),
            ("cat/p0.png", "cat/p0.jpg"),
            ("cat/p0.png", "p0.jpg"),
            ("p0.png", "cat/p0.jpg"),
        ] {
            let (found, summary) = matched(&[mask], &[image]);
            assert_eq!(found, [Some(mask.to_owned())], "{image}");
            assert_eq!((summary.found, summary.unmatched.len()), (1, 0), "{mask}");
        }
    }

    #[test]
    fn the_folder_may_be_called_otherwise_beside_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("labels")).unwrap();
        assert_eq!(folder(dir.path()), at("masks"));
        fs::write(at("tags.csv"), "").unwrap();
        assert_eq!(folder(dir.path()), at("labels"));
        fs::create_dir(at("Masks")).unwrap();
        assert!(folder(dir.path()).ends_with("Masks") || folder(dir.path()).ends_with("masks"));
        fs::remove_file(at("tags.csv")).unwrap();
        assert!(folder(dir.path()).is_dir());
        // A class that the table has images of holds no masks.
        let dir = tempfile::tempdir().unwrap();
        for name in ["mask", "gt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(
            dir.path().join("tags.csv"),
            "file,tags\n\"mask/a.jpg\",mask\nno_mask/b.jpg,none\n",
        )
        .unwrap();
        assert_eq!(folder(dir.path()), dir.path().join("gt"));
    }

    #[test]
    fn a_mask_that_is_called_as_an_image_is_that_images_alone() {
        for (mask, images) in [
            ("a_m.png", ["a.jpg", "a_m.jpg"]),
            ("mask_a.png", ["a.jpg", "mask_a.jpg"]),
            ("y/a.png", ["x/a.jpg", "y/a.jpg"]),
            ("Y/A.png", ["x/a.jpg", "y/a.jpg"]),
        ] {
            let (found, summary) = matched(&[mask], &images);
            assert_eq!(found, [None, Some(mask.to_owned())], "{images:?}");
            assert_eq!(summary.unmatched.len(), 0, "{mask}");
        }
    }

    #[test]
    fn what_is_not_matched_is_told() {
        let masks = ["a.jpg", "cat/b.png", "dog/b.png", "other.png", "c.png"];
        let (found, summary) = matched(&masks, &["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(found, [None, None, Some("c.png".to_owned())]);
        assert_eq!((summary.found, summary.unmatched.len()), (5, 4));
        let reason = |end: &str| {
            let file = summary.unmatched.iter().find(|(path, _)| path.ends_with(end));
            file.unwrap().1.as_str()
        };
        assert!(reason("a.jpg").contains("masks are PNG files"));
        assert!(reason("cat/b.png").contains("several masks of one image"));
        assert_eq!(reason("other.png"), "");
    }
}
