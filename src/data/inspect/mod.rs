//! Looking at a data set before anything is trained: what it was taken for, and whether that can be meant.

mod fit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;

use super::decode::{self, Header};
use super::{Data, Kind};

/// What a data set is like.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// What it was taken for, and by what that was told.
    pub taken_for: String,
    /// Number of training images.
    pub training: usize,
    /// Number of validation images.
    pub validation: usize,
    /// Whether the validation images are training images.
    pub validation_is_training: bool,
    /// Classes in their order, with how many training images are tagged with each.
    pub classes: Vec<Class>,
    /// Whether the classes are numbers, sorted as such.
    pub numbered: bool,
    /// The least, mean and most tags of a training image.
    pub tags_an_image: (usize, f64, usize),
    /// Images that were left out because they have no tags.
    pub without_tags: usize,
    /// The smallest and the largest image (upright width and height), by area.
    pub sizes: Option<((u32, u32), (u32, u32))>,
    /// Images of each format, by content.
    pub formats: BTreeMap<String, usize>,
    /// Images of each EXIF orientation, 1 (upright) to 8.
    pub orientations: BTreeMap<u8, usize>,
    /// Masks.
    pub masks: Masks,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
}

/// A class of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// How many training images are tagged with it.
    pub images: usize,
}

/// The masks of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Masks {
    /// Files that were found.
    pub found: usize,
    /// How many were matched by each rule.
    pub matched: BTreeMap<String, usize>,
    /// Files that no image was found for.
    pub unmatched: usize,
    /// One of them.
    pub unmatched_example: Option<PathBuf>,
    /// Why that one is not used, where it was meant for an image.
    pub unmatched_reason: Option<String>,
    /// Matched files that cannot be used.
    pub bad: usize,
    /// The first reason.
    pub bad_reason: Option<String>,
    /// How many masks hold each value.
    pub values: BTreeMap<u8, usize>,
    /// Masks of tagged images in which a class occurs.
    pub compared: usize,
    /// How many of these hold classes that their image is tagged with, and no others.
    pub fitting: usize,
}

/// A kind of files that were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What they are.
    pub kind: String,
    /// How many.
    pub count: usize,
    /// One of them.
    pub example: PathBuf,
}

impl Data {
    /// What the data set is like. Values of masks are those that [`Data::verify`] has seen.
    ///
    /// # Errors
    /// Where the header of an image cannot be read.
    pub fn inspect(&self) -> Result<Inspection> {
        let mut classes: Vec<Class> = self
            .classes
            .iter()
            .map(|name| Class {
                name: name.clone(),
                images: 0,
            })
            .collect();
        let counts: Vec<usize> = self.train.indices().map(|i| self.train.tags(i).len()).collect();
        for tag in self.train.indices().flat_map(|i| self.train.tags(i)) {
            if let Some(class) = classes.get_mut(*tag) {
                class.images += 1;
            }
        }
        let all = counts.len().max(1) as f64;
        let left_out: Vec<LeftOut> = self
            .seen
            .left_out
            .kinds()
            .map(|(kind, count, example)| LeftOut {
                kind: kind.to_owned(),
                count,
                example: example.to_owned(),
            })
            .collect();
        let untagged = left_out.iter().find(|l| l.kind == "images without tags");
        let mut found = Inspection {
            taken_for: self.seen.taken_for.clone(),
            training: self.train.len(),
            validation: self.val.len(),
            validation_is_training: self.val_is_train,
            classes,
            numbered: self.seen.numbered,
            tags_an_image: (
                counts.iter().min().copied().unwrap_or(0),
                counts.iter().sum::<usize>() as f64 / all,
                counts.iter().max().copied().unwrap_or(0),
            ),
            without_tags: untagged.map_or(0, |l| l.count),
            masks: self.masks(),
            left_out,
            ..Inspection::default()
        };
        self.look_at_headers(&mut found)?;
        Ok(found)
    }

    /// Formats, sizes and orientations.
    fn look_at_headers(&self, found: &mut Inspection) -> Result<()> {
        let mut sizes: Vec<(u32, u32)> = Vec::new();
        let splits = [&self.train, &self.val];
        if self.kind == Kind::Shapes {
            for split in splits {
                for i in split.indices() {
                    sizes.push(split.size(i)?);
                }
            }
            found.formats.insert("generated".to_owned(), sizes.len());
        }
        let files: BTreeSet<PathBuf> = splits
            .into_iter()
            .flat_map(|split| split.indices().filter_map(|i| split.files(i)))
            .map(|(image, _)| image.to_owned())
            .collect();
        let headers: Vec<Header> = files.par_iter().map(decode::header).collect::<Result<_>>()?;
        for header in headers {
            sizes.push(header.upright());
            *found.formats.entry(header.format.to_owned()).or_default() += 1;
            *found.orientations.entry(header.orientation).or_default() += 1;
        }
        let area = |&(width, height): &(u32, u32)| (u64::from(width) * u64::from(height), width);
        let smallest = sizes.iter().copied().min_by_key(area);
        let largest = sizes.iter().copied().max_by_key(area);
        found.sizes = smallest.zip(largest);
        Ok(())
    }

