//! Attention from the pixels of one image to those of another.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::kernels::cross_attention;
use crate::models::forward::Forward;

/// Most logits of a pair of images that are kept: the plain form is as fast on so few, and both forms have room.
const KEPT: usize = 1 << 20;

/// Each query's mean of the values, weighted by softmax over the keys of query · key (CIAN Eq. 1–3; MCIS Eq. 2–4),
/// without scaling.
///
/// `query` `[B, D, N]`, `key` `[B, D, M]`, `value` `[B, V, M]` → `[B, V, N]`: the plain form up to 1,024 x 1,024 pixels,
/// [`cross_attention`] beyond.
pub fn attend(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    if query.dims()[2] * key.dims()[2] > KEPT {
        cross_attention(query, key, value)
    } else {
        plain(query, key, value)
    }
}

fn plain(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    let weights = softmax(query.transpose().matmul(key), 2);
    value.matmul(weights.transpose())
}

/// [`attend`], counted into the pass's work.
pub fn attend_in(f: &Forward, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    let [b, d, n] = query.dims();
    let [_, v, m] = value.dims();
    f.count_products(b * n * m * (d + v));
    attend(query, key, value)
}

/// `[B, C, H, W]` → `[B, C, H W]`.
pub fn flat(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::device::download;

    #[test]
    fn large_pairs_attend_as_small_ones_do() {
        let device = Device::flex();
        let tensor = |channels: usize, pixels: usize| {
            let values = (0..channels * pixels).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0);
            let data = TensorData::new(values.collect::<Vec<f32>>(), [1, channels, pixels]);
            Tensor::<3>::from_data(data, &device)
        };
        let (query, key, value) = (tensor(3, 1025), tensor(3, 1024), tensor(2, 1024));
        let large = download(attend(query.clone(), key.clone(), value.clone())).unwrap();
        let small = download(plain(query, key, value)).unwrap();
        assert_ne!(large, small, "the same form");
        for (a, b) in large.iter().zip(&small) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
