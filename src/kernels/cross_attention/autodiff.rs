//! The gradients of cross attention by query, key and value.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

use super::{CrossAttention, CrossAttentionBackward};
use crate::kernels::autodiff::{pass_on, record};

#[derive(Debug)]
struct Step;

impl<B: CrossAttentionBackward> Backward<B, 3> for Step {
    /// Query, key, value, attended values, statistics.
    type State = [FloatTensor<B>; 5];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        pass_on::<B, _, 3>(ops, grads, |saved, gradient| {
            let [query, key, value, attended, statistics] = saved;
            B::cross_attention_backward(query, key, value, attended, statistics, gradient).into()
        });
    }
}

impl<B: CrossAttentionBackward, C: CheckpointStrategy> CrossAttention for Autodiff<B, C> {
    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (query, query_node) = query.into_parts();
        let (key, key_node) = key.into_parts();
        let (value, value_node) = value.into_parts();
        let (attended, statistics) = B::cross_attention(query.clone(), key.clone(), value.clone());
        let saved = [query, key, value, attended.clone(), statistics.clone()];
        let nodes = [query_node, key_node, value_node];
        (
            record::<B, C, _, _>(Step, nodes, saved, attended),
            Self::from_inner(statistics),
        )
    }
}
