//! Masks that come back from an annotation program, to be matched with images by name. The images themselves need not
//! be there, and no path that an annotation names is followed: its last part is the image's name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use image::GrayImage;
use serde::Deserialize;

use super::truth::Truth;
use super::{decode, files, layouts, voc};
use crate::annotations::coco::Instances;
use crate::annotations::cvat::Labels;
use crate::annotations::format::Format;
use crate::annotations::path::inside;
use crate::annotations::yolo::{Config, parts};
use crate::annotations::{Shape, file, labelme};

/// Masks of images by name.
pub struct Corrected {
    /// The format that they are in.
    pub format: Format,
    /// The classes that they are of, in an order of their own.
    pub classes: Vec<String>,
    /// The masks, sorted by name.
    pub masks: BTreeMap<String, Mask>,
    /// What was left out, a line each.
    pub notes: Vec<String>,
}

/// A mask that is read when asked for.
pub struct Mask(Truth);

/// What is in a folder, before names are compared.
struct Found {
    classes: Vec<String>,
    masks: Vec<(String, Truth)>,
    notes: Vec<String>,
}

impl Corrected {
    /// Lists the masks in `from`, a folder of the format, or a file of COCO's. `known` are the classes where masks hold
    /// values without names.
    ///
    /// # Errors
    /// One line that names the file: no such folder, a format that cannot be told, what the readers of the formats say,
    /// two masks of one name, or a file outside of the folder.
    pub fn open(from: &Path, format: Option<Format>, known: &[String]) -> Result<Corrected> {
        ensure!(from.exists(), "{} does not exist", from.display());
        let format = match format.or_else(|| told(from)) {
            Some(format) => format,
            None => bail!(
                "{} has annotations of no format that is known here: unpack archives first, or say with --format which of {} it is",
                from.display(),
                Format::ALL.map(Format::name).join(", ")
            ),
        };
        ensure!(
            from.is_dir() || format == Format::Coco,
            "{} is a file: give the folder that the annotations are in, unpacked",
            from.display()
        );
        let found = match format {
            Format::Coco => coco(from),
            Format::Yolo => yolo(from),
            Format::Labelme => of_labelme(from),
            Format::Cvat => cvat(from),
            Format::Voc => of_voc(from, known),
            Format::Hf => hf(from, known),
        }?;
        let mut masks: BTreeMap<String, Mask> = BTreeMap::new();
        for (name, truth) in found.masks {
            if let Some(Mask(other)) = masks.get(&name) {
                let (a, b) = (other.path().display(), truth.path().display());
                bail!("{name} is there twice, in {a} and in {b}: keep one of them");
            }
            stays_inside(from, truth.path())?;
            masks.insert(name, Mask(truth));
        }
        ensure!(
            !masks.is_empty(),
            "{} has no masks in the format {}{}",
            from.display(),
            format.name(),
            found.notes.iter().map(|note| format!("; {note}")).collect::<String>()
        );
        Ok(Corrected {
            format,
            classes: found.classes,
            masks,
            notes: found.notes,
        })
    }

    /// A mask of `image`, in values of the classes `wanted`.
    ///
    /// # Errors
    /// One line that names the file: damage, another size than the upright image's, a class that is not among `wanted`.
    pub fn read(&self, mask: &Mask, size: (u32, u32), image: Option<&Path>, wanted: &[String]) -> Result<GrayImage> {
        let Mask(truth) = mask;
        let read = truth.read(self.classes.len(), size, None);
        let mut read = read.map_err(|error| match image {
            Some(image) => decode::with_orientation(error, image),
            None => error,
        })?;
        let place = |name: &String| {
            wanted
                .iter()
                .position(|class| class == name)
                .map(|class| class as u8 + 1)
        };
        let meant: Vec<Option<u8>> = self.classes.iter().map(place).collect();
        for value in read.iter_mut().filter(|value| !matches!(**value, 0 | 255)) {
            let class = usize::from(*value) - 1;
            *value = meant[class].with_context(|| {
                format!(
                    "{} has {:?}, which is no class of the run: call it as one of {}, or leave it out",
                    truth.path().display(),
                    self.classes[class],
                    wanted.join(", ")
                )
            })?;
        }
        Ok(read)
    }
}

