//! A year folder of a VOCdevkit: `JPEGImages`, `Annotations`, `SegmentationClass`, `ImageSets/Segmentation`.
//!
//! Tags are the names of the objects in the XML, difficult ones included. Training images need them; others are for
//! prediction alone where they have neither tags nor a mask, as those of the list `test`. Classes are those of
//! `classes.txt` in the year folder; without it the twenty of PASCAL VOC where every name is one of them, else the
//! sorted set of the names.
//!
//! A line of a list is a name, with or without extension and spaces in it, or the paths of an image and a mask. Names of
//! classes that differ in case or white space alone are one class: as `classes.txt` has it, or VOC, or most objects.
//!
//! An image's mask is the one that its list names, or that in `SegmentationClass`, or SBD's `cls/NAME.mat` beside the
//! folder of the image, or that in `SegmentationClassAug`.

mod annotation;
mod line;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use rayon::prelude::*;

use super::files;
use super::seen::{MaskFiles, Seen};
use super::split::{Item, Pixels, Split};
use super::truth::Truth;
use super::{Data, Kind, Skips, class_names, layouts, mat, tag_indices, text};
use annotation::read_tags;
use line::{Line, image_of};

const VOC_CLASSES: &str = include_str!("../../assets/classes/voc.txt");

/// Whether these are the twenty classes of PASCAL VOC, in its order.
pub fn is_voc(classes: &[String]) -> bool {
    classes.iter().map(String::as_str).eq(VOC_CLASSES.lines())
}

/// The year folder that `path` is, or the only one inside it; `None` where there is none.
///
/// # Errors
/// Several year folders to choose from.
pub(super) fn year_folder(path: &Path) -> Result<Option<PathBuf>> {
    let is_year = |p: &Path| p.join("ImageSets").is_dir() && p.join("JPEGImages").is_dir();
    if is_year(path) {
        return Ok(Some(path.to_owned()));
    }
    let mut years: Vec<_> = files::entries(path)?
        .into_iter()
        .filter(|p| p.is_dir() && is_year(p))
        .collect();
    let is_vocs = |p: &PathBuf| files::file_name(p).starts_with("VOC20");
    if years.iter().any(is_vocs) {
        years.retain(is_vocs);
    }
    match years.as_slice() {
        [] => Ok(None),
        [year] => Ok(Some(year.clone())),
        _ => {
            let names: Vec<_> = years.iter().map(|p| files::file_name(p)).collect();
            bail!(
                "{} holds {}; give the path of one of them",
                path.display(),
                names.join(", ")
            )
        }
    }
}

/// Opens a year folder, or the VOCdevkit folder around a single one.
pub(super) fn open(path: &Path, train: Option<&str>, val: Option<&str>, begun_with: &[String]) -> Result<Data> {
    if !path.is_dir() {
        bail!(
            "the data set {} is not a folder; give a year folder of a VOCdevkit",
            path.display()
        );
    }
    let root = year_folder(path)?.ok_or_else(|| {
        anyhow!(
            "{} is no year folder of a VOCdevkit; looked for ImageSets and JPEGImages in it, and for one folder with them{}",
            path.display(),
            layouts::hint(path)
        )
    })?;
    let mut skips = Skips::default();
    let train_list =
        list_path(&root, train.unwrap_or("train")).map_err(|error| anyhow!("{error}{}", layouts::hint(&root)))?;
    let mut train = read_list(&root, &train_list, true, &mut skips)?;
    let mut val = match val {
        None if list_path(&root, "val").is_err() => {
            log::warn!("{} has no list val.txt; nothing to validate on", root.display());
            Vec::new()
        }
        name => {
            let list = list_path(&root, name.unwrap_or("val"))?;
            read_list(&root, &list, false, &mut skips)?
        }
    };
    if train.is_empty() {
        bail!(
            "no training image in {}; looked for the images of its lines in JPEGImages and their tags in Annotations{}",
            train_list.display(),
            layouts::hint(&root)
        );
    }
    let listed = files::read_classes(&root.join("classes.txt"))?;
    // A run of an earlier version has a class for every spelling.
    let goes_on = is_of_every_spelling(begun_with, train.iter().chain(&val));
    if !goes_on {
        one_spelling(&mut train, &mut val, listed.as_deref().unwrap_or_default());
    }
    let names: BTreeSet<_> = train.iter().chain(&val).flat_map(|e| &e.names).collect();
    let classes = match listed {
        _ if goes_on => begun_with.to_vec(),
        Some(classes) => classes,
        None if names.iter().all(|n| VOC_CLASSES.lines().any(|c| c == *n)) => {
            VOC_CLASSES.lines().map(str::to_owned).collect()
        }
        None => names.into_iter().cloned().collect(),
    };
    if !goes_on {
        class_names::check(&classes, &root)?;
    }
    let masks = masks_seen(&root, train.iter().chain(&val));
    let sbd = train.iter().chain(&val).filter_map(|e| e.mask.as_ref());
    let mut sbd = sbd.filter(|m| mat::is_mat(m));
    if let (false, Some(mask)) = (is_voc(&classes), sbd.next()) {
        bail!(
            "{} is one of SBD's masks, which are of PASCAL VOC's twenty classes, but the data set has others; remove classes.txt, or these masks",
            mask.display()
        );
    }
    let split = |entries: Vec<Entry>| -> Result<Split> {
        let items = entries.into_iter().map(|entry| entry.item(&root, &classes));
        Ok(Split::new(items.collect::<Result<_>>()?, classes.len()))
    };
    Ok(Data {
        kind: Kind::Voc,
        train: split(train)?,
        val: split(val)?,
        val_is_train: false,
        classes,
        skipped: skips.count,
        seen: Seen {
            taken_for: "a VOC folder, because it has ImageSets and JPEGImages".to_owned(),
            left_out: skips.left_out,
            masks,
            ..Seen::default()
        },
    })
}

