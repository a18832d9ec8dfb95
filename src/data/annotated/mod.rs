//! Data sets as annotation programs write them: COCO's JSON, YOLO's label files, labelme's JSON and what its
//! `labelme2voc` makes of it, CVAT's masks, mmsegmentation's folders.
//!
//! A reader finds the images of each part, with their tags and where their masks are. What is the same for all is here:
//! images that do not exist or have no tags are left out and counted, `--val` is another folder of the same kind, and
//! without any validation images the training images that have a mask are validated on, as in a plain folder.

mod coco;
mod cvat;
mod labelme;
mod labelme_voc;
mod mmseg;
mod scanned;
mod yolo;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::layouts::Part;
use super::naming::{Listed, Named, merge};
use super::seen::{MaskFiles, Seen};
use super::split::{Item, Pixels, Split};
use super::truth::Truth;
use super::{Data, DataOptions, Kind, Skips, class_names, files};

/// How images without tags are told.
const UNTAGGED: &str = "images without tags";
/// How images that are not there are told.
const MISSING: &str = "images that the annotations name but that do not exist";
/// How images are told whose annotations could be another's.
const DOUBLE: &str = "images that are called as another, but for case or extension";
/// How images of the part for tests are told.
const OF_TEST: &str = "images of the part for tests, which is not used";

/// What a reader has found.
#[derive(Default)]
struct Found {
    /// Names of the classes, without the background.
    classes: Vec<String>,
    /// The images of every part.
    images: Vec<Entry>,
    /// What tells the kind, as "it has data.yaml".
    because: String,
    /// Where masks come from, as they are told.
    rule: String,
    /// Masks that no image was found for.
    unmatched: Vec<PathBuf>,
    /// What was left out or assumed.
    notes: Vec<String>,
}

/// An image of a data set. It need not exist.
struct Entry {
    part: Part,
    path: PathBuf,
    tags: Vec<usize>,
    truth: Option<Truth>,
}

/// Opens a folder of this kind.
pub(super) fn open(kind: Kind, dir: &Path, options: &DataOptions) -> Result<Data> {
    let mut skips = Skips::default();
    let mut found = read(kind, dir, options, None, &mut skips)?;
    if let Some(val) = &options.val {
        ensure!(
            found.images.iter().all(|entry| entry.part != Part::Val),
            "{} has validation images of its own; leave --val out",
            dir.display()
        );
        let lists = DataOptions {
            train_list: None,
            val_list: None,
            ..options.clone()
        };
        let other = read(kind, val, &lists, Some(&found.classes), &mut skips)?;
        let to_val = |entry: Entry| Entry {
            part: match entry.part {
                Part::Test => Part::Test,
                Part::Train | Part::Val => Part::Val,
            },
            ..entry
        };
        found.images.extend(other.images.into_iter().map(to_val));
        found.unmatched.extend(other.unmatched);
        found.notes.extend(other.notes);
    }
    class_names::check(&found.classes, dir)?;
    let data = assemble(kind, dir, found, &mut skips)?;
    if data.train.is_empty() {
        let why: Vec<String> = skips
            .left_out
            .lines()
            .map(|line| format!("; left out: {line}"))
            .collect();
        bail!(
            "no tagged training images in {}, which was taken for {}{}",
            dir.display(),
            data.seen.taken_for,
            why.concat()
        );
    }
    // Formats are told with those of every kind of data set.
    for (kind, count, example) in skips.left_out.kinds().filter(|(kind, ..)| !kind.starts_with('.')) {
        log::warn!("left out: {count} {kind}: {}", example.display());
    }
    Ok(Data {
        skipped: skips.count,
        seen: Seen {
            left_out: skips.left_out,
            ..data.seen
        },
        ..data
    })
}

/// Reads a folder of this kind; `known` are the classes, where they are those of another folder.
fn read(kind: Kind, dir: &Path, options: &DataOptions, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    if !dir.is_dir() {
        bail!("the data set {} is not a folder; give the path of one", dir.display());
    }
    match kind {
        Kind::Coco => coco::read(dir, options, known),
        Kind::Yolo => yolo::read(dir, known, skips),
        Kind::Labelme => labelme::read(dir, known, skips),
        Kind::LabelmeVoc => labelme_voc::read(dir, options, known, skips),
        Kind::Cvat => cvat::read(dir, known, skips),
        Kind::MmSeg => mmseg::read(dir, options, known, skips),
        Kind::Shapes | Kind::Folder | Kind::Voc => bail!("{} has no annotations of other programs", dir.display()),
    }
}

