//! Saliency maps of the training images, from a folder of the user's.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use image::{DynamicImage, GrayImage};

use crate::data::Split;
use crate::data::decode::read_rgb;

/// The folder with saliency maps, where there is one, and what it holds of the training images.
pub struct Saliency<'a> {
    folder: Option<&'a Path>,
}

impl<'a> Saliency<'a> {
    /// Looks for the map of every training image of the target data set, and warns of those that are missing: their
    /// background then comes from the class maps alone.
    ///
    /// # Errors
    /// Where the folder does not exist, or holds no map at all.
    pub fn open(folder: Option<&'a Path>, split: &Split) -> Result<Saliency<'a>> {
        let Some(folder) = folder else {
            return Ok(Saliency::none());
        };
        ensure!(
            folder.is_dir(),
            "the folder of saliency maps {} does not exist: give another with --saliency",
            folder.display()
        );
        let has_none = |i: &usize| !file(folder, split.name(*i)).exists();
        let images = split.indices().filter(|i| !split.is_extra(*i));
        let missing: Vec<usize> = images.clone().filter(has_none).collect();
        let total = images.count();
        if let Some(first) = missing.first() {
            let example = file(folder, split.name(*first));
            ensure!(
                missing.len() < total,
                "{} holds a saliency map of none of the {total} training images: they are looked for as {}",
                folder.display(),
                example.display()
            );
            log::warn!(
                "{} of {total} training images have no saliency map (the first is {}): their background is where the class maps are low",
                missing.len(),
                example.display()
            );
        }
        Ok(Saliency {
            folder: Some(folder),
        })
    }

    /// None at all.
    pub fn none() -> Saliency<'a> {
        Saliency { folder: None }
    }

    /// The saliency map of a training image, 0 to 255; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read, or is not of the image's `size`, (width, height).
    pub fn map(&self, image: &str, size: (u32, u32)) -> Result<Option<GrayImage>> {
        let path = match self.folder.map(|folder| file(folder, image)) {
            Some(path) if path.exists() => path,
            _ => return Ok(None),
        };
        let map = DynamicImage::ImageRgb8(read_rgb(&path)?).into_luma8();
        ensure!(
            map.dimensions() == size,
            "the saliency map {} is {} x {}, but its image is {} x {}: make it again",
            path.display(),
            map.width(),
            map.height(),
            size.0,
            size.1
        );
        Ok(Some(map))
    }
}

fn file(folder: &Path, image: &str) -> PathBuf {
    folder.join(format!("{image}.png"))
}