/// Whether `classes`, which a run was begun with, are the names of the images, some of which differ in case or white
/// space alone.
fn is_of_every_spelling<'a>(classes: &[String], entries: impl Iterator<Item = &'a Entry>) -> bool {
    let plain: BTreeSet<String> = classes.iter().map(|name| class_names::plain(name)).collect();
    let mut names = entries.flat_map(|entry| &entry.names);
    plain.len() < classes.len() && names.all(|name| classes.contains(name))
}

/// Gives names that differ in case or white space alone one spelling, with a warning: that of `listed`, or VOC's, or the
/// most frequent.
fn one_spelling(train: &mut [Entry], val: &mut [Entry], listed: &[String]) {
    let mut spellings: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for name in train.iter().chain(val.iter()).flat_map(|e| &e.names) {
        let spelling = spellings.entry(class_names::plain(name)).or_default();
        *spelling.entry(name.clone()).or_default() += 1;
    }
    let mut chosen: BTreeMap<String, String> = BTreeMap::new();
    for (plain, names) in spellings {
        let own = listed.iter().find(|name| class_names::plain(name) == plain);
        let vocs = names.keys().find(|n| VOC_CLASSES.lines().any(|c| c == *n));
        let most = names.iter().max_by_key(|(_, count)| **count);
        let Some(name) = own.or(vocs).or(most.map(|(name, _)| name)) else {
            continue;
        };
        if names.keys().all(|n| n == name) {
            continue;
        }
        let all: Vec<String> = names.keys().map(|n| format!("{n:?}")).collect();
        log::warn!(
            "the annotations call a class {}: they are taken for one, {name:?}",
            all.join(" and ")
        );
        chosen.insert(plain, name.clone());
    }
    for entry in train.iter_mut().chain(val) {
        for name in &mut entry.names {
            if let Some(one) = chosen.get(&class_names::plain(name)) {
                name.clone_from(one);
            }
        }
    }
}

/// The files of `SegmentationClass`, and which of them are masks of the lists' images.
fn masks_seen<'a>(root: &Path, entries: impl Iterator<Item = &'a Entry>) -> MaskFiles {
    let folder = root.join("SegmentationClass");
    let mut matched: BTreeMap<String, usize> = BTreeMap::new();
    let mut own = BTreeSet::new();
    for mask in entries.filter_map(|e| e.mask.as_ref()) {
        let parent = mask.parent().map(files::file_name).unwrap_or_default();
        let rule = match mat::is_mat(mask) {
            true => format!("{parent}/NAME.mat"),
            false => format!("{parent}/NAME.png"),
        };
        if own.insert(mask.clone()) {
            *matched.entry(rule).or_default() += 1;
        }
    }
    let there = files::entries(&folder).unwrap_or_default();
    // Masks of images that are in no list are none of this data set's: VOC has many lists.
    let named = |path: &PathBuf| root.join("JPEGImages").join(files::file_name(path)).exists();
    let others = there.iter().filter(|m| !own.contains(*m));
    let unmatched: Vec<_> = others
        .filter(|m| !named(m) && image_of(root, &files::stem(m)).is_none())
        .map(|m| (m.clone(), String::new()))
        .collect();
    MaskFiles {
        found: own.len() + unmatched.len(),
        matched,
        unmatched,
    }
}

/// An image of a list, with the names of its objects.
struct Entry {
    name: String,
    image: PathBuf,
    mask: Option<PathBuf>,
    names: Vec<String>,
}

impl Entry {
    fn item(self, root: &Path, classes: &[String]) -> Result<Item> {
        Ok(Item {
            tags: tag_indices(&self.names, classes, &annotation(root, &self.name))?,
            name: self.name,
            pixels: Pixels::Files {
                image: self.image,
                mask: self.mask.map(Truth::Values),
            },
        })
    }
}

fn annotation(root: &Path, name: &str) -> PathBuf {
    root.join("Annotations").join(format!("{name}.xml"))
}

