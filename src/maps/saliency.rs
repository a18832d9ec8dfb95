//! Saliency maps of the training images, from a folder of the user's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use image::{DynamicImage, GrayImage};

use crate::data::Split;
use crate::data::decode::read_rgb;

/// The folder with saliency maps, where there is one, and what it holds of the training images.
pub struct Saliency<'a> {
    folder: Option<&'a Path>,
    /// Whether a map of 0 and 1 has been told of.
    is_told: AtomicBool,
}

impl<'a> Saliency<'a> {
    /// Looks for the map of every training image of the target data set, and warns of those that are missing: their
    /// background then comes from the class maps alone.
    ///
    /// # Errors
    /// Where the folder does not exist, or holds no map at all.
    pub fn open(folder: Option<&'a Path>, split: &Split) -> Result<Saliency<'a>> {
        let saliency = Saliency {
            folder,
            is_told: AtomicBool::new(false),
        };
        let Some(folder) = folder else {
            return Ok(saliency);
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
        Ok(saliency)
    }

    /// The saliency map of a training image, 0 to 255; `None` where there is none. One that holds 0 and 1 alone is of
    /// shares: its 1 becomes 255, and the first such map is told of in a warning.
    ///
    /// # Errors
    /// Where the file cannot be read, or is not of the image's `size`, (width, height).
    pub fn map(&self, image: &str, size: (u32, u32)) -> Result<Option<GrayImage>> {
        let path = match self.folder.map(|folder| file(folder, image)) {
            Some(path) if path.exists() => path,
            _ => return Ok(None),
        };
        let mut map = DynamicImage::ImageRgb8(read_rgb(&path)?).into_luma8();
        ensure!(
            map.dimensions() == size,
            "the saliency map {} is {} x {}, but its image is {} x {}: make it again",
            path.display(),
            map.width(),
            map.height(),
            size.0,
            size.1
        );
        if scale_shares(&mut map) && !self.is_told.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the saliency map {} holds 0 and 1 alone: 1 is taken for 255, here and in every map that is so",
                path.display()
            );
        }
        Ok(Some(map))
    }
}

/// Makes 255 of 1 in a map of 0 and 1, and says whether it is one. A map of zeros needs nothing.
fn scale_shares(map: &mut GrayImage) -> bool {
    let is_of_shares = map.iter().max() == Some(&1);
    if is_of_shares {
        map.iter_mut().for_each(|value| *value *= 255);
    }
    is_of_shares
}

fn file(folder: &Path, image: &str) -> PathBuf {
    folder.join(format!("{image}.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_0_and_1_are_scaled_and_others_are_not() {
        for (values, expected) in [
            ([0, 1, 1, 0], [0, 255, 255, 0]),
            ([1, 1, 1, 1], [255; 4]),
            ([0, 1, 2, 0], [0, 1, 2, 0]),
            ([0, 255, 1, 0], [0, 255, 1, 0]),
            ([0; 4], [0; 4]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = GrayImage::from_raw(2, 2, values.to_vec()).unwrap();
            file.save(dir.path().join("a.png")).unwrap();
            let saliency = Saliency {
                folder: Some(dir.path()),
                is_told: AtomicBool::new(false),
            };
            let map = saliency.map("a", (2, 2)).unwrap().unwrap();
            assert_eq!(map.as_raw(), &expected.to_vec(), "{values:?}");
            assert_eq!(saliency.is_told.into_inner(), values != expected);
        }
    }
}
