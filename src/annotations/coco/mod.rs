//! COCO's instances JSON: which images there are, which categories they show, and where each annotation is in the file.
//!
//! The training images of 2014 have 600,000 annotations in 300 MB of text. So the file is mapped and read through once;
//! of an annotation a few bytes are kept, and its polygons are read again when a mask is asked for.

mod regions;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Image, Part, Set, file, json};
use rows::{AnnotationRow, CategoryRow, Id, ImageRow};

/// A file of COCO's instances, of which regions are read when asked for. The file must not be changed meanwhile.
#[derive(Clone, Debug)]
pub struct Instances {
    path: PathBuf,
    classes: Vec<String>,
    images: Vec<Listed>,
    marks: Vec<Mark>,
    notes: Vec<String>,
}

/// An image of the file.
#[derive(Clone, Debug)]
struct Listed {
    file: String,
    /// Width and height; 0 where the file does not say.
    size: (u32, u32),
    /// Its annotations among the marks.
    marks: Range<usize>,
}

/// An annotation: what it is of, and where in the file it is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    image: u32,
    class: u32,
    crowd: bool,
    region: bool,
    length: u32,
    at: u64,
}

impl Instances {
    /// Reads which images and annotations the file has. Categories become classes in the order of their ids, so that
    /// gaps between these do not matter. An image that is listed twice is one image with the annotations of both.
    ///
    /// # Errors
    /// One line that names the file, and the line in it: broken JSON, no images, two categories of one name, an
    /// annotation of an unknown category, an id that two files have.
    pub fn open(path: &Path) -> Result<Instances> {
        let text = file::mapped(path)?;
        read(path, &text)
            .with_context(|| path.display().to_string())
            .map_err(|error| anyhow!("{error:#}"))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the classes: the categories in the order of their ids.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many images there are; they are numbered from 0.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The name of an image, as the file has it.
    pub fn file(&self, image: usize) -> &str {
        &self.images[image].file
    }

    /// Width and height of an image; 0 where the file does not say.
    pub fn size(&self, image: usize) -> (u32, u32) {
        self.images[image].size
    }

    /// The classes that an image has annotations of, crowds and boxes included, sorted.
    pub fn tags(&self, image: usize) -> Vec<usize> {
        let marks = &self.marks[self.images[image].marks.clone()];
        let mut tags: Vec<usize> = marks.iter().map(|mark| mark.class as usize).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Whether any annotation of the file says which pixels are its own.
    pub fn has_regions(&self) -> bool {
        self.marks.iter().any(|mark| mark.region)
    }

    /// Whether every annotation of an image says which pixels are its own; so it is where there is none.
    pub fn is_whole(&self, image: usize) -> bool {
        let marks = &self.marks[self.images[image].marks.clone()];
        marks.iter().all(|mark| mark.region)
    }

    /// Takes `classes` for those of the file, by their names: those of another file.
    ///
    /// # Errors
    /// Where an annotation is of a class that is not among them.
    pub fn take_classes(&mut self, classes: &[String]) -> Result<()> {
        let place = |name: &String| classes.iter().position(|class| class == name);
        let places: Vec<Option<usize>> = self.classes.iter().map(place).collect();
        for mark in &mut self.marks {
            match places[mark.class as usize] {
                Some(place) => mark.class = place as u32,
                None => bail!(
                    "{} has annotations of {:?}, which is none of the classes; known are {}",
                    self.path.display(),
                    self.classes[mark.class as usize],
                    classes.join(", ")
                ),
            }
        }
        self.classes = classes.to_vec();
        Ok(())
    }

    /// An image with its annotations, crowds as regions to ignore. `size` is its width and height, which those of the
    /// file must be where it has any.
    ///
    /// So that a mask has the cup that stands on a table, parts are in the order of their areas, the largest first, and
    /// crowds before all others. (Ours: COCO says nothing of what lies on top, and programs differ.)
    ///
    /// # Errors
    /// One line that names the file and the line of an annotation that is no region of this image.
    pub fn image(&self, image: usize, size: (u32, u32)) -> Result<Image> {
        let listed = &self.images[image];
        let (width, height) = size;
        ensure!(
            listed.size == (0, 0) || listed.size == size,
            "{} has regions in {} x {} for {}, but the image is {width} x {height}; make both the same size",
            self.path.display(),
            listed.size.0,
            listed.size.1,
            listed.file
        );
        ensure!(
            u64::from(width) * u64::from(height) <= u64::from(u32::MAX),
            "{} has {width} x {height} pixels for {}, more than a mask can have",
            self.path.display(),
            listed.file
        );
        let text = file::mapped(&self.path)?;
        let mut parts: Vec<(bool, f64, Part)> = Vec::new();
        for mark in &self.marks[listed.marks.clone()] {
            let start = usize::try_from(mark.at)?;
            let place = start..start + mark.length as usize;
            ensure!(place.end <= text.len(), "{} has changed meanwhile", self.path.display());
            let class = (!mark.crowd).then_some(mark.class as usize);
            let part = json::parse(&text, place)
                .and_then(|row| {
                    regions::part(row, class, size).map_err(|e| anyhow!("line {}: {e}", json::line(&text, start)))
                })
                .map_err(|error| anyhow!("{}: {error}", self.path.display()))?;
            parts.extend(part.map(|(area, part)| (!mark.crowd, -area, part)));
        }
        parts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Ok(Image {
            file: listed.file.clone(),
            width,
            height,
            parts: parts.into_iter().map(|(.., part)| part).collect(),
        })
    }
}

/// Reads a whole file, regions included. Images without a size in the file have no parts but boxes.
///
/// # Errors
/// As [`Instances::open`] and [`Instances::image`].
pub fn read_set(path: &Path) -> Result<Set> {
    let instances = Instances::open(path)?;
    let images = (0..instances.len()).map(|image| instances.image(image, instances.size(image)));
    Ok(Set {
        images: images.collect::<Result<_>>()?,
        classes: instances.classes,
        notes: instances.notes,
    })
}

/// Whether the file has the parts of COCO's instances: images and annotations or categories. A broken one may have.
pub fn is_instances(path: &Path) -> bool {
    let Ok(text) = file::mapped(path) else {
        return false;
    };
    let Ok(members) = json::members(&text) else {
        return json::begins_with(&text, &["images"]) && json::begins_with(&text, &["annotations", "file_name"]);
    };
    let has = |wanted: &str| {
        members
            .iter()
            .any(|(name, place)| name == wanted && text[place.start] == b'[')
    };
    has("images") && (has("annotations") || has("categories"))
}

fn read(path: &Path, text: &[u8]) -> Result<Instances> {
    let members = json::members(text)?;
    let part = |name: &str| {
        let found = members.iter().find(|(member, _)| member == name);
        found
            .map(|(_, place)| place.clone())
            .with_context(|| format!("it has no {name:?}"))
    };
    let mut notes = Vec::new();
    let categories = categories(text, part("categories")?)?;
    let (mut images, by_id) = images(text, part("images")?, &mut notes)?;
    let (mut marks, used) = annotations(text, part("annotations")?, &by_id, &categories, &mut notes)?;
    let classes = classes(&categories, &used, &mut marks, &mut notes);
    marks.sort_by_key(|mark| mark.image);
    let mut start = 0;
    for (index, image) in images.iter_mut().enumerate() {
        let own = marks[start..].partition_point(|mark| mark.image as usize <= index);
        image.marks = start..start + own;
        start += own;
    }
    Ok(Instances {
        path: path.to_owned(),
        classes,
        images,
        marks,
        notes,
    })
}

/// The categories by their ids.
fn categories(text: &[u8], place: Range<usize>) -> Result<BTreeMap<Id, CategoryRow>> {
    let mut found: BTreeMap<Id, CategoryRow> = BTreeMap::new();
    json::elements(text, place, &mut |place| {
        let line = || json::line(text, place.start);
        let row: CategoryRow = json::parse(text, place.clone())?;
        if found.values().any(|other| other.name == row.name) {
            bail!("line {}: two categories are called {:?}", line(), row.name);
        }
        let id = row.id.clone();
        if found.insert(id.clone(), row).is_some() {
            bail!("line {}: two categories have the id {id}", line());
        }
        Ok(())
    })?;
    ensure!(!found.is_empty(), "it has no categories");
    Ok(found)
}

/// The images, and which of them each id means.
fn images(text: &[u8], place: Range<usize>, notes: &mut Vec<String>) -> Result<(Vec<Listed>, HashMap<Id, u32>)> {
    let mut images: Vec<Listed> = Vec::new();
    let mut by_file: HashMap<String, u32> = HashMap::new();
    let mut by_id: HashMap<Id, u32> = HashMap::new();
    let mut twice = None;
    json::elements(text, place, &mut |place| {
        let line = || json::line(text, place.start);
        let row: ImageRow = json::parse(text, place.clone())?;
        let size = (row.width.unwrap_or(0), row.height.unwrap_or(0));
        let next = u32::try_from(images.len())?;
        let index = *by_file.entry(row.file_name.clone()).or_insert(next);
        if index < next {
            let (count, _) = twice.get_or_insert((0, row.file_name.clone()));
            *count += 1;
            ensure!(
                images[index as usize].size == size,
                "line {}: {:?} is listed twice, with two sizes",
                line(),
                row.file_name
            );
        } else {
            images.push(Listed {
                file: row.file_name,
                size,
                marks: 0..0,
            });
        }
        if by_id.insert(row.id.clone(), index).is_some_and(|other| other != index) {
            bail!("line {}: two images have the id {}", line(), row.id);
        }
        Ok(())
    })?;
    ensure!(!images.is_empty(), "it has no images");
    if let Some((count, example)) = twice {
        notes.push(format!(
            "{count} images are listed twice, as {example}: each is one image with the annotations of both"
        ));
    }
    Ok((images, by_id))
}

/// The annotations, with the place of their category among the categories for a class, and how many are of each.
fn annotations(
    text: &[u8],
    place: Range<usize>,
    images: &HashMap<Id, u32>,
    categories: &BTreeMap<Id, CategoryRow>,
    notes: &mut Vec<String>,
) -> Result<(Vec<Mark>, Vec<usize>)> {
    let places: HashMap<&Id, u32> = categories.keys().zip(0..).collect();
    let mut used = vec![0; categories.len()];
    let mut marks = Vec::new();
    let mut strangers = None;
    json::elements(text, place, &mut |place| {
        let row: AnnotationRow = json::parse(text, place.clone())?;
        let Some(&image) = images.get(&row.image_id) else {
            strangers.get_or_insert((0, row.image_id)).0 += 1;
            return Ok(());
        };
        let Some(&class) = places.get(&row.category_id) else {
            let known: Vec<String> = categories.keys().map(Id::to_string).collect();
            bail!(
                "line {}: an annotation has the category {}, which is not listed; known are {}",
                json::line(text, place.start),
                row.category_id,
                known.join(", ")
            );
        };
        used[class as usize] += 1;
        marks.push(Mark {
            image,
            class,
            crowd: row.iscrowd.0,
            region: row.segmentation.0,
            length: u32::try_from(place.len())?,
            at: place.start as u64,
        });
        Ok(())
    })?;
    if let Some((count, id)) = strangers {
        notes.push(format!(
            "{count} annotations are of images that are not listed, as of {id}: left out"
        ));
    }
    Ok((marks, used))
}

/// The names of the categories without those that are none: a heading that others are listed under, as Roboflow has it
/// first, is no class where nothing is annotated with it. Marks get the places of what is left.
fn classes(
    categories: &BTreeMap<Id, CategoryRow>,
    used: &[usize],
    marks: &mut [Mark],
    notes: &mut Vec<String>,
) -> Vec<String> {
    let is_heading = |row: &CategoryRow| {
        let under = |other: &CategoryRow| other.supercategory.as_ref() == Some(&row.name) && other.name != row.name;
        row.supercategory.as_deref() == Some("none") && categories.values().any(under)
    };
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for (row, count) in categories.values().zip(used) {
        places.push(names.len() as u32);
        match is_heading(row) && *count == 0 {
            true => notes.push(format!(
                "the category {:?} is a heading of others, not a class",
                row.name
            )),
            false => names.push(row.name.clone()),
        }
    }
    for mark in marks {
        mark.class = places[mark.class as usize];
    }
    names
}

#[cfg(test)]
mod tests;
