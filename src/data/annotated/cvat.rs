//! CVAT's export of segmentation masks: `labelmap.txt`, lists in `ImageSets/Segmentation`, masks in colours in
//! `SegmentationClass`, and images in `JPEGImages` where they were saved too. Tags are the classes in the masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use super::{DOUBLE, Entry, Found, masks_in, relative, scanned};
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
    let masks = masks_in(&dir.join("SegmentationClass"), skips)?;
    let images = images(dir, skips)?;
    if images.is_empty() {
        bail!(
            "{} has masks but no images; export them again with \"Save images\", or put the images into JPEGImages",
            dir.display()
        );
    }
    let labels = Arc::new(labels);
    let mut entries = Vec::new();
    let mut unmatched = masks.clone();
    for (stem, part, named) in listed(dir, &masks)? {
        unmatched.remove(&stem);
        let path = images.get(&stem).cloned().unwrap_or(dir.join("JPEGImages").join(named));
        entries.push(Entry {
            part,
            path,
            tags: Vec::new(),
            truth: masks
                .get(&stem)
                .map(|mask| Truth::Colours(mask.clone(), labels.clone())),
        });
    }
    Ok(Found {
        images: scanned::tagged(entries, labels.classes.len(), None, skips),
        classes: labels.classes.clone(),
        because: "it has labelmap.txt and SegmentationClass".to_owned(),
        rule: "SegmentationClass/NAME.png".to_owned(),
        unmatched: unmatched.into_values().collect(),
        notes: Vec::new(),
    })
}

/// The images by their names, without the folder that they lie in and without extension, in lower case. Of several, one
/// in `JPEGImages` is meant.
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
    let top = |path: &PathBuf| relative(dir, path).split('/').next().unwrap_or_default().to_owned();
    found.retain(|path| !["SegmentationClass", "SegmentationObject"].contains(&top(path).as_str()));
    found.sort_by_cached_key(|path| (top(path) != "JPEGImages", path.clone()));
    let (images, doubles) = super::one_each(found.into_iter().map(|path| (name(&path), path)));
    doubles.iter().for_each(|path| skips.count_as(DOUBLE, path));
    Ok(images)
}

/// What the lists name, in lower case, with its part and spelling; where there are none, all that have a mask. Lists that
/// are not called as a part, such as `trainval`, hold what others hold where there are others.
///
/// # Errors
/// With the list: a path that leads out, or an image of two parts.
fn listed(dir: &Path, masks: &BTreeMap<String, PathBuf>) -> Result<Vec<(String, Part, String)>> {
    let lists = files::entries(&dir.join("ImageSets/Segmentation")).unwrap_or_default();
    let mut found = Vec::new();
    let mut lists: Vec<&PathBuf> = lists
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    let part_of = |list: &PathBuf| Part::named(&files::stem(list));
    if lists.iter().any(|list| part_of(list).is_some()) {
        lists.retain(|list| part_of(list).is_some());
    }
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for list in lists {
        let part = part_of(list).unwrap_or(Part::Train);
        for (number, line) in file::text(list, file::MOST_TEXT)?.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            match inside("", line.trim()) {
                Ok(name) => match parts.insert(name.to_lowercase(), part) {
                    None => found.push((name.to_lowercase(), part, name)),
                    Some(other) if other == part => {}
                    Some(_) => bail!(
                        "{} line {}: {name} is in the list of another part too; leave it in one",
                        list.display(),
                        number + 1
                    ),
                },
                Err(error) => bail!("{} line {}: {error}", list.display(), number + 1),
            }
        }
    }
    if found.is_empty() {
        found.extend(masks.keys().map(|stem| (stem.clone(), Part::Train, stem.clone())));
    }
    Ok(found)
}
