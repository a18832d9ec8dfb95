//! Where the true mask of an image is: in a file of values, in one of colours, or in annotations that are painted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use image::{GrayImage, Luma};

use super::mask_map::MaskMap;
use super::{MaskValue, masks};
use crate::annotations::{self, coco, cvat, file, labelme, yolo};

/// Where the true mask of an image is, to be read when asked for.
#[derive(Clone, Debug)]
pub(super) enum Truth {
    /// A file of values: a PNG, or one of SBD's `.mat`.
    Values(PathBuf),
    /// A file of colours.
    Colours(PathBuf, Arc<cvat::Labels>),
    /// The image of this number in a file of COCO's instances.
    Coco(Arc<coco::Instances>, usize),
    /// A label file of YOLO, of this many classes.
    Yolo(PathBuf, usize),
    /// A file of labelme's, of these classes.
    Labelme(PathBuf, Arc<[String]>),
}

impl Truth {
    /// The file that it is in.
    pub(super) fn path(&self) -> &Path {
        match self {
            Truth::Values(path) | Truth::Colours(path, _) | Truth::Yolo(path, _) | Truth::Labelme(path, _) => path,
            Truth::Coco(instances, _) => instances.path(),
        }
    }

    /// The mask of an image of `size` (width, height): values of `classes` classes. Only those of files of values may
    /// mean others, by `map`.
    ///
    /// # Errors
    /// One line that names the file: what `masks::read_mapped` and the readers of annotations say.
    pub(super) fn read(&self, classes: usize, size: (u32, u32), map: Option<&MaskMap>) -> Result<GrayImage> {
        match self {
            Truth::Values(path) => masks::read_mapped(path, classes, size, map),
            Truth::Colours(path, labels) => checked(path, labels.mask(path, size)?, classes, size),
            Truth::Coco(instances, number) => painted(instances.path(), &instances.image(*number, size)?, classes),
            Truth::Yolo(path, known) => {
                let text = file::text(path, file::MOST_TEXT)?;
                let image = annotations::Image {
                    file: path.display().to_string(),
                    width: size.0,
                    height: size.1,
                    parts: yolo::parts(&text, path, *known, size)?,
                };
                painted(path, &image, classes)
            }
            Truth::Labelme(path, names) => {
                let image = labelme::read(path)?.image(names, size);
                let image = image.map_err(|error| anyhow!("{}: {error:#}", path.display()))?;
                painted(path, &image, classes)
            }
        }
    }
}

fn painted(path: &Path, image: &annotations::Image, classes: usize) -> Result<GrayImage> {
    checked(path, annotations::paint(image), classes, (image.width, image.height))
}

fn checked(path: &Path, values: Vec<u8>, classes: usize, (width, height): (u32, u32)) -> Result<GrayImage> {
    if let Some(value) = values.iter().find(|v| !MaskValue::from(**v).is_within(classes)) {
        return Err(anyhow!(
            "{} has the value {value}, but there are {classes} classes",
            path.display()
        ));
    }
    GrayImage::from_vec(width, height, values).ok_or_else(|| anyhow!("{} has no mask of its size", path.display()))
}

/// The values that occur in a mask, sorted.
pub(super) fn values(mask: &GrayImage) -> Vec<u8> {
    let mut occurs = [false; 256];
    for Luma([value]) in mask.pixels() {
        occurs[usize::from(*value)] = true;
    }
    (0..=u8::MAX).filter(|&value| occurs[usize::from(value)]).collect()
}
