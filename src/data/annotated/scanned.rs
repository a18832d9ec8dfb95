//! Tags of images that have masks alone: the classes that occur in them.

use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;

use super::Entry;
use crate::data::mask_map::MaskMap;
use crate::data::{MaskValue, Skips, decode, truth};

/// How images are told whose mask is damaged or of another size.
const BAD: &str = "images whose mask cannot be read, so that they have no tags";

/// The values in the mask of each image that has one, which may be those of `classes` classes. Images whose mask cannot
/// be read are left out, with a warning each.
pub(super) fn values(
    entries: Vec<Entry>,
    classes: usize,
    map: Option<&MaskMap>,
    skips: &mut Skips,
) -> Vec<(Entry, Vec<u8>)> {
    let scan = |entry: Entry| {
        let values = values_of(&entry, classes, map);
        (entry, values)
    };
    let scanned: Vec<_> = entries.into_par_iter().map(scan).collect();
    let mut found = Vec::new();
    for (entry, values) in scanned {
        match values {
            Ok(values) => found.push((entry, values)),
            Err(error) => skips.skip_as(BAD, &entry.path, error),
        }
    }
    found
}

fn values_of(entry: &Entry, classes: usize, map: Option<&MaskMap>) -> Result<Vec<u8>> {
    let path: &Path = &entry.path;
    let Some(truth) = entry.truth.as_ref().filter(|_| path.is_file()) else {
        return Ok(Vec::new());
    };
    let mask = truth.read(classes, decode::image_size(path)?, map);
    let mask = mask.map_err(|error| decode::with_orientation(error, path))?;
    Ok(truth::values(&mask))
}

/// The classes that occur among the values.
pub(super) fn tags(values: &[u8]) -> Vec<usize> {
    values
        .iter()
        .filter_map(|value| MaskValue::from(*value).class())
        .collect()
}

/// The images tagged with the classes in their masks.
pub(super) fn tagged(entries: Vec<Entry>, classes: usize, map: Option<&MaskMap>, skips: &mut Skips) -> Vec<Entry> {
    let entries = values(entries, classes, map, skips).into_iter();
    let tagged = entries.map(|(entry, values)| Entry {
        tags: tags(&values),
        ..entry
    });
    tagged.collect()
}
