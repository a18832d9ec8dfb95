//! CVAT's export of segmentation masks: `labelmap.txt`, lists in `ImageSets/Segmentation`, masks in colours in
//! `SegmentationClass`, and images in `JPEGImages` where they were saved too. Tags are the classes in the masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use super::{Entry, Found, masks_in, relative, scanned};
use crate::annotations::cvat::Labels;
use crate::annotations::file;
use crate::annotations::path::inside;
use crate::data::layouts::Part;
use crate::data::truth::Truth;
use crate::data::{Skips, files};

pub(super) fn read(dir: &Path, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    let map = dir.join("labelmap.txt");
    let labels = Labels::parse(&file::text(&map, file::MOST_TEXT)?, &map)?;
    ensure!(
        known.is_none_or(|known| known == labels.classes),
        "{} has other classes than the data set",
        map.display()
    );
    let mut masks = masks_in(&dir.join("SegmentationClass"), skips)?;
    let images = images(dir, skips)?;
    if images.is_empty() {
        bail!(
            "{} has masks but no images; export them again with \"Save images\", or put the images into JPEGImages",
            dir.display()
        );
    }
    let labels = Arc::new(labels);
    let mut entries = Vec::new();
    for (stem, part, named) in listed(dir, &masks)? {
        let path = images.get(&stem).cloned().unwrap_or(dir.join("JPEGImages").join(named));
        entries.push(Entry {
            part,
            path,
            tags: Vec::new(),
            truth: masks.remove(&stem).map(|mask| Truth::Colours(mask, labels.clone())),
        });
    }
    Ok(Found {
        images: scanned::tagged(entries, labels.classes.len(), None, skips),
        classes: labels.classes.clone(),
        because: "it has labelmap.txt and SegmentationClass".to_owned(),
        rule: "SegmentationClass/NAME.png".to_owned(),
        unmatched: masks.into_values().collect(),
        notes: Vec::new(),
    })
}

/// The images by their names, without the folder that they lie in and without extension, in lower case.
fn images(dir: &Path, skips: &mut Skips) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = Vec::new();
    files::walk(dir, &mut found, &mut skips.left_out)?;
    let name = |path: &PathBuf| {
        let name = relative(dir, &path.with_file_name(files::stem(path)));
        let name = ["JPEGImages/", "images/"]
            .iter()
            .find_map(|folder| name.strip_prefix(folder))
            .unwrap_or(&name);
        name.to_lowercase()
    };
    let is_mask = |path: &PathBuf| relative(dir, path).starts_with("Segmentation");
    found.retain(|path| !is_mask(path));
    Ok(found.into_iter().map(|path| (name(&path), path)).collect())
}

/// What the lists name, in lower case, with its part and spelling; where there are none, all that have a mask.
fn listed(dir: &Path, masks: &BTreeMap<String, PathBuf>) -> Result<Vec<(String, Part, String)>> {
    let lists = files::entries(&dir.join("ImageSets/Segmentation")).unwrap_or_default();
    let mut found = Vec::new();
    for list in lists.iter().filter(|path| path.extension().is_some_and(|e| e == "txt")) {
        let part = Part::named(&files::stem(list)).unwrap_or(Part::Train);
        for (number, line) in file::text(list, file::MOST_TEXT)?.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            match inside("", line.trim()) {
                Ok(name) => found.push((name.to_lowercase(), part, name)),
                Err(error) => bail!("{} line {}: {error}", list.display(), number + 1),
            }
        }
    }
    if found.is_empty() {
        found.extend(masks.keys().map(|stem| (stem.clone(), Part::Train, stem.clone())));
    }
    Ok(found)
}
