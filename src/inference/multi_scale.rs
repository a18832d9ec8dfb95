//! Averaging what a network says of an image over scales and flips.

use anyhow::Result;
use burn::tensor::Tensor;
use ndarray::Array4;

use super::images::MIN_SIDE;
use crate::device::download;
use crate::models::resize::resize;

/// Passes over a pixel at the largest of `scales`, with `flip` or without, for [`batches`](fn@super::batches).
pub fn passes(scales: &[f32], flip: bool) -> f32 {
    let largest = scales.iter().fold(1.0f32, |m, s| m.max(*s));
    largest * largest * if flip { 2.0 } else { 1.0 }
}

/// The size (height, width) of images at a scale, within what networks see.
pub fn scaled(size: [usize; 2], scale: f32) -> [usize; 2] {
    size.map(|side| ((side as f32 * scale).round() as usize).max(MIN_SIDE as usize))
}

/// Mean of `map(images)` over `scales` and, where `flip`, mirrored images.
///
/// `images` `[B, 3, H, W]`; `map` may return any resolution `[B, C, h, w]`; the result is `[B, C, H, W]`.
pub fn multi_scale(images: Tensor<4>, scales: &[f32], flip: bool, map: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [b, _, h, w] = images.dims();
    let size = [h, w];
    let mut sum: Option<Tensor<4>> = None;
    for scale in scales {
        let x = resize(images.clone(), scaled(size, *scale));
        let y = if flip {
            // The mirrored images ride in the same batch: one pass, one shape.
            let y = map(Tensor::cat(vec![x.clone(), x.flip([3])], 0));
            y.clone().narrow(0, 0, b) + y.narrow(0, b, b).flip([3])
        } else {
            map(x)
        };
        let y = resize(y, size);
        sum = Some(match sum {
            Some(sum) => sum + y,
            None => y,
        });
    }
    let passes = scales.len().max(1) * if flip { 2 } else { 1 };
    match sum {
        Some(sum) => sum / passes as f32,
        None => resize(map(images), size),
    }
}

/// Copies maps `[B, C, h, w]` to host memory.
pub fn download_maps(maps: Tensor<4>) -> Result<Array4<f32>> {
    let [b, c, h, w] = maps.dims();
    Ok(Array4::from_shape_vec((b, c, h, w), download(maps)?)?)
}
