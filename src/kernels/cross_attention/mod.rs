//! Attention from the pixels of one image to those of another, without the `[B, N, M]` tensors of logits and weights:
//! parts of them pass through one slab of constant size, and the backward pass computes them again.

mod autodiff;
mod cpu;
mod device;
#[cfg(test)]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::{Shape, Tensor};

pub(super) use device::sources;

/// Each query's mean of the values, weighted by softmax over the keys of query · key, without scaling (CIAN Eq. 1–3;
/// MCIS Eq. 2–4), with the gradient of all three.
///
/// `query` `[B, D, N]`, `key` `[B, D, M]`, `value` `[B, V, M]` → `[B, V, N]`. Takes memory in O(B (D + V) (N + M)).
///
/// # Panics
/// Where the shapes do not fit each other or a dimension is 0.
pub fn cross_attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    let [b, d, n] = query.dims();
    let [_, v, m] = value.dims();
    assert_eq!(key.dims(), [b, d, m], "shape of the keys");
    assert_eq!(value.dims()[0], b, "images of queries and values");
    assert!(
        [b, d, n, v, m].iter().all(|size| *size > 0),
        "cross attention over nothing: query {:?}, value {:?}",
        query.dims(),
        value.dims()
    );
    let (attended, _) = Dispatch::cross_attention(query.into_dispatch(), key.into_dispatch(), value.into_dispatch());
    Tensor::from_dispatch(attended)
}

/// [`cross_attention()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait CrossAttention: burn::backend::Backend {
    /// Query `[B, D, N]`, key `[B, D, M]`, value `[B, V, M]` → attended values `[B, V, N]`, and `[B, 2, N]` without
    /// gradient: each query's largest logit, and its sum of exponentials beyond that.
    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The gradients of [`CrossAttention`] on a backend's own tensors. `Autodiff` itself has none: no method takes second
/// derivatives.
pub trait CrossAttentionBackward: CrossAttention {
    /// Inputs and outputs of [`CrossAttention::cross_attention`] and the gradient of the attended values `[B, V, N]` →
    /// the gradients of query, key and value.
    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The shapes of query `[B, D, N]`, key `[B, D, M]` and value `[B, V, M]`.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// B.
    batch: usize,
    /// D.
    depth: usize,
    /// V.
    channels: usize,
    /// N.
    queries: usize,
    /// M.
    keys: usize,
}

impl Sizes {
    /// By the shapes of query and value.
    fn of(query: &Shape, value: &Shape) -> Sizes {
        let [batch, depth, queries] = query.dims();
        let [_, channels, keys] = value.dims();
        Sizes {
            batch,
            depth,
            channels,
            queries,
            keys,
        }
    }
}
