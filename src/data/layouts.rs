//! Layouts of other programs, told by their files, so that an error can name what a folder looks like.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files;

/// As much of a text file as is looked at.
const START: u64 = 4096;

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
    let json = |parts: &[&str]| {
        let mut found = Vec::new();
        for folder in [dir.to_owned(), dir.join("annotations"), dir.join("images")] {
            found.extend(first_with(&folder, "json"));
        }
        found.iter().any(|path| holds(path, parts))
    };
    let yolo = || {
        let folders = ["labels", "labels/train", "train/labels", "train"];
        let label = folders.iter().find_map(|f| first_with(&dir.join(f), "txt"));
        has("data.yaml") || has("dataset.yaml") || label.is_some_and(|path| is_yolo(&path))
    };
    let both = |a: &str, b: &str| has(a) && has(b);
    if has("img_dir") || has("ann_dir") {
        Some(
            "mmsegmentation's img_dir and ann_dir: put the images into one folder with tags.csv (file,tag;tag), and their masks into masks/ in it",
        )
    } else if has("labelmap.txt") && (has("SegmentationClass") || has("ImageSets")) {
        Some(
            "CVAT's export of segmentation masks (labelmap.txt): its masks hold colours; export \"Pascal VOC\" with annotations, or give tags.csv (file,tag;tag) beside the images and masks of class indices in masks/",
        )
    } else if has("class_names.txt") && has("JPEGImages") {
        Some(
            "what labelme2voc writes (class_names.txt, JPEGImages, no ImageSets): add tags.csv (file,tag;tag) in JPEGImages, the masks of SegmentationClass as masks/ and a classes.txt without _background_ and __ignore__ in it",
        )
    } else if json(&["\"shapes\"", "\"imagePath\""]) || json(&["\"shapes\"", "\"imageData\""]) {
        Some("labelme's JSON files: write what is tagged in them to tags.csv (file,tag;tag)")
    } else if json(&["\"categories\""]) || json(&["\"annotations\"", "\"images\""]) || json(&["\"licenses\""]) {
        Some("COCO's JSON annotations: write the categories of each image to tags.csv (file,tag;tag)")
    } else if yolo() {
        Some("YOLO's label files (a .txt for each image): write the classes of each image to tags.csv (file,tag;tag)")
    } else if both("JPEGImages", "Annotations") {
        Some("a VOC folder without lists: write ImageSets/Segmentation/train.txt and val.txt with a name a line")
    } else {
        None
    }
}

/// The rest of an error about a folder, which goes on with a `;`.
pub(super) fn hint(dir: &Path) -> String {
    recognise(dir).map_or_else(String::new, |what| format!("; it looks like {what}"))
}

fn first_with(dir: &Path, extension: &str) -> Option<PathBuf> {
    let fits = |path: &PathBuf| {
        let name = files::file_name(path).to_lowercase();
        path.extension().is_some_and(|e| e == extension) && !["classes.txt", "readme.txt"].contains(&name.as_str())
    };
    files::entries(dir).ok()?.into_iter().find(fits)
}

fn start(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

fn holds(path: &Path, parts: &[&str]) -> bool {
    let text = start(path);
    parts.iter().all(|part| text.contains(part))
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

    #[test]
    fn layouts_of_others_are_recognised() {
        for (files, part) in [
            (
                &[("img_dir/train/a.jpg", ""), ("ann_dir/train/a.png", "")][..],
                "mmsegmentation",
            ),
            (&[("labelmap.txt", ""), ("SegmentationClass/a.png", "")], "CVAT"),
            (&[("class_names.txt", ""), ("JPEGImages/a.jpg", "")], "labelme2voc"),
            (
                &[("a.json", r#"{"version": "5", "shapes": [], "imagePath": "a.jpg"}"#)],
                "labelme",
            ),
            (
                &[("annotations/instances.json", r#"{"images": [], "annotations": []}"#)],
                "COCO",
            ),
            (&[("labels/a.txt", "0 0.5 0.5 0.1 0.2\n"), ("images/a.jpg", "")], "YOLO"),
            (&[("train/cat/a.jpg", ""), ("val/cat/b.jpg", "")], "--val DIR/val"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let found = recognise(dir.path()).unwrap_or("nothing");
            assert!(found.contains(part), "{found} is not {part}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cat")).unwrap();
        fs::write(dir.path().join("notes.txt"), "1 2 3").unwrap();
        assert_eq!(recognise(dir.path()), None);
        assert_eq!(hint(dir.path()), "");
    }
}
