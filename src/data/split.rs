//! A list of images with tags and, where there is truth, masks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use image::{GrayImage, RgbImage};

use super::decode;
use super::mask_map::MaskMap;
use super::truth::Truth;

/// One image of a data set.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub name: String,
    pub tags: Vec<usize>,
    pub pixels: Pixels,
}

/// Where an image and its mask are.
#[derive(Clone, Debug)]
pub(super) enum Pixels {
    Memory {
        image: Arc<RgbImage>,
        mask: Arc<GrayImage>,
        source: String,
    },
    Files {
        image: PathBuf,
        mask: Option<Truth>,
    },
    /// An image of an extra data set, whose mask is not looked at.
    Extra(Box<Pixels>),
}

impl Item {
    /// Whether the image has a true mask.
    pub(super) fn has_mask(&self) -> bool {
        match &self.pixels {
            Pixels::Memory { .. } => true,
            Pixels::Files { mask, .. } => mask.is_some(),
            Pixels::Extra(_) => false,
        }
    }
}

impl Pixels {
    fn source(&self) -> String {
        match self {
            Pixels::Memory { source, .. } => source.clone(),
            Pixels::Files { image, .. } => image.display().to_string(),
            Pixels::Extra(pixels) => pixels.source(),
        }
    }

    fn image(&self) -> Result<RgbImage> {
        match self {
            Pixels::Memory { image, .. } => Ok(RgbImage::clone(image)),
            Pixels::Files { image, .. } => decode::read_rgb(image),
            Pixels::Extra(pixels) => pixels.image(),
        }
    }

    fn size(&self) -> Result<(u32, u32)> {
        match self {
            Pixels::Memory { image, .. } => Ok(image.dimensions()),
            Pixels::Files { image, .. } => decode::image_size(image),
            Pixels::Extra(pixels) => pixels.size(),
        }
    }
}

/// Images of one part of a data set (training or validation), read when asked for; cheap to clone.
///
/// Images are numbered from 0 to `len() - 1`; a method that takes a number outside of that panics.
#[derive(Clone, Debug)]
pub struct Split {
    pub(super) items: Arc<[Item]>,
    pub(super) classes: usize,
    /// What the values in mask files mean, where it is not themselves.
    pub(super) map: Option<Arc<MaskMap>>,
}

impl Split {
    pub(super) fn new(items: Vec<Item>, classes: usize) -> Self {
        Self {
            items: items.into(),
            classes,
            map: None,
        }
    }

    /// The same with other images.
    pub(super) fn with(&self, items: Vec<Item>) -> Self {
        Self {
            items: items.into(),
            classes: self.classes,
            map: self.map.clone(),
        }
    }

    /// The files of an image and its mask, which may be one of annotations and hold those of other images too; `None`
    /// where it was generated.
    pub fn files(&self, index: usize) -> Option<(&Path, Option<&Path>)> {
        let mut pixels = &self.items[index].pixels;
        while let Pixels::Extra(own) = pixels {
            pixels = own;
        }
        match pixels {
            Pixels::Files { image, mask } => Some((image, mask.as_ref().map(Truth::path))),
            _ => None,
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The image's name: unique in the split, without an extension, usable as a file name.
    ///
    /// It may contain dots, so append an extension instead of replacing one.
    pub fn name(&self, index: usize) -> &str {
        &self.items[index].name
    }

    /// The class indices (from 0) that the image is tagged with, sorted; never empty in a training split.
    pub fn tags(&self, index: usize) -> &[usize] {
        &self.items[index].tags
    }

    /// Where the image comes from: a path, or a phrase like "shapes train #12".
    pub fn source(&self, index: usize) -> String {
        self.items[index].pixels.source()
    }

    /// The image in RGB.
    ///
    /// # Errors
    /// As [`decode::read_rgb`].
    pub fn image(&self, index: usize) -> Result<RgbImage> {
        self.items[index].pixels.image()
    }

    /// Width and height of the image as [`Split::image`] returns it, without decoding it.
    ///
    /// # Errors
    /// As [`decode::image_size`].
    pub fn size(&self, index: usize) -> Result<(u32, u32)> {
        self.items[index].pixels.size()
    }

    /// Whether the image is from an extra data set, not from the target.
    pub fn is_extra(&self, index: usize) -> bool {
        matches!(self.items[index].pixels, Pixels::Extra(_))
    }

    /// Whether the image has a true mask.
    pub fn has_mask(&self, index: usize) -> bool {
        self.items[index].has_mask()
    }

    /// The true mask, of the image's size: 0 = background, c + 1 = class c, 255 = ignore; `None` where there is none.
    ///
    /// # Errors
    /// As [`decode::read_mask`]; of annotations, one line that names their file and what cannot be painted.
    pub fn mask(&self, index: usize) -> Result<Option<GrayImage>> {
        match &self.items[index].pixels {
            Pixels::Memory { mask, .. } => Ok(Some(GrayImage::clone(mask))),
            Pixels::Files { mask: None, .. } | Pixels::Extra(_) => Ok(None),
            Pixels::Files {
                image,
                mask: Some(mask),
            } => {
                let size = decode::image_size(image)?;
                mask.read(self.classes, size, self.map.as_deref())
                    .map_err(|error| decode::with_orientation(error, image))
                    .map(Some)
            }
        }
    }

    /// The numbers of the images, for iterating.
    pub fn indices(&self) -> std::ops::Range<usize> {
        0..self.len()
    }

    /// The images at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        self.with(indices.iter().map(|&i| self.items[i].clone()).collect())
    }
}