/// The format of a folder, told by its files.
fn told(from: &Path) -> Option<Format> {
    if from.is_file() {
        return crate::annotations::coco::is_instances(from).then_some(Format::Coco);
    }
    let is_dir = |name: &str| from.join(name).is_dir();
    if from.join("labelmap.txt").is_file() && is_dir("SegmentationClass") {
        Some(Format::Cvat)
    } else if !metadata(from).is_empty() {
        Some(Format::Hf)
    } else if is_dir("SegmentationClass")
        || is_dir("SegmentationClassPNG")
        || !matches!(voc::year_folder(from), Ok(None))
    {
        Some(Format::Voc)
    } else if layouts::yolo_config(from).is_some() {
        Some(Format::Yolo)
    } else if !layouts::coco_files(from).is_empty() {
        Some(Format::Coco)
    } else if layouts::has_labelme(from) {
        Some(Format::Labelme)
    } else {
        layouts::has_yolo_labels(from).then_some(Format::Yolo)
    }
}

/// Errors where a file that is to be read is a link to somewhere else.
fn stays_inside(from: &Path, path: &Path) -> Result<()> {
    let real = |path: &Path| {
        path.canonicalize()
            .with_context(|| format!("cannot read {}", path.display()))
    };
    ensure!(
        real(path)?.starts_with(real(from)?),
        "{} leads out of {}, and is not followed",
        path.display(),
        from.display()
    );
    Ok(())
}

/// The name of the image that a path means, on whichever system it was written.
fn name_of(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or(path);
    files::stem(Path::new(last))
}

/// The files below a folder with this extension.
fn below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        files::walk_for(folder, &mut found, &mut super::LeftOut::default(), &|path, _| {
            path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
        })?;
    }
    Ok(found)
}

fn coco(from: &Path) -> Result<Found> {
    let jsons = match from.is_file() {
        true => vec![from.to_owned()],
        false => layouts::coco_files(from),
    };
    let mut found = Found {
        classes: Vec::new(),
        masks: Vec::new(),
        notes: Vec::new(),
    };
    for json in jsons {
        let mut instances = Instances::open(&json)?;
        if let Some(twice) = instances.listed_twice() {
            bail!("{} lists {twice} twice: keep one of them", json.display());
        }
        match found.classes.is_empty() {
            true => found.classes = instances.classes().to_vec(),
            false => instances.take_classes(&found.classes)?,
        }
        found.notes.extend(instances.notes().iter().cloned());
        let instances = Arc::new(instances);
        let mut boxes = 0;
        for number in 0..instances.len() {
            match instances.is_whole(number) {
                true => found
                    .masks
                    .push((name_of(instances.file(number)), Truth::Coco(instances.clone(), number))),
                false => boxes += 1,
            }
        }
        note_boxes(&mut found.notes, boxes, &json);
    }
    Ok(found)
}

fn note_boxes(notes: &mut Vec<String>, count: usize, place: &Path) {
    if count > 0 {
        notes.push(format!(
            "{count} images in {} have boxes, points or lines, which say no pixels: left out",
            place.display()
        ));
    }
}

fn yolo(from: &Path) -> Result<Found> {
    let classes = match layouts::yolo_config(from) {
        Some(path) => Config::parse(&file::text(&path, file::MOST_TEXT)?, &path)?.names,
        None => files::read_classes(&from.join("classes.txt"))?
            .with_context(|| format!("{} names no classes: write classes.txt or data.yaml", from.display()))?,
    };
    let folder = match from.join("labels").is_dir() {
        true => from.join("labels"),
        false => from.to_owned(),
    };
    let mut notes = Vec::new();
    let (mut masks, mut boxes) = (Vec::new(), 0);
    for path in below(&folder, "txt")? {
        let name = files::stem(&path);
        if ["classes", "train", "val", "test", "obj", "labels"].contains(&name.as_str()) {
            continue;
        }
        let drawn = parts(&file::text(&path, file::MOST_TEXT)?, &path, classes.len(), (1, 1))?;
        match drawn.iter().any(|part| matches!(part.shape, Shape::Box(_))) {
            true => boxes += 1,
            false => masks.push((name, Truth::Yolo(path, classes.len()))),
        }
    }
    note_boxes(&mut notes, boxes, &folder);
    Ok(Found { classes, masks, notes })
}

