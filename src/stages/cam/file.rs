//! The file of an image's maps.

use std::path::Path;

use anyhow::Result;
use image::RgbImage;
use ndarray::{ArrayView3, Axis};

use crate::maps::{Maps, enlarge, write_maps};

/// Writes the maps of the tagged classes of `image` at its size, from those of all classes `[C, h, w]`, at least 0.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, maps: ArrayView3<f32>, tags: &[usize], image: &RgbImage) -> Result<()> {
    let maps = maps.select(Axis(0), tags);
    let maps = enlarge(maps, image.dimensions());
    write_maps(path, &Maps::of_tags(maps, tags))
}
