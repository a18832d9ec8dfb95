//! Attention from the pixels of one image to those of another.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::models::forward::Forward;

/// Each query's mean of the values, weighted by softmax over the keys of query · key (CIAN Eq. 1–3; MCIS Eq. 2–4),
/// without scaling.
///
/// `query` `[B, D, N]`, `key` `[B, D, M]`, `value` `[B, V, M]` → `[B, V, N]`. The plain form, not
/// [`crate::kernels::cross_attention`]: that agrees to 1e-6, but CIAN's completion labels are an argmax, which falls to
/// the other side of a tie in its golden training.
pub fn attend(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
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