fn of_labelme(from: &Path) -> Result<Found> {
    let mut classes: Vec<String> = Vec::new();
    let (mut drawn, mut boxes) = (Vec::new(), 0);
    for path in below(from, "json")?
        .into_iter()
        .filter(|path| labelme::is_labelled(path))
    {
        let labelled = labelme::read(&path)?;
        classes.extend(labelled.labels().map(str::to_owned));
        match labelled.is_whole() {
            true => drawn.push((name_of(&labelled.image), path)),
            false => boxes += 1,
        }
    }
    classes.sort_unstable();
    classes.dedup();
    let shared: Arc<[String]> = classes.as_slice().into();
    let mut notes = Vec::new();
    note_boxes(&mut notes, boxes, from);
    let mask = |(name, path)| (name, Truth::Labelme(path, shared.clone()));
    Ok(Found {
        masks: drawn.into_iter().map(mask).collect(),
        classes,
        notes,
    })
}

fn cvat(from: &Path) -> Result<Found> {
    let map = from.join("labelmap.txt");
    let labels = Arc::new(Labels::parse(&file::text(&map, file::MOST_TEXT)?, &map)?);
    let masks = below(&from.join("SegmentationClass"), "png")?.into_iter();
    Ok(Found {
        classes: labels.classes.clone(),
        masks: masks
            .map(|path| (files::stem(&path), Truth::Colours(path, labels.clone())))
            .collect(),
        notes: Vec::new(),
    })
}

fn of_voc(from: &Path, known: &[String]) -> Result<Found> {
    let root = match from.join("SegmentationClass").is_dir() || from.join("SegmentationClassPNG").is_dir() {
        true => from.to_owned(),
        false => voc::year_folder(from)?.unwrap_or_else(|| from.to_owned()),
    };
    let names = root.join("class_names.txt");
    let classes = match names.is_file() {
        true => labelme::class_names(&file::text(&names, file::MOST_TEXT)?)
            .map_err(|error| anyhow!("{}: {error}", names.display()))?,
        false => files::read_classes(&root.join("classes.txt"))?.unwrap_or_else(|| known.to_vec()),
    };
    let mut masks = below(&root.join("SegmentationClass"), "png")?;
    masks.extend(below(&root.join("SegmentationClassPNG"), "png")?);
    Ok(Found {
        classes,
        masks: masks
            .into_iter()
            .map(|path| (files::stem(&path), Truth::Values(path)))
            .collect(),
        notes: Vec::new(),
    })
}

/// The files `metadata.jsonl` of an image folder.
fn metadata(from: &Path) -> Vec<PathBuf> {
    let folders = ["", "train", "validation", "val", "test", "data"].map(|name| from.join(name));
    let files = folders.map(|folder| folder.join("metadata.jsonl"));
    files.into_iter().filter(|path| path.is_file()).collect()
}

#[derive(Deserialize)]
struct HfRow {
    file_name: String,
    mask_file_name: Option<String>,
}

fn hf(from: &Path, known: &[String]) -> Result<Found> {
    let ids = from.join("id2label.json");
    let classes = match ids.is_file() {
        true => numbered(&file::bytes(&ids, file::MOST_TEXT)?).map_err(|e| anyhow!("{}: {e:#}", ids.display()))?,
        false => known.to_vec(),
    };
    let (mut masks, mut without) = (Vec::new(), 0);
    for path in metadata(from) {
        let folder = path.parent().unwrap_or(from);
        for (number, line) in file::text(&path, 1 << 30)?.lines().enumerate() {
            let place = || format!("{} line {}", path.display(), number + 1);
            if line.trim().is_empty() {
                continue;
            }
            let row: HfRow = serde_json::from_str(line).map_err(|e| anyhow!("{}: {e}", place()))?;
            match row.mask_file_name {
                Some(mask) => {
                    let mask = inside("", &mask).map_err(|e| anyhow!("{}: {e}", place()))?;
                    masks.push((name_of(&row.file_name), Truth::Values(folder.join(mask))));
                }
                None => without += 1,
            }
        }
    }
    let mut notes = Vec::new();
    if without > 0 {
        notes.push(format!("{without} images have no mask_file_name: left out"));
    }
    Ok(Found { classes, masks, notes })
}

/// The names of a map from mask values to classes, without that of the background.
fn numbered(text: &[u8]) -> Result<Vec<String>> {
    let names: BTreeMap<String, String> = serde_json::from_slice(text)?;
    let name = |value: usize| {
        let name = names.get(&value.to_string());
        name.cloned().with_context(|| format!("it has no name for {value}"))
    };
    (1..names.len()).map(name).collect()
}
