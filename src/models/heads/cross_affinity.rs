//! CIAN's head (Sec. 3): each pixel takes messages from similar pixels of its own image and of related images, before a
//! LargeFOV classifier. Names are those of the released code.

use burn::tensor::Tensor;

use super::cross_attention::{attend_in, flat};
use super::segmentation::{DILATION, ONE};
use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Queries, keys, values and what the messages go through.
pub const LAYERS: [&str; 4] = [
    "conv_embed_q_",
    "conv_embed_k_",
    "conv_embed_v_",
    "conv_out_",
];
/// The batch norm of the messages, whose scale starts at zero.
pub const NORM: &str = "bn_out_";
const CLASSIFIER: &str = ONE[1];

/// What the head predicts for a batch, each `[B, C + 1, h, w]`, background first, before softmax.
pub struct CrossAffinity {
    /// With messages from the image itself.
    pub own: Tensor<4>,
    /// With messages from the related images and the image itself, merged by maximum (Eq. 5).
    pub cross: Tensor<4>,
}

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let input = backbone.channels()[2];
    let inner = input / 2;
    for layer in &LAYERS[..3] {
        to.conv(layer, input, inner, 1);
    }
    to.conv(LAYERS[3], inner, input, 1);
    to.batch_norm(NORM, input);
    to.conv(CLASSIFIER, input, classes, 3);
}

/// Queries `[B, D, h w]` and, at half of the resolution, keys and values of every image.
struct Embedded {
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
}

fn embed(f: &Forward, features: &Tensor<4>) -> Embedded {
    let embed = |layer: &str| f.conv(layer, features.clone(), 1, 1, false);
    let [query, key, value] = [0, 1, 2].map(|i| embed(LAYERS[i]));
    Embedded {
        query: flat(query),
        key: flat(f.max_pool(key, 3, 2)),
        value: flat(f.max_pool(value, 3, 2)),
    }
}

/// The features with messages `[B, D, h w]` added (Eq. 4), classified.
fn classify(f: &Forward, features: &Tensor<4>, messages: Tensor<3>) -> Tensor<4> {
    let [b, _, h, w] = features.dims();
    let inner = messages.dims()[1];
    let messages = f.conv(LAYERS[3], messages.reshape([b, inner, h, w]), 1, 1, false);
    let augmented = features.clone() + f.fresh_norm(NORM, messages);
    f.conv(CLASSIFIER, augmented, 1, DILATION, false)
}

/// Features `[B, D, h, w]` → scores `[B, C + 1, h, w]` with messages from the image itself, as in testing.
pub fn scores(f: &Forward, features: Tensor<4>) -> Tensor<4> {
    let e = embed(f, &features);
    classify(f, &features, attend_in(f, e.query, e.key, e.value))
}

/// Features `[B, D, h, w]` of `B / group` images, then of as many images related to them, and so on, `group` at least
/// 2 and a divisor of B: image i is related to the images i + B / group, i + 2 B / group and so on, wrapping around.
pub fn cross_scores(f: &Forward, features: Tensor<4>, group: usize) -> CrossAffinity {
    let e = embed(f, &features);
    let own = attend_in(f, e.query.clone(), e.key.clone(), e.value.clone());
    let b = features.dims()[0];
    let mut merged = own.clone();
    for turn in 1..group {
        let related = |x: &Tensor<3>| {
            let first = turn * (b / group);
            let head = x.clone().narrow(0, first, b - first);
            Tensor::cat(vec![head, x.clone().narrow(0, 0, first)], 0)
        };
        let messages = attend_in(f, e.query.clone(), related(&e.key), related(&e.value));
        merged = merged.max_pair(messages);
    }
    // The last pass over the batch norm is the one whose statistics stay: testing has the image's own messages.
    let cross = classify(f, &features, merged);
    CrossAffinity {
        own: classify(f, &features, own),
        cross,
    }
}
