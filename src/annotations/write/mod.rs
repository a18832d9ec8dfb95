//! Annotations as other programs read them: the texts of each format, for one image or for a whole set.

pub mod coco;
pub mod cvat;
pub mod hf;
pub mod labelme;
pub mod rle;
pub mod voc;
pub mod yolo;

use super::contour::{Region, Regions};
use super::{BACKGROUND, IGNORED};

/// How regions are written where a format leaves a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Drawn {
    /// As polygons. Where a format has none with holes, a region with holes is a mask, or its holes are joined to its
    /// border.
    #[default]
    Polygons,
    /// As masks: COCO's runs, labelme's masks.
    Masks,
}

/// An image with its regions, as formats write it.
pub struct Picture<'a> {
    /// The image's file, relative to what is written about it.
    pub file: &'a str,
    /// The classes that the image is tagged with.
    pub tags: &'a [usize],
    /// Its regions.
    pub regions: &'a Regions,
}

impl Picture<'_> {
    /// The regions of classes, each with its class.
    pub fn parts(&self) -> impl Iterator<Item = (usize, &Region)> {
        let known = self
            .regions
            .list
            .iter()
            .filter(|r| ![BACKGROUND, IGNORED].contains(&r.value));
        known.map(|region| (usize::from(region.value) - 1, region))
    }

    /// The regions to ignore.
    pub fn ignored(&self) -> impl Iterator<Item = &Region> {
        self.regions.list.iter().filter(|region| region.value == IGNORED)
    }

    /// The classes that the image has tags or parts of, sorted.
    pub fn classes(&self) -> Vec<usize> {
        let mut found: Vec<usize> = self
            .parts()
            .map(|(class, _)| class)
            .chain(self.tags.iter().copied())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A score with the four decimals that a mean over pixels has a meaning in.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}
