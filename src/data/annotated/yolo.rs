//! Images with YOLO's label files: `images/train/a.jpg` with `labels/train/a.txt`, parts and classes by `data.yaml`.
//!
//! The label file of an image is where Ultralytics looks for it: under `labels` in place of the last `images` of the
//! path, or beside the image where there is none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rayon::prelude::*;

use super::{Entry, Found, relative};
use crate::annotations::path::inside;
use crate::annotations::yolo::{Config, boxes, parts};
use crate::annotations::{Shape, file};
use crate::data::layouts::{self, Part};
use crate::data::truth::Truth;
use crate::data::{Skips, files};

/// Lists of names that other programs write beside labels.
const NAMES: [&str; 5] = [
    "classes.txt",
    "labels/classes.txt",
    "obj.names",
    "data/obj.names",
    "train/classes.txt",
];

pub(super) fn read(dir: &Path, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    let place = layouts::yolo_config(dir);
    let (names, because, images, keypoints) = match &place {
        Some(path) => {
            let config = Config::parse(&file::text(path, file::MOST_TEXT)?, path)?;
            let images = of_config(dir, path, &config, skips)?;
            let because = format!("it has {}", relative(dir, path));
            (config.names, because, images, config.keypoints)
        }
        None => {
            let (names, list) = listed_names(dir)?;
            let because = format!("it has label files and {list}");
            (names, because, of_folders(dir, skips)?, false)
        }
    };
    if let Some(known) = known {
        ensure!(
            names == known,
            "{} has the classes {}, but the data set has {}",
            dir.display(),
            names.join(", "),
            known.join(", ")
        );
    }
    let labels = images
        .into_par_iter()
        .map(|(part, path)| labelled(dir, part, path, names.len(), keypoints));
    let labels: Vec<Labels> = labels.collect::<Result<_>>()?;
    let drawn = labels.iter().any(|labels| labels.regions > 0);
    let mixed = labels.iter().filter(|labels| labels.boxes > 0).count();
    let mut found = Found {
        classes: names,
        because,
        rule: "polygons of the label files".to_owned(),
        ..Found::default()
    };
    if drawn && mixed > 0 {
        found.notes.push(format!(
            "{mixed} images have boxes, which give tags but no mask, beside others that have polygons"
        ));
    }
    let classes = found.classes.len();
    found.images = labels
        .into_iter()
        .map(|labels| Entry {
            part: labels.part,
            path: labels.image,
            tags: labels.tags,
            truth: labels
                .file
                .filter(|_| drawn && labels.boxes == 0)
                .map(|file| Truth::Yolo(file, classes)),
        })
        .collect();
    Ok(found)
}

/// What the label file of an image says.
struct Labels {
    part: Part,
    image: PathBuf,
    file: Option<PathBuf>,
    tags: Vec<usize>,
    boxes: usize,
    regions: usize,
}

fn labelled(dir: &Path, part: Part, image: PathBuf, classes: usize, keypoints: bool) -> Result<Labels> {
    let file = label_file(dir, &image);
    let mut labels = Labels {
        part,
        image,
        file: file.is_file().then(|| file.clone()),
        tags: Vec::new(),
        boxes: 0,
        regions: 0,
    };
    if labels.file.is_none() {
        return Ok(labels);
    }
    // Shares are checked here; they become pixels when a mask is asked for.
    let mut text = file::text(&file, file::MOST_TEXT)?;
    if keypoints {
        text = boxes(&text);
    }
    let found = parts(&text, &file, classes, (1, 1))?;
    labels.boxes = found.iter().filter(|p| matches!(p.shape, Shape::Box(_))).count();
    labels.regions = found.len() - labels.boxes;
    labels.tags = found.iter().filter_map(|p| p.class).collect();
    labels.tags.sort_unstable();
    labels.tags.dedup();
    Ok(labels)
}