    fn masks(&self) -> Masks {
        let files = &self.seen.masks;
        let mut values: BTreeMap<u8, usize> = BTreeMap::new();
        for value in self.seen.values.values().flatten() {
            *values.entry(*value).or_default() += 1;
        }
        let compared = fit::tagged(self);
        let example = files.example();
        Masks {
            found: files.found,
            matched: files.matched.clone(),
            unmatched: files.unmatched.len(),
            unmatched_example: example.map(|(path, _)| path.to_owned()),
            unmatched_reason: example.and_then(|(_, reason)| reason.map(str::to_owned)),
            bad: self.seen.bad_masks.0,
            bad_reason: self.seen.bad_masks.1.clone(),
            values,
            compared: compared.len(),
            fitting: compared.iter().filter(|tagged| tagged.fits()).count(),
        }
    }

    /// Whether what the masks hold can be meant. The data set must be verified.
    ///
    /// # Errors
    /// One line with the remedy: masks of 0 and 255 alone, or masks whose classes contradict the tags of most images.
    pub fn check_masks(&self) -> Result<()> {
        fit::check(self)
    }
}

impl Inspection {
    /// Five lines: the data set, its classes, images and masks, and what was left out.
    pub fn lines(&self) -> [String; 5] {
        let validation = match (self.validation, self.validation_is_training) {
            (0, _) => "none to validate on".to_owned(),
            (n, true) => format!("{n} of them validated on, which have masks"),
            (n, false) => format!("{n} validation images"),
        };
        let data = format!(
            "data: {}: {} training images, {validation}",
            self.taken_for, self.training
        );
        let names = some(self.classes.iter().map(|c| format!("{} {}", c.name, c.images)), 30);
        let order = if self.numbered { ", sorted as numbers" } else { "" };
        let (least, mean, most) = self.tags_an_image;
        let classes = format!(
            "classes: {}{order}: {names}; {least} to {most} tags an image, {mean:.1} on average; {} images without tags",
            self.classes.len(),
            self.without_tags
        );
        let sizes = match self.sizes {
            Some((small, large)) if small == large => format!("{} x {}", small.0, small.1),
            Some((small, large)) => {
                format!("{} x {} to {} x {}", small.0, small.1, large.0, large.1)
            }
            None => "none".to_owned(),
        };
        let formats = some(self.formats.iter().map(|(f, n)| format!("{n} {f}")), 30);
        let turned = self.orientations.iter().filter(|(o, _)| **o != 1);
        let turned: Vec<String> = turned.map(|(o, n)| format!("{n} with {o}")).collect();
        let orientations = match turned.is_empty() {
            true => "none turned by EXIF orientation".to_owned(),
            false => format!(
                "turned upright by EXIF orientation: {}, and masks have to be upright",
                turned.join(", ")
            ),
        };
        let images = format!("images: {sizes}; {formats}; {orientations}");
        let left_out = self
            .left_out
            .iter()
            .map(|l| format!("{} {} ({})", l.count, l.kind, l.example.display()));
        let left_out = match self.left_out.is_empty() {
            true => "left out: nothing".to_owned(),
            false => format!("left out: {}", some(left_out, 30)),
        };
        [data, classes, images, self.masks.line(), left_out]
    }
}

impl Masks {
    fn line(&self) -> String {
        if self.found == 0 && self.values.is_empty() && self.bad == 0 {
            return "masks: none found; nothing to compare with".to_owned();
        }
        let rules = self.matched.iter().map(|(rule, n)| format!("{n} by {rule}"));
        let mut line = format!("masks: {} found", self.found);
        if !self.matched.is_empty() {
            line += &format!(": {}", some(rules, 30));
        }
        if let Some(example) = &self.unmatched_example {
            let reason = self.unmatched_reason.as_ref();
            let reason = reason.map_or_else(String::new, |r| format!(": {r}"));
            line += &format!("; {} match no image ({}{reason})", self.unmatched, example.display());
        }
        if let Some(reason) = &self.bad_reason {
            line += &format!("; {} cannot be used ({reason})", self.bad);
        }
        if !self.values.is_empty() {
            let values = some(self.values.keys().map(u8::to_string), 30);
            line += &format!("; values {values}; {} of {} fit the tags", self.fitting, self.compared);
        }
        line
    }
}

/// The first of the parts, and how many more there are.
fn some(parts: impl Iterator<Item = String>, most: usize) -> String {
    let parts: Vec<String> = parts.collect();
    let shown = parts.iter().take(most).cloned().collect::<Vec<_>>();
    match parts.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