/// The data set of what was found, which may have no training images.
fn assemble(kind: Kind, dir: &Path, found: Found, skips: &mut Skips) -> Result<Data> {
    let classes = found.classes.len();
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for entry in found.images {
        match entry.part {
            Part::Test => skips.left_out.add(OF_TEST, &entry.path),
            Part::Train => train.push(entry),
            Part::Val => val.push(entry),
        }
    }
    let train = items(dir, train, true, skips)?;
    let mut val = items(dir, val, false, skips)?;
    let val_is_train = val.is_empty();
    if val_is_train {
        val = train.iter().filter(|item| item.has_mask()).cloned().collect();
    }
    let own = if val_is_train { &[][..] } else { &val[..] };
    let masks = train.iter().chain(own).filter(|item| item.has_mask()).count();
    let mut matched = BTreeMap::new();
    let mut what = match kind {
        Kind::Coco => "COCO's annotations",
        Kind::Yolo => "a YOLO data set",
        Kind::Labelme => "labelme's annotations",
        Kind::LabelmeVoc => "what labelme2voc writes",
        Kind::Cvat => "CVAT's segmentation masks",
        _ => "mmsegmentation's folders",
    }
    .to_owned();
    what += &format!(", because {}", found.because);
    if masks > 0 {
        matched.insert(found.rule, masks);
    } else {
        what += "; they give tags but no masks";
    }
    for note in &found.notes {
        log::warn!("{}: {note}", dir.display());
    }
    Ok(Data {
        kind,
        train: Split::new(train, classes),
        val_is_train: val_is_train && !val.is_empty(),
        val: Split::new(val, classes),
        classes: found.classes,
        skipped: 0,
        seen: Seen {
            taken_for: what,
            masks: MaskFiles {
                found: masks + found.unmatched.len(),
                matched,
                unmatched: found.unmatched.into_iter().map(|path| (path, String::new())).collect(),
            },
            ..Seen::default()
        },
    })
}

/// The images that can be used, sorted by name: of those to train on, the tagged ones; else also those with a mask.
fn items(dir: &Path, entries: Vec<Entry>, training: bool, skips: &mut Skips) -> Result<Vec<Item>> {
    let mut by_path: BTreeMap<PathBuf, Entry> = BTreeMap::new();
    for entry in entries {
        if !entry.path.is_file() {
            skips.count_as(MISSING, &entry.path);
        } else if entry.tags.is_empty() && (training || entry.truth.is_none()) {
            skips.count_as(UNTAGGED, &entry.path);
        } else {
            by_path.insert(entry.path.clone(), entry);
        }
    }
    let listed = by_path.keys().map(|path| Listed {
        path: path.clone(),
        tags: Vec::new(),
    });
    let mut found = Vec::new();
    for Named { name, image, .. } in merge(dir, listed.collect())? {
        if let Some(Entry { path, tags, truth, .. }) = by_path.remove(&image.path) {
            found.push(Item {
                name,
                tags,
                pixels: Pixels::Files {
                    image: path,
                    mask: truth,
                },
            });
        }
    }
    for path in by_path.keys() {
        skips.count_as("images of the same bytes and name as another", path);
    }
    Ok(found)
}

/// The path of `file` in the data set's folder, with `/` between folders.
fn relative(dir: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(dir).unwrap_or(file);
    let parts: Vec<_> = inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// The part that the first folder of a relative path that is called as one says; training without one.
fn part_of(path: &str) -> Part {
    let folders = path.split('/').rev().skip(1);
    folders.filter_map(Part::named).last().unwrap_or(Part::Train)
}

/// What a file is called in a folder: its relative path without extension, in lower case.
fn stem_in(dir: &Path, path: &Path) -> String {
    relative(dir, &path.with_file_name(files::stem(path))).to_lowercase()
}

/// The image files of a folder and below, by what they are called in it, and those that are called as another.
fn by_stem(dir: &Path, skips: &mut Skips) -> Result<(BTreeMap<String, PathBuf>, Vec<PathBuf>)> {
    let mut images = Vec::new();
    files::walk(dir, &mut images, &mut skips.left_out)?;
    images.sort();
    Ok(one_each(images.into_iter().map(|path| (stem_in(dir, &path), path))))
}

/// The first file of every name, and the others.
fn one_each(named: impl Iterator<Item = (String, PathBuf)>) -> (BTreeMap<String, PathBuf>, Vec<PathBuf>) {
    let (mut first, mut others) = (BTreeMap::new(), Vec::new());
    for (name, path) in named {
        match first.entry(name) {
            MapEntry::Vacant(place) => drop(place.insert(path)),
            MapEntry::Occupied(_) => others.push(path),
        }
    }
    (first, others)
}

/// The PNG files of a folder of masks and below, likewise; none where there is no such folder.
fn masks_in(dir: &Path, skips: &mut Skips) -> Result<BTreeMap<String, PathBuf>> {
    let mut masks = Vec::new();
    if dir.is_dir() {
        files::walk_for(dir, &mut masks, &mut skips.left_out, &|path, _| {
            path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"))
        })?;
    }
    Ok(masks.into_iter().map(|path| (stem_in(dir, &path), path)).collect())
}

#[cfg(test)]
mod tests;
