//! Scores at the resolution of a network's features, at every pixel.

use ndarray::{Array3, s};

/// Scores `[K, H, W]` averaged over the square of `side` pixels around each pixel, as far as it lies in the image: from
/// `side / 2` pixels above and left of the pixel to `(side - 1) / 2` below and right of it. With the stride of the
/// features as `side`, the value at the centre of a cell is the mean over that cell, wherever the cells of a crop lie
/// (AffinityNet's released code, voc12/data.py and AvgPool2d).
pub fn over_cells(scores: Array3<f32>, side: usize) -> Array3<f32> {
    if side <= 1 {
        return scores;
    }
    let (_, h, w) = scores.dim();
    let around = |at: usize, n: usize| at.saturating_sub(side / 2)..(at + side.div_ceil(2)).min(n);
    let mut rows = scores.clone();
    for x in 0..w {
        let part = scores.slice(s![.., .., around(x, w)]);
        let mean = part.mean_axis(ndarray::Axis(2));
        if let Some(mean) = mean {
            rows.slice_mut(s![.., .., x]).assign(&mean);
        }
    }
    let mut means = rows.clone();
    for y in 0..h {
        let part = rows.slice(s![.., around(y, h), ..]);
        if let Some(mean) = part.mean_axis(ndarray::Axis(1)) {
            means.slice_mut(s![.., y, ..]).assign(&mean);
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_of_a_cell_has_the_mean_of_the_cell() {
        let scores = Array3::from_shape_fn((2, 16, 24), |(k, y, x)| ((k * 7 + y * 5 + x * 3) % 11) as f32);
        let means = over_cells(scores.clone(), 8);
        for (y, x) in [(0, 0), (8, 16), (3, 5)] {
            let cell = scores.slice(s![.., y..y + 8, x..x + 8]);
            for k in 0..2 {
                let mean = cell.index_axis(ndarray::Axis(0), k).mean().unwrap();
                assert!((means[[k, y + 4, x + 4]] - mean).abs() < 1e-4);
            }
        }
        assert_eq!(over_cells(scores.clone(), 1), scores);
        // Beyond the rim there is nothing to average.
        let corner = scores.slice(s![0, ..4, ..4]).mean().unwrap();
        assert!((means[[0, 0, 0]] - corner).abs() < 1e-4);
    }
}
