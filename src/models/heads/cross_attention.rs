//! Attention from the pixels of one image to those of another.

use burn::tensor::Tensor;

use crate::kernels::cross_attention;
use crate::models::forward::Forward;

/// Each query's mean of the values, weighted by softmax over the keys of query · key (CIAN Eq. 1–3; MCIS Eq. 2–4),
/// without scaling.
///
/// `query` `[B, D, N]`, `key` `[B, D, M]`, `value` `[B, V, M]` → `[B, V, N]`.
pub fn attend(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    cross_attention(query, key, value)
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
