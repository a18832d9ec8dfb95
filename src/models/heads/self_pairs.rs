//! Pairs of an image with itself, as MCIS's released code has them in training and for localization maps.

use burn::tensor::Tensor;

use crate::models::resize::resize;

/// Sizes of the reduced and the enlarged view (released `LoadData.py`).
pub const SCALES: [f32; 2] = [0.75, 2.0];
/// Pixels that go through the backbone for the three views, for one of the image.
pub const COST: f64 = 1.0 + 0.75 * 0.75 + 2.0 * 2.0;
/// ln(p / (1 - p)) of the probability 0.1, above which a map counts (released `scripts/test.py`).
const LEAST_LOGIT: f32 = -2.197_224_6;

/// Images `[B, 3, H, W]` reduced and enlarged by [`SCALES`].
pub fn scaled(images: &Tensor<4>) -> [Tensor<4>; 2] {
    let [_, _, h, w] = images.dims();
    SCALES.map(|scale| {
        let side = |side: usize| ((side as f32 * scale) as usize).max(1);
        resize(images.clone(), [side(h), side(w)])
    })
}

/// Images `[B, 3, H, W]` mirrored.
pub fn mirrored(images: &Tensor<4>) -> Tensor<4> {
    images.clone().flip([3])
}

/// Class scores of an image from several pairs, `[B, C, h, w]` each and of one size, not clipped → the mean of their
/// positive parts, each over its own maximum. But for the first, a map whose mean gives its class a probability of at
/// most 0.1 adds nothing (released `scripts/test.py`).
pub fn mixture(first: Tensor<4>, others: impl IntoIterator<Item = Tensor<4>>) -> Tensor<4> {
    let mut sum = over_maximum(first.clone());
    let mut count = 1;
    for map in others {
        let [b, c, _, _] = map.dims();
        let mean = map.clone().mean_dim(3).mean_dim(2).reshape([b, c, 1, 1]);
        sum = sum + over_maximum(map) * mean.greater_elem(LEAST_LOGIT).float();
        count += 1;
    }
    sum / count as f32
}

fn over_maximum(map: Tensor<4>) -> Tensor<4> {
    let positive = map.clamp_min(0.0);
    let greatest = positive.clone().max_dim(3).max_dim(2);
    // A map that fires nowhere stays 0.
    positive / greatest.clamp_min(1e-8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;
    use burn::tensor::{Device, TensorData};

    fn maps(values: [[f32; 4]; 2]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.concat(), [1, 2, 2, 2]), &Device::flex())
    }

    #[test]
    fn maps_count_alike_unless_they_deny_their_class() {
        // The second class: fires nowhere; at most 0.1 in the mean, in spite of a peak; a little more.
        let first = maps([[4.0, 2.0, -8.0, 0.0], [-9.0, -8.0, -9.0, -9.0]]);
        let second = maps([[0.1, 0.0, 0.0, 0.1], [3.0, -4.0, -4.0, -4.0]]);
        let third = maps([[0.0, 5.0, 0.0, 0.0], [3.0, -4.0, -4.0, -3.7]]);
        let mixed = download(mixture(first, [second, third])).unwrap();
        let expected = [2.0, 1.5, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0].map(|v: f32| v / 3.0);
        for (value, expected) in mixed.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{mixed:?}");
        }
    }

    #[test]
    fn views_have_the_released_sizes() {
        let images = Tensor::<4>::ones([1, 3, 50, 64], &Device::flex());
        let sizes = scaled(&images).map(|view| view.dims());
        assert_eq!(sizes, [[1, 3, 37, 48], [1, 3, 100, 128]]);
    }
}
