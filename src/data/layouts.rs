//! Layouts of other programs, told by their files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Kind, files, voc};
use crate::annotations::{coco, labelme};

/// As much of a text file as is looked at.
const START: u64 = 4096;

/// Files of a folder that are opened to see what they are: where none of so many is, no other is looked at.
const TRIED: usize = 50;

/// What parts of a data set are called, for training, validation and neither.
const PARTS: [(&str, Part); 8] = [
    ("train", Part::Train),
    ("training", Part::Train),
    ("val", Part::Val),
    ("valid", Part::Val),
    ("validation", Part::Val),
    ("minival", Part::Val),
    ("test", Part::Test),
    ("testing", Part::Test),
];

/// What the images of a part are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Train,
    Val,
    /// Neither trained nor validated on.
    Test,
}

impl Part {
    /// The part that is called so, also with a year behind it.
    pub(super) fn named(name: &str) -> Option<Part> {
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_lowercase();
        PARTS.iter().find(|(part, _)| *part == plain).map(|(_, part)| *part)
    }
}

/// The layout of an annotation program that a folder has. One of our own comes first.
pub(super) fn kind(dir: &Path) -> Option<Kind> {
    let is_dir = |name: &str| dir.join(name).is_dir();
    let is_file = |name: &str| dir.join(name).is_file();
    // CVAT's export as VOC has a label map too, beside lists and objects.
    let is_voc = is_dir("Annotations") && is_file("ImageSets/Segmentation/train.txt");
    if is_file("tags.csv") {
        None
    } else if is_dir("img_dir") && is_dir("ann_dir") {
        Some(Kind::MmSeg)
    } else if is_file("labelmap.txt") && is_dir("SegmentationClass") && !is_voc {
        Some(Kind::Cvat)
    } else if is_file("class_names.txt") && is_dir("JPEGImages") {
        Some(Kind::LabelmeVoc)
    } else if !matches!(voc::year_folder(dir), Ok(None)) {
        None
    } else if yolo_config(dir).is_some() {
        Some(Kind::Yolo)
    } else if !coco_files(dir).is_empty() {
        Some(Kind::Coco)
    } else if has_labelme(dir) {
        Some(Kind::Labelme)
    } else if has_yolo_labels(dir) {
        Some(Kind::Yolo)
    } else {
        None
    }
}

/// What a folder looks like that is no data set of ours, with what to make of it.
pub(super) fn recognise(dir: &Path) -> Option<&'static str> {
    let both = |a: &str, b: &str| dir.join(a).exists() && dir.join(b).exists();
    let parts = both("train", "val") || both("train", "test") || both("train", "valid");
    let told = "parts in folders of their own: give --data DIR/train --val DIR/val";
    of_others(dir).or(parts.then_some(told))
}

/// The layout of another program that a folder has, with what to make of it.
pub(super) fn of_others(dir: &Path) -> Option<&'static str> {
    let has = |name: &str| dir.join(name).exists();
    match kind(dir) {
        Some(Kind::MmSeg) => Some("mmsegmentation's img_dir and ann_dir: give --data-kind mmseg"),
        Some(Kind::Cvat) => Some("CVAT's export of segmentation masks (labelmap.txt): give --data-kind cvat"),
        Some(Kind::LabelmeVoc) => Some("what labelme2voc writes (class_names.txt): give --data-kind labelme2voc"),
        Some(Kind::Coco) => Some("COCO's JSON annotations: give --data-kind coco"),
        Some(Kind::Labelme) => Some("labelme's JSON files: give --data-kind labelme"),
        Some(Kind::Yolo) => Some("YOLO's label files: give --data-kind yolo"),
        _ if has("img_dir") || has("ann_dir") => {
            Some("mmsegmentation's layout, of which one of img_dir and ann_dir is missing")
        }
        _ if has("JPEGImages") && has("Annotations") => {
            Some("a VOC folder without lists: write ImageSets/Segmentation/train.txt and val.txt with a name a line")
        }
        _ => None,
    }
}

/// The rest of an error about a folder, which goes on with a `;`.
pub(super) fn hint(dir: &Path) -> String {
    recognise(dir).map_or_else(String::new, |what| format!("; it looks like {what}"))
}

/// The files of COCO's instances in a folder, in its `annotations`, or beside the images of its parts. Where some are
/// called `instances_`, the others are of other tasks.
pub(super) fn coco_files(dir: &Path) -> Vec<PathBuf> {
    let mut folders = vec![dir.join("annotations"), dir.to_owned()];
    let inside = files::entries(dir).unwrap_or_default().into_iter();
    folders.extend(inside.filter(|path| path.is_dir() && Part::named(&files::file_name(path)).is_some()));
    let mut found = Vec::new();
    for folder in folders {
        let jsons = with_extension(&folder, "json").into_iter().take(TRIED);
        found.extend(jsons.filter(|path| coco::is_instances(path)));
    }
    let is_named = |path: &PathBuf| files::file_name(path).starts_with("instances_");
    if found.iter().any(is_named) {
        found.retain(is_named);
    }
    found
}