/// The images of a list, for prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct VocList {
    /// The year folder's name.
    pub year: String,
    /// The list's name, without folder and extension.
    pub name: String,
    /// Paths of the images, in the list's order.
    pub images: Vec<PathBuf>,
}

/// The images that `list`, a name in `ImageSets/Segmentation` or a path, names in the year folder `data` or the only
/// one inside it.
///
/// # Errors
/// One line where there is no such folder or list, or an image of it does not exist.
pub fn voc_list(data: &str, list: &str) -> Result<VocList> {
    let path = Path::new(data);
    let root = if path.is_dir() { year_folder(path)? } else { None };
    let root = root.ok_or_else(|| anyhow!("{data} is no year folder of a VOCdevkit"))?;
    let list = list_path(&root, list)?;
    let mut skips = Skips::default();
    let entries = read_list(&root, &list, false, &mut skips)?;
    if skips.count > 0 || entries.is_empty() {
        bail!(
            "{} of the {} images of {} do not exist; the evaluation server wants all of them",
            skips.count,
            skips.count + entries.len(),
            list.display()
        );
    }
    Ok(VocList {
        year: files::file_name(&root.canonicalize().unwrap_or(root)),
        name: files::stem(&list),
        images: entries.into_iter().map(|e| e.image).collect(),
    })
}

/// Both spellings of the list that VOC and SBD make together.
const AUGMENTED: [&str; 2] = ["train_aug", "trainaug"];

fn list_path(root: &Path, name: &str) -> Result<PathBuf> {
    let sets = root.join("ImageSets").join("Segmentation");
    let mut tried = vec![sets.join(format!("{name}.txt")), sets.join(name), PathBuf::from(name)];
    if AUGMENTED.contains(&name) {
        tried.extend(AUGMENTED.map(|other| sets.join(format!("{other}.txt"))));
    }
    tried.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        anyhow!(
            "there is no list {name}; looked for {} and {name} itself",
            tried[0].display()
        )
    })
}

fn read_list(root: &Path, list: &Path, training: bool, skips: &mut Skips) -> Result<Vec<Entry>> {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut entries = Vec::new();
    let mut missing_masks = 0;
    for (number, line) in text::read_text(list)?.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{} line {}", list.display(), number + 1);
        let Line { name, image, mask } = line::parse(root, line, &place)?;
        let mut entry = Entry {
            name,
            image,
            mask,
            names: Vec::new(),
        };
        // Some file systems do not tell upper from lower case.
        if let Some(other) = seen.insert(entry.name.to_lowercase(), entry.image.clone()) {
            if other != entry.image {
                bail!(
                    "{place}: {} and {} have one name (upper or lower case aside); rename one of them",
                    other.display(),
                    entry.image.display()
                );
            }
            log::warn!("{place} repeats {}; it is used once", entry.name);
            continue;
        }
        if !entry.image.is_file() {
            let reason = format!("{place} names {}, which does not exist", entry.image.display());
            skips.skip_as("images that a list names but that do not exist", &entry.image, reason);
            continue;
        }
        if entry.mask.as_ref().is_some_and(|m| !m.is_file()) {
            missing_masks += 1;
            entry.mask = None;
        }
        let masks = standard_masks(root, &entry);
        entry.mask = entry.mask.or(masks.into_iter().find(|m| m.is_file()));
        entries.push(entry);
    }
    if missing_masks > 0 {
        log::warn!(
            "{missing_masks} masks that {} names do not exist; those of SegmentationClass or SBD are used where there are any",
            list.display()
        );
    }
    let names: Vec<_> = entries
        .par_iter()
        .map(|e| read_tags(&annotation(root, &e.name)))
        .collect::<Result<_>>()?;
    let mut kept = Vec::new();
    for (entry, names) in entries.into_iter().zip(names) {
        let xml = annotation(root, &entry.name);
        match names {
            Some(names) if !names.is_empty() => kept.push(Entry { names, ..entry }),
            _ if !training => kept.push(entry),
            names => {
                let why = match names {
                    Some(_) => "holds no object",
                    None => "does not exist",
                };
                let reason = format!("{} has no tags: {} {why}", entry.image.display(), xml.display());
                skips.skip_as("images without tags", &entry.image, reason);
            }
        }
    }
    Ok(kept)
}

/// Where the mask of an image may be, best first: VOC's own has borders and was checked, SBD's is the original of the
/// converted one.
fn standard_masks(root: &Path, entry: &Entry) -> [PathBuf; 4] {
    let png = format!("{}.png", entry.name);
    let beside = entry.image.parent().and_then(Path::parent).unwrap_or(root);
    [
        root.join("SegmentationClass").join(&png),
        beside.join("cls").join(format!("{}.mat", entry.name)),
        root.join("SegmentationClassAug").join(&png),
        root.join("SegmentationClass").join(format!("{}.PNG", entry.name)),
    ]
}

#[cfg(test)]
mod tests;
