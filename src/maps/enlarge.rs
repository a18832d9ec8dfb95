//! Score maps at the size of a photograph.

use image::imageops::FilterType;
use image::{ImageBuffer, Luma};
use ndarray::Array3;

/// Maps `[K, h, w]` at `size` (width, height), bilinear. On the host and for the rows that are needed, because results
/// at the size of a large photograph need not fit the device.
pub fn enlarge(maps: Array3<f32>, (width, height): (u32, u32)) -> Array3<f32> {
    let (k, h, w) = maps.dim();
    if (h, w) == (height as usize, width as usize) {
        return maps;
    }
    let mut out = Array3::zeros((k, height as usize, width as usize));
    for (map, mut out) in maps.outer_iter().zip(out.outer_iter_mut()) {
        let plane: Vec<f32> = map.iter().copied().collect();
        if let Some(plane) = ImageBuffer::<Luma<f32>, _>::from_raw(w as u32, h as u32, plane) {
            let large = image::imageops::resize(&plane, width, height, FilterType::Triangle);
            for (to, from) in out.iter_mut().zip(large.into_raw()) {
                *to = from;
            }
        }
    }
    out
}
