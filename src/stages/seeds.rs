//! Labels of the pixels that class activation maps are sure of, by thresholds, with the background from saliency maps
//! where there are any (CIAN, "Initial Seeds").

use std::path::Path;

use anyhow::{Result, ensure};
use image::{DynamicImage, GrayImage};
use ndarray::Axis;

use super::Context;
use super::background::{background, winners};
use crate::data::decode::read_rgb;
use crate::recipe::Seeds;
use crate::run::Maps;

/// Label of a pixel that is in no seed.
const IGNORE: u8 = 255;

/// The folder with saliency maps, where the recipe has one, and what it holds of the training images.
pub struct Saliency<'a> {
    folder: Option<&'a Path>,
}

impl<'a> Saliency<'a> {
    /// Looks for the map of every training image of the target data set, and warns of those that are missing: their
    /// background then comes from the class maps alone.
    ///
    /// # Errors
    /// Where the folder does not exist, or holds no map at all.
    pub fn open(context: &'a Context) -> Result<Saliency<'a>> {
        let Some(folder) = context.recipe.seeds.saliency.as_deref() else {
            return Ok(Saliency::none());
        };
        ensure!(
            folder.is_dir(),
            "the folder of saliency maps {} does not exist: give another with --saliency",
            folder.display()
        );
        let split = &context.data.train;
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

fn file(folder: &Path, image: &str) -> std::path::PathBuf {
    folder.join(format!("{image}.png"))
}

/// The seeds of an image: a class where its map is the highest and at least `foreground`, background where the saliency
/// is low or, without saliency, where the background's score wins; 255 where neither or both hold.
pub fn seeds(maps: &Maps, saliency: Option<&GrayImage>, settings: &Seeds) -> GrayImage {
    let values: Vec<u8> = maps.classes.iter().map(|c| *c as u8).collect();
    let mut label = winners(maps.maps.view(), &values);
    let peak = maps.maps.fold_axis(Axis(0), 0.0f32, |m, v| m.max(*v));
    let score = background(maps.maps.view(), settings.alpha);
    for (i, (label, (peak, score))) in label.iter_mut().zip(peak.iter().zip(&score)).enumerate() {
        let is_background = match saliency.and_then(|s| s.as_raw().get(i)) {
            Some(value) => f32::from(*value) / 255.0 < settings.background,
            None => score > peak,
        };
        let is_class = *peak >= settings.foreground && *peak > 0.0;
        *label = match (is_class, is_background) {
            (true, false) => *label,
            (false, true) => 0,
            _ => IGNORE,
        };
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use ndarray::array;

    #[test]
    fn seeds_are_class_background_or_neither() {
        let settings = Seeds {
            foreground: 0.3,
            alpha: 8.0,
            ..Recipe::load("nano", &[]).unwrap().seeds
        };
        let maps = Maps {
            classes: vec![2, 5],
            maps: array![[[0.9, 0.2, 0.05, 0.3]], [[0.1, 0.25, 0.0, 0.8]]],
        };
        // alpha 8: 1e-8, 0.1, 0.66, 2.6e-6
        assert_eq!(seeds(&maps, None, &settings).into_raw(), [2, 255, 0, 5]);
        let saliency = GrayImage::from_raw(4, 1, vec![200, 15, 16, 15]).unwrap();
        let with = seeds(&maps, Some(&saliency), &settings).into_raw();
        assert_eq!(with, [2, 0, 255, 255]);
    }
}
