//! The classification head: a 1x1 convolution without bias, averaged over the image for the class score, not averaged
//! for the class activation map (AffinityNet Eq. 1).

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The classifier's layer, as the released checkpoints call it.
pub const LAYER: &str = "fc8";
const DROPOUT: f32 = 0.5;

/// Declares the classifier for `classes` over `channels`.
pub fn declare(to: &mut Declarations, channels: usize, classes: usize) {
    to.conv(LAYER, channels, classes, 1);
}

/// Features `[B, D, h, w]` → class logits `[B, C]`.
pub fn logits(f: &Forward, features: Tensor<4>) -> Tensor<2> {
    let pooled = f.dropout(features, DROPOUT).mean_dim(3).mean_dim(2);
    let [b, _, _, _] = pooled.dims();
    let scores = f.conv(LAYER, pooled, 1, 1, false);
    let c = scores.dims()[1];
    scores.reshape([b, c])
}

/// Features `[B, D, h, w]` → class activation maps `[B, C, h, w]`, at least 0, not normalised.
pub fn maps(f: &Forward, features: Tensor<4>) -> Tensor<4> {
    relu(f.conv(LAYER, features, 1, 1, false))
}
