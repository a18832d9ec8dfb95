//! What labelme's `labelme2voc` writes: `JPEGImages`, `SegmentationClass` (`SegmentationClassPNG` of older versions) and
//! `class_names.txt`. Masks have the values that ours have; tags are the classes in them.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::{DOUBLE, Entry, Found, by_stem, masks_in, scanned};
use crate::annotations::{file, labelme};
use crate::data::layouts::Part;
use crate::data::mask_map::MaskMap;
use crate::data::truth::Truth;
use crate::data::{DataOptions, Skips};

pub(super) fn read(dir: &Path, options: &DataOptions, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    let list = dir.join("class_names.txt");
    let classes = labelme::class_names(&file::text(&list, file::MOST_TEXT)?);
    let classes = classes.map_err(|error| anyhow!("{}: {error}", list.display()))?;
    ensure!(
        known.is_none_or(|known| known == classes),
        "{} has other classes than the data set",
        list.display()
    );
    let (images, doubles) = by_stem(&dir.join("JPEGImages"), skips)?;
    doubles.iter().for_each(|path| skips.count_as(DOUBLE, path));
    let mut masks = masks_in(&dir.join("SegmentationClassPNG"), skips)?;
    masks.extend(masks_in(&dir.join("SegmentationClass"), skips)?);
    let entries = images.into_iter().map(|(stem, path)| Entry {
        part: Part::Train,
        path,
        tags: Vec::new(),
        truth: masks.remove(&stem).map(Truth::Values),
    });
    let entries: Vec<Entry> = entries.collect();
    let map = match options.mask_values.is_empty() {
        true => None,
        false => Some(MaskMap::new(&options.mask_values, &classes)?),
    };
    Ok(Found {
        images: scanned::tagged(entries, classes.len(), map.as_ref(), skips),
        classes,
        because: "it has class_names.txt and JPEGImages".to_owned(),
        rule: "SegmentationClass/NAME.png".to_owned(),
        unmatched: masks.into_values().collect(),
        notes: Vec::new(),
    })
}