fn label_file(dir: &Path, image: &Path) -> PathBuf {
    let path = relative(dir, image);
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    if let Some(last) = parts.iter().rposition(|part| *part == "images") {
        parts[last] = "labels";
    }
    let mut file = dir.to_owned();
    file.extend(parts);
    file.join(format!("{}.txt", files::stem(image)))
}

/// The images of the parts that a `data.yaml` names.
fn of_config(dir: &Path, place: &Path, config: &Config, skips: &mut Skips) -> Result<Vec<(Part, PathBuf)>> {
    let mut found = Vec::new();
    for (part, paths) in [
        (Part::Train, &config.train),
        (Part::Val, &config.val),
        (Part::Test, &config.test),
    ] {
        for path in paths {
            match resolve(dir, config, path) {
                Ok(Some(path)) => images_at(dir, part, &path, &mut found, skips)?,
                // What is not there is not needed for tests.
                _ if part == Part::Test => {}
                Ok(None) => bail!(
                    "{} names {path}, which does not exist in {}",
                    place.display(),
                    dir.display()
                ),
                Err(error) => bail!("{}: {error}", place.display()),
            }
        }
    }
    ensure!(
        !config.train.is_empty(),
        "{} names no training images; write train: and the path of their folder",
        place.display()
    );
    Ok(found)
}

/// What a path of a `data.yaml` means: one in its folder `path`, where that is here, or beside it. Roboflow writes paths
/// as seen from a sub-folder, which Ultralytics takes without the leading `../`, and so they are here.
fn resolve(dir: &Path, config: &Config, path: &str) -> Result<Option<PathBuf>> {
    let base = config.path.as_deref().and_then(|path| inside("", path).ok());
    let bases = base
        .into_iter()
        .filter(|base| dir.join(base).is_dir())
        .chain([String::new()]);
    let stripped = path.trim_start_matches("../");
    let mut wrong = None;
    for base in bases {
        for path in [path, stripped] {
            match inside(&base, path) {
                Ok(path) if dir.join(&path).exists() => return Ok(Some(dir.join(path))),
                Ok(_) => {}
                Err(error) => wrong = Some(error),
            }
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// The images of a folder, or of a list of them.
fn images_at(dir: &Path, part: Part, path: &Path, found: &mut Vec<(Part, PathBuf)>, skips: &mut Skips) -> Result<()> {
    let mut images = Vec::new();
    if path.is_dir() {
        files::walk(path, &mut images, &mut skips.left_out)?;
    } else {
        let text = file::text(path, file::MOST_TEXT)?;
        let base = path.parent().map(|folder| relative(dir, folder)).unwrap_or_default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{} line {}", path.display(), number + 1);
            // Lines begin with ./ where they are relative to the list, and else are relative to the data set.
            let line = line.trim();
            let base = if line.starts_with("./") { base.as_str() } else { "" };
            let image = inside(base, line).with_context(place).map_err(|e| anyhow!("{e:#}"))?;
            images.push(dir.join(image));
        }
    }
    found.extend(images.into_iter().map(|path| (part, path)));
    Ok(())
}

/// The images of folders that are called as parts, or all of them.
fn of_folders(dir: &Path, skips: &mut Skips) -> Result<Vec<(Part, PathBuf)>> {
    let mut images = Vec::new();
    files::walk(dir, &mut images, &mut skips.left_out)?;
    let part = |path: &PathBuf| super::part_of(&relative(dir, path));
    Ok(images.into_iter().map(|path| (part(&path), path)).collect())
}

/// The names of the classes in a list, and which that is.
fn listed_names(dir: &Path) -> Result<(Vec<String>, &'static str)> {
    for list in NAMES {
        if let Some(names) = files::read_classes(&dir.join(list))? {
            return Ok((names, list));
        }
    }
    bail!(
        "{} has YOLO's label files, which give classes as numbers; name the classes in classes.txt, a line each in the order of the numbers, or in data.yaml",
        dir.display()
    )
}
