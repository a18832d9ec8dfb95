//! The segmentation head: two 3x3 convolutions with dilation (AffinityNet Sec. 4.3; names of the released checkpoints
//! of RRM, which uses the same head).

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The head's layers.
pub const LAYERS: [&str; 2] = ["fc8_seg_conv1", "fc8_seg_conv2"];
const DROPOUT: f32 = 0.5;

/// Hidden channels and dilation for a backbone: 512 and 12 for ResNet38.
fn shape(backbone: Backbone) -> (usize, usize) {
    match backbone {
        Backbone::Nano(_) => (64, 4),
        Backbone::ResNet38(b) => (512 / b.divisor, 12),
    }
}

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let (hidden, _) = shape(backbone);
    to.conv(LAYERS[0], backbone.channels()[2], hidden, 3);
    to.bias(LAYERS[0], hidden);
    to.conv(LAYERS[1], hidden, classes, 3);
    to.bias(LAYERS[1], classes);
}

/// Features `[B, D, h, w]` → the head's hidden features, at least 0: 512 channels for ResNet38.
pub fn embedding(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    let (_, dilation) = shape(backbone);
    relu(f.conv(LAYERS[0], features, 1, dilation, true))
}

/// What [`embedding`] gave → scores `[B, C + 1, h, w]`, background first, before softmax.
pub fn scores(f: &Forward, backbone: Backbone, embedding: Tensor<4>) -> Tensor<4> {
    let (_, dilation) = shape(backbone);
    f.conv(LAYERS[1], f.dropout(embedding, DROPOUT), 1, dilation, true)
}
