//! mmsegmentation's `img_dir` and `ann_dir`, each with a folder for each part. Tags are the classes in the masks.
//!
//! Its configurations say what the values of masks mean, and its data sets differ in it: 0 is the background, or the
//! first class, or what is of no class (`reduce_zero_label`). Without the configuration that has to be said:
//!
//! - `classes.txt` with `background` as its first line: 0 is background, 1 the class of the next line, and so on;
//! - `classes.txt` without it, where values go up to the number of classes: so too;
//! - `--mask-values 0=road,1=car`, with `classes.txt` or without.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::{DOUBLE, Entry, Found, by_stem, masks_in, scanned};
use crate::annotations::file;
use crate::data::layouts::Part;
use crate::data::mask_map::MaskMap;
use crate::data::truth::Truth;
use crate::data::{DataOptions, MaskValue, Skips};

/// What Cityscapes calls images, and their masks in the same place.
const CITYSCAPES: (&str, &str) = ("_leftimg8bit", "_gtfine_labeltrainids");

pub(super) fn read(dir: &Path, options: &DataOptions, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    let (images, doubles) = by_stem(&dir.join("img_dir"), skips)?;
    doubles.iter().for_each(|path| skips.count_as(DOUBLE, path));
    let mut masks = masks_in(&dir.join("ann_dir"), skips)?;
    let mut entries = Vec::new();
    for (stem, path) in &images {
        let mask = mask_of(stem, &images, &masks);
        entries.push(Entry {
            part: stem
                .split_once('/')
                .and_then(|(part, _)| Part::named(part))
                .unwrap_or(Part::Train),
            path: path.clone(),
            tags: Vec::new(),
            truth: mask.and_then(|stem| masks.remove(&stem)).map(Truth::Values),
        });
    }
    let entries = scanned::values(entries, MaskValue::MOST_CLASSES, None, skips);
    let values = values_in(&entries);
    let (classes, map) = match known {
        Some(known) => (known.to_vec(), rules(options, known)?),
        None => meant(dir, options, &values)?,
    };
    let mut found = Found {
        because: "it has img_dir and ann_dir".to_owned(),
        rule: "ann_dir/PART/NAME.png".to_owned(),
        unmatched: masks.into_values().collect(),
        ..Found::default()
    };
    for (entry, values) in entries {
        let meant = |value: &u8| {
            map.as_ref()
                .map_or(u32::from(*value), |map| map.meant(u32::from(*value)))
        };
        let values: Vec<u8> = values
            .iter()
            .map(meant)
            .filter_map(|value| u8::try_from(value).ok())
            .collect();
        if let Some(value) = values
            .iter()
            .find(|value| !MaskValue::from(**value).is_within(classes.len()))
        {
            let place = entry.truth.as_ref().map_or(entry.path.as_path(), Truth::path);
            bail!(
                "the mask {} has the value {value}, but the classes are {}: 1 to {}; name them all in classes.txt, or say what the value means with --mask-values {value}=NAME",
                place.display(),
                classes.join(", "),
                classes.len()
            );
        }
        found.images.push(Entry {
            tags: scanned::tags(&values),
            ..entry
        });
    }
    found.classes = classes;
    Ok(found)
}

/// The mask of an image: the one that is called so, or as Cityscapes does, or the only one that is called so and
/// something behind a line or dot, and as no other image.
fn mask_of(stem: &str, images: &BTreeMap<String, PathBuf>, masks: &BTreeMap<String, PathBuf>) -> Option<String> {
    let own = stem
        .strip_suffix(CITYSCAPES.0)
        .map(|name| format!("{name}{}", CITYSCAPES.1));
    for name in [Some(stem.to_owned()), own].into_iter().flatten() {
        if masks.contains_key(&name) {
            return Some(name);
        }
    }
    let longer = masks
        .range(stem.to_owned()..)
        .take_while(|(name, _)| name.starts_with(stem));
    let mut longer =
        longer.filter(|(name, _)| name[stem.len()..].starts_with(['_', '-', '.']) && !images.contains_key(*name));
    match (longer.next(), longer.next()) {
        (Some((only, _)), None) => Some(only.clone()),
        _ => None,
    }
}

