//! Resizing images and maps on the device.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};

/// Bilinear resizing `[B, C, H, W]` → `[B, C, size]` with half-pixel centres, with gradient.
pub fn resize(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    if [h, w] == size {
        return x;
    }
    if x.is_autodiff() {
        // burn's GPU backend has no gradient of bilinear interpolation; of a product it has.
        let device = x.device();
        let rows = weights(h, size[0], &device).reshape([1, size[0], h]);
        let columns = weights(w, size[1], &device).transpose();
        let wide = x.reshape([b * c * h, w]).matmul(columns);
        let tall = rows.expand([b * c, size[0], h]);
        let resized = tall.matmul(wide.reshape([b * c, h, size[1]]));
        return resized.reshape([b, c, size[0], size[1]]);
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
        .with_align_corners(false)
        .with_output_size(size);
    interpolate(x, options)
}

/// What each of `to` pixels takes from each of `from` ones, `[to, from]`.
fn weights(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0f32; to * from];
    for (i, row) in weights.chunks_exact_mut(from.max(1)).enumerate() {
        let centre = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let centre = centre.clamp(0.0, (from - 1) as f64);
        let low = centre as usize;
        let part = (centre - low as f64) as f32;
        row[low] += 1.0 - part;
        row[(low + 1).min(from - 1)] += part;
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;

    #[test]
    fn the_form_with_gradient_gives_the_same() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * 3 * 5 * 4).map(|i| ((i * 7) % 11) as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [2, 3, 5, 4]), &device);
        for size in [[9, 9], [2, 3], [1, 1], [5, 8]] {
            let plain = download(resize(x.clone(), size)).unwrap();
            let tracked = Tensor::from_inner(x.clone()).require_grad();
            let resized = resize(tracked.clone(), size);
            let gradient = tracked.grad(&resized.clone().sum().backward()).unwrap();
            let resized = download(resized.inner()).unwrap();
            for (a, b) in plain.iter().zip(&resized) {
                assert!((a - b).abs() < 1e-5, "{size:?}: {a} {b}");
            }
            // Every pixel's weights sum to one.
            let total: f32 = download(gradient).unwrap().iter().sum();
            assert!((total - (6 * size[0] * size[1]) as f32).abs() < 1e-3);
        }
    }
}