/// The `data.yaml` of a YOLO data set, or what it is called there.
pub(super) fn yolo_config(dir: &Path) -> Option<PathBuf> {
    let mut found = with_extension(dir, "yaml");
    found.extend(with_extension(dir, "yml"));
    let usual = |path: &&PathBuf| ["data", "dataset"].contains(&files::stem(path).as_str());
    let is_one = |path: &&PathBuf| {
        let text = start(path);
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        has("names:") && (has("train:") || has("path:") || has("nc:"))
    };
    found
        .iter()
        .filter(is_one)
        .find(usual)
        .or(found.iter().find(is_one))
        .cloned()
}

/// Whether a JSON file of the folder, or of one in it that is called as usual, is labelme's.
pub(super) fn has_labelme(dir: &Path) -> bool {
    let mut folders = vec![dir.to_owned()];
    folders.extend(["annotations", "images", "json", "labels"].map(|name| dir.join(name)));
    folders.extend(PARTS.map(|(name, _)| dir.join(name)));
    let mut jsons = folders
        .iter()
        .flat_map(|folder| with_extension(folder, "json").into_iter().take(TRIED));
    jsons.any(|path| labelme::is_labelled(&path))
}

/// Whether a text file of the folder, or of one in it that is called as usual, is a label file of YOLO.
pub(super) fn has_yolo_labels(dir: &Path) -> bool {
    let folders = ["labels", "labels/train", "train/labels", "train", ""];
    let mut texts = folders
        .iter()
        .flat_map(|folder| with_extension(&dir.join(folder), "txt").into_iter().take(TRIED));
    texts.any(|path| is_yolo(&path))
}

fn with_extension(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = files::entries(dir).unwrap_or_default();
    found.retain(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension)) && path.is_file());
    found
}

fn start(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// Whether the first line of a file is a class number and at least four numbers, most of them shares of the image.
fn is_yolo(path: &Path) -> bool {
    let text = start(path);
    let Some(line) = text.lines().find(|line| !line.trim().is_empty()) else {
        return false;
    };
    let mut numbers = line.split_whitespace();
    let class = numbers.next().is_some_and(|first| first.parse::<u32>().is_ok());
    let rest: Vec<Option<f64>> = numbers.map(|n| n.parse().ok()).collect();
    class && rest.len() >= 4 && rest.iter().all(|n| n.is_some_and(|n| (0.0..=1.0).contains(&n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const COCO: &str = r#"{"info": {}, "images": [], "annotations": [], "categories": []}"#;

    #[test]
    fn layouts_of_others_are_told_by_their_files() {
        for (files, found) in [
            (
                &[("img_dir/train/a.jpg", ""), ("ann_dir/train/a.png", "")][..],
                Kind::MmSeg,
            ),
            (&[("labelmap.txt", ""), ("SegmentationClass/a.png", "")], Kind::Cvat),
            (
                &[
                    ("labelmap.txt", ""),
                    ("SegmentationClass/a.png", ""),
                    ("JPEGImages/a.jpg", ""),
                    ("ImageSets/Segmentation/default.txt", "a"),
                ],
                Kind::Cvat,
            ),
            (&[("class_names.txt", ""), ("JPEGImages/a.jpg", "")], Kind::LabelmeVoc),
            (
                &[("a.json", r#"{"version": "5", "shapes": [], "imagePath": "a.jpg"}"#)],
                Kind::Labelme,
            ),
            (&[("annotations/instances_train2014.json", COCO)], Kind::Coco),
            (&[("train/_annotations.coco.json", COCO)], Kind::Coco),
            (
                &[("labels/a.txt", ""), ("labels/b.txt", "0 0.5 0.5 0.1 0.2\n")],
                Kind::Yolo,
            ),
            (
                &[("coco8.yaml", "path: x\ntrain: images/train\nnames:\n  0: cat\n")],
                Kind::Yolo,
            ),
        ] {
            let dir = folder(files);
            assert_eq!(kind(dir.path()), Some(found), "{files:?}");
            assert!(hint(dir.path()).contains(&format!("--data-kind {}", found.name())));
        }
        let parts = folder(&[("train/cat/a.jpg", ""), ("val/cat/b.jpg", "")]);
        assert_eq!(kind(parts.path()), None);
        assert!(hint(parts.path()).contains("--val DIR/val"));
        for files in [
            &[
                ("cat/a.jpg", ""),
                ("notes.txt", "1 2 3"),
                ("facts.json", "{\"images\": 3}"),
            ][..],
            &[("tags.csv", ""), ("annotations.json", COCO)],
            &[("ImageSets/x", ""), ("JPEGImages/a.jpg", ""), ("set.json", COCO)],
        ] {
            let dir = folder(files);
            assert_eq!((kind(dir.path()), hint(dir.path())), (None, String::new()), "{files:?}");
        }
    }

    #[test]
    fn other_tasks_of_coco_are_not_taken() {
        let dir = folder(&[
            ("annotations/person_keypoints_val2017.json", COCO),
            ("annotations/instances_val2017.json", COCO),
            ("annotations/broken.json", "{"),
        ]);
        let found = coco_files(dir.path());
        assert_eq!(found, [dir.path().join("annotations/instances_val2017.json")]);
    }

    #[test]
    fn parts_are_told_by_their_names() {
        for (name, part) in [
            ("train2014", Some(Part::Train)),
            ("Valid", Some(Part::Val)),
            ("minival", Some(Part::Val)),
            ("test", Some(Part::Test)),
            ("trains", None),
        ] {
            assert_eq!(Part::named(name), part);
        }
    }
}