/// The values in the masks but the ignored one, with a mask that has each.
fn values_in(entries: &[(Entry, Vec<u8>)]) -> BTreeMap<u8, PathBuf> {
    let mut found = BTreeMap::new();
    for (entry, values) in entries {
        for value in values.iter().filter(|value| **value != MaskValue::IGNORED.get()) {
            let place = entry.truth.as_ref().map_or(entry.path.as_path(), Truth::path);
            found.entry(*value).or_insert_with(|| place.to_owned());
        }
    }
    found
}

fn rules(options: &DataOptions, classes: &[String]) -> Result<Option<MaskMap>> {
    match options.mask_values.is_empty() {
        true => Ok(None),
        false => MaskMap::new(&options.mask_values, classes).map(Some),
    }
}

/// The classes, and what values mean them.
fn meant(dir: &Path, options: &DataOptions, values: &BTreeMap<u8, PathBuf>) -> Result<(Vec<String>, Option<MaskMap>)> {
    let list = dir.join("classes.txt");
    let listed: Vec<String> = match list.exists() {
        true => file::text(&list, file::MOST_TEXT)?
            .lines()
            .map(|line| line.trim().to_owned())
            .collect(),
        false => Vec::new(),
    };
    let listed: Vec<String> = listed.into_iter().filter(|name| !name.is_empty()).collect();
    let begins = listed
        .first()
        .is_some_and(|name| name.eq_ignore_ascii_case("background"));
    let classes = listed.get(usize::from(begins)..).unwrap_or_default().to_vec();
    let Some((most, example)) = values.last_key_value() else {
        bail!(
            "{} is mmsegmentation's img_dir and ann_dir, but no mask of ann_dir is called as an image of img_dir",
            dir.display()
        );
    };
    let example = example.display();
    if !options.mask_values.is_empty() {
        if !classes.is_empty() {
            let map = rules(options, &classes)?;
            return Ok((classes, map));
        }
        // Without a list nothing else says what a value means.
        let named = named(&options.mask_values);
        let of_none = |value: &u8| *value > 0 && !named.iter().any(|(own, _)| own == value);
        if let Some((value, example)) = values.iter().find(|(value, _)| of_none(value)) {
            bail!(
                "the mask {} has the value {value}, which --mask-values does not name; say {value}=NAME, {value}=background or {value}=ignore",
                example.display()
            );
        }
        let classes = distinct(named);
        let map = rules(options, &classes)?;
        return Ok((classes, map));
    }
    ensure!(
        !classes.is_empty(),
        "{} is mmsegmentation's img_dir and ann_dir, whose masks hold values up to {most} (as {example}) without saying of what: write classes.txt with a name a line, and background as the first where 0 is background, or say --mask-values {most}=NAME and so on",
        dir.display()
    );
    let first = &classes[0];
    ensure!(
        begins || usize::from(*most) >= classes.len() || !values.contains_key(&0),
        "{} has {} classes without background, and masks with the values 0 to {most} (as {example}): 0 is the background or {first:?}; write background as the first line of classes.txt, or say --mask-values 0={first} and so on",
        list.display(),
        classes.len()
    );
    Ok((classes, None))
}

/// The values that rules name, with the names, in their order.
fn named(rules: &[String]) -> Vec<(u8, &str)> {
    let pairs = rules.iter().filter_map(|rule| rule.split_once('='));
    let pairs = pairs.filter_map(|(value, name)| Some((value.trim().parse().ok()?, name.trim())));
    let mut named: Vec<(u8, &str)> = pairs.collect();
    named.sort_unstable();
    named
}

/// The names that are classes, each once.
fn distinct(named: Vec<(u8, &str)>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, name) in named {
        if !["background", "ignore"].contains(&name) && !found.iter().any(|other| other == name) {
            found.push(name.to_owned());
        }
    }
    found
}
