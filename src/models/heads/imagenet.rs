//! The classifier of ImageNet's 1000 classes that pretrained weights come with: a linear layer on the mean of the last
//! level.

use burn::tensor::Tensor;

use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Its layer, as the published weights of EfficientNet-Lite call it.
const LAYER: &str = "_fc";
const CLASSES: usize = 1000;

/// Declares it.
pub fn declare(to: &mut Declarations, backbone: Backbone) {
    to.linear(LAYER, backbone.channels()[2], CLASSES);
    to.bias(LAYER, CLASSES);
}

/// Features `[B, D, h, w]` → logits `[B, 1000]`.
pub fn logits(f: &Forward, features: Tensor<4>) -> Tensor<2> {
    let [b, d, _, _] = features.dims();
    let mean = features.mean_dim(3).mean_dim(2).reshape([b, d, 1]);
    let scores = f.linear(LAYER, mean).reshape([b, CLASSES]);
    scores + f.bias(LAYER).unsqueeze()
}
