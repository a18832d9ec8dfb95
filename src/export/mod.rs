//! Masks handed on to other programs: a folder of annotations in one of their formats.
//!
//! What a file says is in [`crate::annotations::write`]; here is which files there are, and where.

mod folder;
mod layout;

use std::path::PathBuf;

use anyhow::Result;
use image::{GrayImage, RgbImage};

use crate::annotations::contour::Regions;
use crate::annotations::format::Format;
use crate::annotations::write::Drawn;

pub use folder::{Folder, Images, is_within};
pub use layout::Layout;

/// What to write, and how.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The format.
    pub format: Format,
    /// How regions are written.
    pub drawn: Drawn,
    /// How images come along.
    pub images: Images,
    /// Whether the masks are of images to train on; else to validate on.
    pub training: bool,
}

/// Where an image comes from.
pub enum Source {
    /// A file.
    File(PathBuf),
    /// One that was generated, and is written as PNG.
    Made(Box<RgbImage>),
}

/// An image with its mask.
pub struct Item {
    /// Its name, without extension.
    pub name: String,
    /// Its number, from 0.
    pub number: usize,
    /// Itself.
    pub source: Source,
    /// The classes that it is tagged with.
    pub tags: Vec<usize>,
    /// Its mask, of which `regions` are.
    pub mask: GrayImage,
    /// The regions of its mask.
    pub regions: Regions,
}

impl Item {
    /// The name of its file: its own with the extension that it has.
    fn file_name(&self) -> String {
        let extension = match &self.source {
            Source::File(path) => path.extension().map(|e| e.to_string_lossy().into_owned()),
            Source::Made(_) => Some("png".to_owned()),
        };
        match extension {
            Some(extension) => format!("{}.{extension}", self.name),
            None => self.name.clone(),
        }
    }

    /// Brings its image into the folder under the path `name`.
    fn bring(&self, folder: &Folder, name: &str, how: Images) -> Result<()> {
        match &self.source {
            Source::File(path) => folder.bring(path, name, how),
            Source::Made(_) if how == Images::None => Ok(()),
            Source::Made(image) => folder.write(name, &layout::png(image)?),
        }
    }
}

#[cfg(test)]
mod tests;
