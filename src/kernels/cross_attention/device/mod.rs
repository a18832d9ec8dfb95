//! Cross attention on a device: the shaders `cross_attention*.wgsl`, part by part of the logits.

mod plan;
mod product;

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};

use super::{CrossAttention, CrossAttentionBackward, Sizes};
use crate::kernels::launch::{self, Source, shader};
use plan::{Plan, Rows};

#[cfg(test)]
pub use product::{Block, forced};

shader!(Delta, "cross_attention_delta");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [plan::sources(), Delta::sources()].concat()
}

impl CrossAttention for CubeBackend {
    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value] = [query, key, value].map(into_contiguous);
        let sizes = Sizes::of(query.meta.shape(), value.meta.shape());
        let (b, n) = (sizes.batch, sizes.queries);
        let attended = launch::empty_like(&query, [b, sizes.channels, n]);
        let statistics = launch::empty_like(&query, [b, 2, n]);
        let scale = launch::empty_like(&query, [b, n]);
        let plan = Plan::new(&query, sizes, false);
        for part in 0..plan.parts() {
            plan.logits(part, &query, &key, &statistics);
            plan.softmax(part, &statistics, &scale);
            plan.attend(part, &value, [&statistics, &scale], &attended);
        }
        (attended, statistics)
    }
}

impl CrossAttentionBackward for CubeBackend {
    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value, attended, statistics, gradient] =
            [query, key, value, attended, statistics, gradient].map(into_contiguous);
        let sizes = Sizes::of(query.meta.shape(), value.meta.shape());
        let delta = delta(&attended, &gradient);
        let [d_query, d_key, d_value] =
            [&query, &key, &value].map(|x| launch::empty_like(&query, x.meta.shape().dims::<3>()));
        let plan = Plan::new(&query, sizes, true);
        for part in 0..plan.parts() {
            plan.logits(part, &query, &key, &statistics);
            plan.add_over_queries(part, Rows::Channels, &gradient, &d_value);
            // The weights were needed there for the last time: the gradient of the logits takes their place.
            plan.logits_backward(part, &value, &gradient, &delta);
            plan.add_over_queries(part, Rows::Depth, &query, &d_key);
            plan.add_over_keys(part, &key, &d_query);
        }
        (d_query, d_key, d_value)
    }
}

/// The sum over channels of the attended values times their gradient, `[B, V, N]` both → `[B, N]`.
fn delta(attended: &CubeTensor, gradient: &CubeTensor) -> CubeTensor {
    let [b, v, n] = attended.meta.shape().dims();
    let delta = launch::empty_like(attended, [b, n]);
    let buffers = vec![attended.handle.clone(), gradient.handle.clone(), delta.handle.clone()];
    launch::run_with(attended, Delta, b * n, buffers, &[v as u32, n as u32]);
    delta
}
