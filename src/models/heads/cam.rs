//! The classification head: a 1x1 convolution, averaged over the image for the class score, not averaged for the class
//! activation map (AffinityNet Eq. 1).

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::models::backbones::Backbone;
use crate::models::backbones::vgg16::{Tail, Vgg16};
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The classifier's layer as the released checkpoints call it, first AffinityNet's and RRM's, then MCIS's.
pub const LAYERS: [&str; 2] = ["fc8", "vgg.extra_last_conv"];
const DROPOUT: f32 = 0.5;

/// A backbone's classifier: layer, whether it has a bias, and the dropout before it.
fn classifier(backbone: Backbone) -> (&'static str, bool, f32) {
    match backbone {
        Backbone::Vgg16(Vgg16 {
            tail: Tail::ExtraConvs, ..
        }) => (LAYERS[1], true, 0.0),
        _ => (LAYERS[0], false, DROPOUT),
    }
}

/// Declares the classifier for `classes`.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let (layer, bias, _) = classifier(backbone);
    to.conv(layer, backbone.channels()[2], classes, 1);
    if bias {
        to.bias(layer, classes);
    }
}

/// Features `[B, D, h, w]` → class logits `[B, C]`.
pub fn logits(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<2> {
    let (layer, bias, dropout) = classifier(backbone);
    let features = if dropout > 0.0 {
        f.dropout(features, dropout)
    } else {
        features
    };
    let pooled = features.mean_dim(3).mean_dim(2);
    flat(f.conv(layer, pooled, 1, 1, bias))
}

/// Features `[B, D, h, w]` → class scores per pixel `[B, C, h, w]`, whose mean is the logits.
pub fn scores(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    let (layer, bias, _) = classifier(backbone);
    f.conv(layer, features, 1, 1, bias)
}

/// Features `[B, D, h, w]` → class activation maps `[B, C, h, w]`, at least 0, not normalised.
pub fn maps(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    relu(scores(f, backbone, features))
}

/// Scores per pixel `[B, C, h, w]` → their mean `[B, C]`.
pub fn mean(scores: Tensor<4>) -> Tensor<2> {
    flat(scores.mean_dim(3).mean_dim(2))
}

fn flat(x: Tensor<4>) -> Tensor<2> {
    let [b, c, _, _] = x.dims();
    x.reshape([b, c])
}
