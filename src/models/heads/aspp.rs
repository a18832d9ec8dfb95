//! Atrous spatial pyramid pooling (DeepLab-v3, Chen et al. 2017): parallel convolutions at several dilations and the
//! image's mean, under torchvision's names.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// What the names of the head's layers begin with.
pub const PREFIX: &str = "classifier";
/// The layer that gives the scores.
pub const LAST: &str = "classifier.4";
/// Dilations of the 3x3 branches at output stride 16; twice these at 8.
const DILATIONS: [usize; 3] = [6, 12, 18];
const CHANNELS: usize = 256;
const DROPOUT: f32 = 0.5;

/// Convolution and batch norm `i` of the pyramid.
fn branch(i: usize) -> [String; 2] {
    // The pooled branch has its pooling in front.
    let first = usize::from(i == DILATIONS.len() + 1);
    [first, first + 1].map(|layer| format!("{PREFIX}.0.convs.{i}.{layer}"))
}

const PROJECT: [&str; 2] = ["classifier.0.project.0", "classifier.0.project.1"];
const SMOOTH: [&str; 2] = ["classifier.1", "classifier.2"];

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let input = backbone.channels()[2];
    let inner = CHANNELS / backbone.divisor();
    let branches = DILATIONS.len() + 2;
    for i in 0..branches {
        let [conv, norm] = branch(i);
        let is_dilated = (1..=DILATIONS.len()).contains(&i);
        to.conv(&conv, input, inner, if is_dilated { 3 } else { 1 });
        to.batch_norm(&norm, inner);
    }
    to.conv(PROJECT[0], branches * inner, inner, 1);
    to.batch_norm(PROJECT[1], inner);
    to.conv(SMOOTH[0], inner, inner, 3);
    to.batch_norm(SMOOTH[1], inner);
    to.conv(LAST, inner, classes, 1);
    to.bias(LAST, classes);
}

/// Features `[B, D, h, w]` → scores `[B, C + 1, h, w]`, background first, before softmax. Training needs at least two
/// images a batch: the image's mean is one value per image, and its batch norm a statistic over the batch.
pub fn scores(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    let layer = |[conv, norm]: [&str; 2], x, dilation| relu(f.fresh_norm(norm, f.conv(conv, x, 1, dilation, false)));
    let on_branch = |i, x, dilation| {
        let [conv, norm] = branch(i);
        layer([&conv, &norm], x, dilation)
    };
    let [b, _, h, w] = features.dims();
    let mut parts = vec![on_branch(0, features.clone(), 1)];
    for (i, dilation) in DILATIONS.into_iter().enumerate() {
        parts.push(on_branch(i + 1, features.clone(), dilation * 16 / backbone.stride()));
    }
    let mean = on_branch(DILATIONS.len() + 1, features.mean_dim(3).mean_dim(2), 1);
    let channels = mean.dims()[1];
    parts.push(mean.expand([b, channels, h, w]));
    let x = f.dropout(layer(PROJECT, Tensor::cat(parts, 1), 1), DROPOUT);
    f.conv(LAST, layer(SMOOTH, x, 1), 1, 1, true)
}
