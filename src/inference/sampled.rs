//! Bilinear resizing part by part: rows of what a whole map or image would be at another size, so that the whole need
//! not fit memory. Half-pixel centres, as in [`resize`](fn@crate::models::resize::resize).

use std::ops::Range;

use image::RgbImage;
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

use crate::data::Scaling;

/// Between which two of `from` cells each of a range of `to` cells lies, and the share of the second.
fn places(from: usize, to: usize, range: Range<usize>) -> Vec<(usize, usize, f32)> {
    let last = from.saturating_sub(1);
    let factor = from as f64 / to.max(1) as f64;
    range
        .map(|i| {
            let centre = ((i as f64 + 0.5) * factor - 0.5).clamp(0.0, last as f64);
            let low = centre as usize;
            (low, (low + 1).min(last), (centre - low as f64) as f32)
        })
        .collect()
}

/// The rows of `from` that `rows` of a map of `to` rows are made of.
pub(super) fn source_rows(from: usize, to: usize, rows: Range<usize>) -> Range<usize> {
    let places = places(from, to, rows);
    let first = places.first().map_or(0, |p| p.0);
    first..places.last().map_or(0, |p| p.1 + 1)
}

/// Rows `rows` of a map at `size` (height, width), `[K, rows, W]`. `map` `[K, h, w]` is the part of a map of `height` rows
/// that begins with row `first`, and holds [`source_rows`] at least.
pub(super) fn rows(
    map: ArrayView3<f32>,
    (first, height): (usize, usize),
    size: [usize; 2],
    rows: Range<usize>,
) -> Array3<f32> {
    let (k, _, w) = map.dim();
    let [ys, xs] = [places(height, size[0], rows), places(w, size[1], 0..size[1])];
    let mut out = Array3::zeros((k, ys.len(), size[1]));
    let planes: Vec<_> = out.outer_iter_mut().zip(map.outer_iter()).collect();
    planes.into_par_iter().for_each(|(mut out, map)| {
        for (mut out, (top, bottom, down)) in out.outer_iter_mut().zip(&ys) {
            let (top, bottom) = (map.row(top - first), map.row(bottom - first));
            for (out, (left, right, across)) in out.iter_mut().zip(&xs) {
                let upper = top[*left] + across * (top[*right] - top[*left]);
                let lower = bottom[*left] + across * (bottom[*right] - bottom[*left]);
                *out = upper + down * (lower - upper);
            }
        }
    });
    out
}

/// A part of what networks see of an image.
pub(super) struct Window {
    /// Height and width of the image that the part is of, which is made of the given one.
    pub size: [usize; 2],
    /// Its rows.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
    /// Whether the image is mirrored before the part is taken.
    pub mirrored: bool,
}

/// The part of `image` that `window` says, `[3, rows, columns]`, as the network sees it.
pub(super) fn window(image: &RgbImage, window: &Window, scaling: &Scaling) -> Vec<f32> {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let ys = places(h, window.size[0], window.rows.clone());
    let xs = places(w, window.size[1], window.columns.clone());
    let raw = image.as_raw();
    let at = |y: usize, x: usize, c: usize| {
        let x = if window.mirrored { w - 1 - x } else { x };
        f32::from(raw[3 * (y * w + x) + c]) / 255.0
    };
    let plane = ys.len() * xs.len();
    let mut out = vec![0.0; 3 * plane];
    let mut cell = 0;
    for (top, bottom, down) in &ys {
        for (left, right, across) in &xs {
            let mixed = [0, 1, 2].map(|c| {
                let mix = |y| at(y, *left, c) + across * (at(y, *right, c) - at(y, *left, c));
                let upper = mix(*top);
                upper + down * (mix(*bottom) - upper)
            });
            for (c, value) in scaling.apply(mixed).into_iter().enumerate() {
                out[c * plane + cell] = value;
            }
            cell += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::device::download;
    use crate::models::resize::resize;

    #[test]
    fn rows_of_a_map_are_those_of_the_whole_resized_map() {
        let device = Device::flex();
        let (k, h, w) = (2, 7, 5);
        let map = Array3::from_shape_fn((k, h, w), |(k, y, x)| ((k * 31 + y * 7 + x * 3) % 11) as f32);
        let tensor = Tensor::<4>::from_data(
            TensorData::new(map.iter().copied().collect::<Vec<_>>(), [1, k, h, w]),
            &device,
        );
        for size in [[7, 5], [20, 13], [4, 3]] {
            let whole = download(resize(tensor.clone(), size)).unwrap();
            let whole = Array3::from_shape_vec((k, size[0], size[1]), whole).unwrap();
            for range in [0..1, 1..3, 2..size[0], 0..size[0]] {
                let needed = source_rows(h, size[0], range.clone());
                let part = map.slice(ndarray::s![.., needed.clone(), ..]);
                let rows = rows(part, (needed.start, h), size, range.clone());
                let expected = whole.slice(ndarray::s![.., range, ..]);
                let difference = (&rows - &expected).mapv(f32::abs);
                assert!(difference.iter().all(|d| *d < 1e-4), "{size:?}");
            }
        }
    }
}
