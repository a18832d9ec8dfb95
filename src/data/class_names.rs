//! Names of classes that cannot be meant, and the order of those that are numbers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use super::MaskValue;

/// What stands for no class, in this program's words and in labelme's.
const NO_CLASS: [&str; 5] = ["background", "_background_", "__background__", "__ignore__", "_ignore_"];

/// Folders of other layouts, in lower case, that a class is hardly called after.
const PARTS: [&str; 30] = [
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "images",
    "image",
    "imgs",
    "img",
    "labels",
    "label",
    "masks",
    "mask",
    "annotations",
    "annotation",
    "img_dir",
    "ann_dir",
    "jpegimages",
    "segmentationclass",
    "segmentationobject",
    "imagesets",
    "leftimg8bit",
    "gtfine",
    "train2014",
    "val2014",
    "train2017",
    "val2017",
    "test2017",
];

/// Those that an image may show.
const SHOWN: [&str; 6] = ["train", "image", "label", "mask", "masks", "annotation"];

/// Fails where there are more classes than a mask of 8 bits can tell apart, where one is called as what is no class,
/// where two differ in case, quotes or white space alone, and where one holds what separates tags.
///
/// # Errors
/// One line that names the class, `place`, and the remedy.
pub(super) fn check(names: &[String], place: &Path) -> Result<()> {
    let place = place.display();
    let most = MaskValue::MOST_CLASSES;
    if names.len() > most {
        bail!(
            "{place} has {} classes; masks of 8 bits hold at most {most}",
            names.len()
        );
    }
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        if NO_CLASS.iter().any(|no| name.eq_ignore_ascii_case(no)) {
            bail!(
                "{place} has a class {name:?}, which stands for what is of no class; rename it, or remove it: background has no name, and is 0 in masks"
            );
        }
        if let Some(sign) = name.chars().find(|c| ",;|\n\r\t".contains(*c)) {
            let what = match sign {
                ',' => "a comma",
                ';' => "a semicolon",
                '|' => "a pipe",
                '\t' => "a tab",
                _ => "a line end (a quote that nobody closes has one)",
            };
            bail!(
                "{place} has a class {name:?} with {what} in it; write several tags of an image as cat;dog, or rename the class"
            );
        }
        if let Some(other) = seen.insert(plain(name), name) {
            bail!(
                "{place} has the classes {other:?} and {name:?}, which differ in case, quotes or white space alone; write one of them everywhere"
            );
        }
    }
    Ok(())
}

/// Fails where a class is called as parts of a data set are; names in `classes.txt` are meant and not checked. In a
/// table images may show a `train` or a `mask`. `layout` tells what the folder looks like.
///
/// # Errors
/// As [`check`].
pub(super) fn check_parts(
    names: &[String],
    place: &Path,
    from_folders: bool,
    layout: impl FnOnce() -> Option<&'static str>,
) -> Result<()> {
    let parts: Vec<&String> = names
        .iter()
        .filter(|name| PARTS.contains(&name.to_lowercase().as_str()))
        .filter(|name| from_folders || !SHOWN.iter().any(|shown| name.eq_ignore_ascii_case(shown)))
        .collect();
    let Some(first) = parts.first() else {
        return Ok(());
    };
    let (place, layout) = (place.display(), layout());
    let begins = |with: &[&str]| {
        let is = |name: &&&String| with.iter().any(|w| name.to_lowercase().starts_with(w));
        parts.iter().find(is)
    };
    let remedy = match (layout, begins(&["train"]), begins(&["val", "test"])) {
        (Some(layout), ..) => format!("it looks like {layout}"),
        (None, Some(train), Some(val)) if from_folders => {
            format!("give the parts as --data {place}/{train} --val {place}/{val}")
        }
        _ if from_folders => {
            "put the images into one folder a class, or write a tags.csv with rows file,tag;tag".to_owned()
        }
        _ => "tag the images with what is in them".to_owned(),
    };
    bail!(
        "{place} would have a class {first:?}, which is what parts of a data set are called; {remedy}; where it is a class, name all classes in classes.txt"
    )
}

/// Brings names that are all whole numbers into the order of the numbers; says whether they are.
pub(super) fn sort_numbers(names: &mut [String]) -> bool {
    let number = |name: &String| name.parse::<u64>().ok();
    let all = !names.is_empty() && names.iter().all(|name| number(name).is_some());
    if all {
        names.sort_by(|a, b| (number(a), a).cmp(&(number(b), b)));
    }
    all
}

/// A name without what does not tell classes apart.
pub(super) fn plain(name: &str) -> String {
    let quotes = ['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];
    let name: String = name.chars().filter(|c| !quotes.contains(c)).collect();
    let words: Vec<&str> = name.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn names_that_cannot_be_meant_are_refused() {
        for (list, part) in [
            (&["Background"][..], "\"Background\""),
            (&["cat", "_background_"], "\"_background_\""),
            (&["cat", "Cat"], "\"cat\" and \"Cat\""),
            (&["cat", " \"cat\""], "differ in case, quotes"),
            (&["big  cat", "big cat"], "white space"),
            (&["cat,dog"], "a comma"),
            (&["cat;dog"], "a semicolon"),
            (&["cat|dog"], "a pipe"),
            (&["cat\np1.png"], "a line end"),
        ] {
            let error = check(&names(list), Path::new("set")).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        check(&names(&["cat", "dog", "cat dog"]), Path::new("set")).unwrap();
        let many: Vec<String> = (0..255).map(|c| c.to_string()).collect();
        assert!(check(&many, Path::new("set")).is_err());
    }

    #[test]
    fn parts_of_data_sets_are_no_classes() {
        let check = |list: &[&str], folders| {
            check_parts(&names(list), Path::new("set"), folders, || None).map_err(|e| e.to_string())
        };
        let split = check(&["train", "val"], true).unwrap_err();
        assert!(split.contains("--data set/train --val set/val"), "{split}");
        let labels = check(&["Images", "labels"], true).unwrap_err();
        assert!(labels.contains("\"Images\"") && labels.contains("classes.txt"));
        check(&["car", "train"], false).unwrap();
        check(&["Mask", "no mask"], false).unwrap();
        assert!(check(&["bus", "train"], true).unwrap_err().contains("classes.txt"));
        assert!(check(&["bus", "labels"], false).is_err());
        assert!(check(&["bus", "mask"], true).is_err());
        let layout = check_parts(&names(&["bus", "train"]), Path::new("set"), true, || Some("YOLO"));
        assert!(layout.unwrap_err().to_string().contains("YOLO"));
        assert!(check(&["car", "val"], false).is_err());
        check(&["cat", "dog"], true).unwrap();
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut digits = names(&["1", "10", "2"]);
        assert!(sort_numbers(&mut digits));
        assert_eq!(digits, ["1", "2", "10"]);
        let mut mixed = names(&["1", "10", "b"]);
        assert!(!sort_numbers(&mut mixed));
        assert_eq!(mixed, ["1", "10", "b"]);
    }
}
