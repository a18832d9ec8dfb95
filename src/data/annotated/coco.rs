//! Images with COCO's instances JSON: `annotations/instances_train2014.json` with `train2014/`, or Roboflow's
//! `train/_annotations.coco.json` beside its images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use super::{Entry, Found, relative};
use crate::annotations::coco::Instances;
use crate::annotations::path::inside;
use crate::data::DataOptions;
use crate::data::files;
use crate::data::layouts::{self, Part};
use crate::data::truth::Truth;

pub(super) fn read(dir: &Path, options: &DataOptions, known: Option<&[String]>) -> Result<Found> {
    let chosen = choose(dir, options)?;
    let names: Vec<String> = chosen.iter().map(|(_, path)| relative(dir, path)).collect();
    let mut found = Found {
        because: format!("it has {}", names.join(" and ")),
        rule: "polygons and runs of the JSON".to_owned(),
        classes: known.unwrap_or_default().to_vec(),
        ..Found::default()
    };
    for (part, path) in chosen {
        let mut instances = Instances::open(&path)?;
        match found.classes.is_empty() {
            true => found.classes = instances.classes().to_vec(),
            false => instances.take_classes(&found.classes)?,
        }
        let file = relative(dir, &path);
        found
            .notes
            .extend(instances.notes().iter().map(|note| format!("{file}: {note}")));
        let instances = Arc::new(instances);
        let places = Places::new(dir, &path);
        let mut boxes = 0;
        for number in 0..instances.len() {
            let whole = instances.is_whole(number);
            boxes += usize::from(!whole);
            let image = places
                .find(instances.file(number))
                .map_err(|error| anyhow!("{}: {error}", path.display()))?;
            let truth = (whole && instances.has_regions()).then(|| Truth::Coco(instances.clone(), number));
            found.images.push(Entry {
                part,
                path: image,
                tags: instances.tags(number),
                truth,
            });
        }
        if boxes > 0 && instances.has_regions() {
            found.notes.push(format!(
                "{file}: {boxes} images have annotations without a region: their boxes give tags, but no mask"
            ));
        }
    }
    Ok(found)
}

/// The files of the training and the validation images: those that are called so, or asked for.
fn choose(dir: &Path, options: &DataOptions) -> Result<Vec<(Part, PathBuf)>> {
    let files = layouts::coco_files(dir);
    let listed = || {
        files
            .iter()
            .map(|path| relative(dir, path))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let asked = |name: &String| {
        let is_it = |path: &&PathBuf| {
            let stem = files::stem(path);
            stem == *name || stem == format!("instances_{name}") || relative(dir, path) == *name || path.ends_with(name)
        };
        let found = files.iter().find(is_it).cloned();
        found.ok_or_else(|| {
            anyhow!(
                "there is no COCO file {name} in {}; there are {}",
                dir.display(),
                listed()
            )
        })
    };
    let only = |part: Part, option: &str| {
        let of_part: Vec<&PathBuf> = files.iter().filter(|path| part_of_file(path) == Some(part)).collect();
        match of_part.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some((*one).clone())),
            [first, ..] => {
                let names: Vec<String> = of_part.iter().map(|path| relative(dir, path)).collect();
                bail!(
                    "{} has {}; choose one, as in {option} {}",
                    dir.display(),
                    names.join(" and "),
                    files::stem(first)
                )
            }
        }
    };
    let train = match (&options.train_list, files.as_slice()) {
        (Some(name), _) => Some(asked(name)?),
        // A single file is the data set, whatever it is called.
        (None, [one]) => Some(one.clone()),
        (None, _) => only(Part::Train, "--train-list")?,
    };
    let Some(train) = train else {
        match files.is_empty() {
            true => bail!("{} has no COCO JSON with images and annotations", dir.display()),
            false => bail!(
                "{} has {}, and none is called train; choose one with --train-list",
                dir.display(),
                listed()
            ),
        }
    };
    let val = match (&options.val_list, &options.val) {
        (Some(name), _) => Some(asked(name)?),
        (None, Some(_)) => None,
        (None, None) => only(Part::Val, "--val-list")?.filter(|val| *val != train),
    };
    let val = val.map(|path| (Part::Val, path));
    Ok([(Part::Train, train)].into_iter().chain(val).collect())
}

/// The part that a word of the file's name says, or its folder.
fn part_of_file(path: &Path) -> Option<Part> {
    let stem = files::stem(path);
    let words = stem.split(|c: char| !c.is_alphanumeric());
    let folder = path.parent().map(files::file_name).unwrap_or_default();
    words.chain([folder.as_str()]).find_map(Part::named)
}

/// Where the images of a file may lie.
struct Places {
    dir: PathBuf,
    /// Folders relative to the data set, the most likely first.
    folders: Vec<String>,
}

impl Places {
    fn new(dir: &Path, file: &Path) -> Places {
        let stem = files::stem(file);
        let own = file.parent().map(|folder| relative(dir, folder)).unwrap_or_default();
        let part = stem.strip_prefix("instances_").unwrap_or(&stem);
        let plain = part.trim_end_matches(|c: char| c.is_ascii_digit());
        let mut folders = Vec::new();
        for part in [part, plain] {
            folders.extend([part.to_owned(), format!("images/{part}"), format!("{part}/images")]);
        }
        folders.extend(["images", "JPEGImages", "data"].map(String::from));
        folders.extend([own.clone(), format!("{own}/images"), String::new()]);
        Places {
            dir: dir.to_owned(),
            folders,
        }
    }

    /// The image of this name; where none exists, where it would be expected.
    ///
    /// # Errors
    /// Where the name is no path inside of the data set.
    fn find(&self, name: &str) -> Result<PathBuf> {
        // A name alone has to stay in the folder that it is looked for in.
        let name = inside("", name)?;
        for folder in &self.folders {
            let path = self.dir.join(inside(folder, &name)?);
            if path.is_file() {
                return Ok(path);
            }
        }
        Ok(self.dir.join(inside(&self.folders[0], &name)?))
    }
}
