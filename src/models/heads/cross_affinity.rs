//! CIAN's head (Sec. 3): each pixel takes messages from similar pixels of its own image and of related images, before a
//! LargeFOV classifier. Names are those of the released code.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde::{Deserialize, Serialize};

use super::cross_attention::{attend_in, flat};
use super::segmentation::{self, DILATION, ONE};
use crate::models::backbones::{Backbone, Levels};
use crate::models::forward::Forward;
use crate::models::params::{Declarations, Role, entry};

/// Queries, keys, values and what the messages go through.
pub const LAYERS: [&str; 4] = ["conv_embed_q_", "conv_embed_k_", "conv_embed_v_", "conv_out_"];
/// The batch norm of the messages, whose scale starts at zero.
pub const NORM: &str = "bn_out_";
/// In `metrics.csv`: the mean |scale| of that batch norm.
pub const MEAN_GAMMA: &str = "mean_gamma";
const CLASSIFIER: &str = ONE[1];

/// What the head predicts for a batch, each `[B, C + 1, h, w]`, background first, before softmax.
pub struct CrossAffinity {
    /// With messages from the image itself.
    pub own: Tensor<4>,
    /// With messages from the related images and the image itself, merged (Eq. 5).
    pub cross: Tensor<4>,
}

/// How messages from several images become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The largest of every channel (Eq. 5).
    #[default]
    Max,
    /// Their mean.
    Mean,
}

/// Whether the head is the published one: a single layer behind the messages. Other backbones have the layers of
/// their segmentation head around the messages.
fn is_published(backbone: Backbone) -> bool {
    matches!(backbone, Backbone::PreactResNet(_))
}

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let input = segmentation::embedding_channels(backbone);
    let inner = input / 2;
    for layer in &LAYERS[..3] {
        to.conv(layer, input, inner, 1);
    }
    to.conv(LAYERS[3], inner, input, 1);
    to.batch_norm(NORM, input);
    if is_published(backbone) {
        to.conv(CLASSIFIER, input, classes, 3);
    } else {
        segmentation::declare(to, backbone, classes);
    }
}

/// The backbone's levels → the features `[B, D, h, w]` that messages are made of and added to.
fn embedding(f: &Forward, backbone: Backbone, levels: Levels) -> Tensor<4> {
    if is_published(backbone) {
        levels.high
    } else {
        segmentation::embedding(f, backbone, levels)
    }
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
fn classify(f: &Forward, backbone: Backbone, features: &Tensor<4>, messages: Tensor<3>) -> Tensor<4> {
    let [b, _, h, w] = features.dims();
    let inner = messages.dims()[1];
    let messages = f.conv(LAYERS[3], messages.reshape([b, inner, h, w]), 1, 1, false);
    let augmented = features.clone() + f.fresh_norm(NORM, messages);
    if is_published(backbone) {
        f.conv(CLASSIFIER, augmented, 1, DILATION, false)
    } else {
        segmentation::scores(f, backbone, augmented)
    }
}

/// The backbone's levels → scores `[B, C + 1, h, w]` with messages from the image itself, as in testing.
pub fn scores(f: &Forward, backbone: Backbone, levels: Levels) -> Tensor<4> {
    let features = embedding(f, backbone, levels);
    let e = embed(f, &features);
    let messages = attend_in(f, e.query, e.key, e.value);
    classify(f, backbone, &features, messages)
}

/// The backbone's levels of `B / group` images, then of as many images related to them, and so on,
/// `group` a divisor of B: image i is related to the images i + B / group, i + 2 B / group and so on, wrapping around.
/// A `group` of 1 leaves every image to itself: `cross` is then `own`.
pub fn cross_scores(f: &Forward, backbone: Backbone, levels: Levels, group: usize, merge: Merge) -> CrossAffinity {
    let features = embedding(f, backbone, levels);
    let e = embed(f, &features);
    let own = attend_in(f, e.query.clone(), e.key.clone(), e.value.clone());
    if group < 2 {
        let own = classify(f, backbone, &features, own);
        return CrossAffinity {
            cross: own.clone(),
            own,
        };
    }
    let b = features.dims()[0];
    let mut merged = own.clone();
    for turn in 1..group {
        let related = |x: &Tensor<3>| {
            let first = turn * (b / group);
            let head = x.clone().narrow(0, first, b - first);
            Tensor::cat(vec![head, x.clone().narrow(0, 0, first)], 0)
        };
        let messages = attend_in(f, e.query.clone(), related(&e.key), related(&e.value));
        merged = match merge {
            Merge::Max => merged.max_pair(messages),
            Merge::Mean => merged + messages,
        };
    }
    if merge == Merge::Mean {
        merged = merged / group as f32;
    }
    // The last pass over the batch norm is the one whose statistics stay: testing has the image's own messages.
    let cross = classify(f, backbone, &features, merged);
    CrossAffinity {
        own: classify(f, backbone, &features, own),
        cross,
    }
}

/// The mean |gamma| of the messages' batch norm, `[1]`: how much of them is added to the features; 0 at the start.
pub fn mean_gamma(f: &Forward) -> Tensor<1> {
    f.parameters.vector(&entry(NORM, Role::Scale)).abs().mean()
}

/// Where one pixel of an image looks in another, or in the same: softmax over the reference's keys (Eq. 1), `[h, w]`,
/// half of the resolution of its features, rounded up. Levels of one image each are the backbone's; `at` is where
/// the pixel is in the query, as shares of its height and width in [0, 1).
pub fn affinity(f: &Forward, backbone: Backbone, query: Levels, reference: Levels, at: [f32; 2]) -> Tensor<2> {
    let query = embedding(f, backbone, query);
    let [_, _, h, w] = query.dims();
    let cell = |share: f32, cells: usize| ((share * cells as f32) as usize).min(cells - 1);
    let query = query.narrow(2, cell(at[0], h), 1).narrow(3, cell(at[1], w), 1);
    let reference = embedding(f, backbone, reference);
    let query = flat(f.conv(LAYERS[0], query, 1, 1, false));
    let key = f.max_pool(f.conv(LAYERS[1], reference, 1, 1, false), 3, 2);
    let [_, _, h, w] = key.dims();
    softmax(query.transpose().matmul(flat(key)), 2).reshape([h, w])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;
    use crate::models::forward::Mode;
    use crate::models::params::Parameters;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn references_merge_by_maximum_or_mean_and_one_attends_to_itself() {
        let backbone = Backbone::named("nano", 1).unwrap();
        let mut declared = Declarations::default();
        declare(&mut declared, backbone, 3);
        let device = Device::flex();
        let parameters = Parameters::init(&declared, &device, |p| {
            let value = |i: usize| match p.role {
                Role::Scale | Role::Variance => 1.0,
                _ => ((i * 37) % 19) as f32 / 50.0 - 0.18,
            };
            (0..p.shape.iter().product()).map(value).collect()
        });
        let parameters = parameters.unwrap();
        let f = Forward::new(&parameters, Mode::Inference);
        assert_eq!(mean_gamma(&f).into_scalar::<f32>(), 1.0);
        let values: Vec<f32> = (0..3 * 96 * 16).map(|i| ((i * 31) % 23) as f32 / 23.0).collect();
        let features = Tensor::<4>::from_data(TensorData::new(values, [3, 96, 4, 4]), &device);
        let levels = |x: &Tensor<4>| Levels {
            low: x.clone(),
            middle: x.clone(),
            high: x.clone(),
        };
        let scored = |group, merge| {
            let out = cross_scores(&f, backbone, levels(&features), group, merge);
            [out.own, out.cross].map(|t| download(t).unwrap())
        };
        let [own, alone] = scored(1, Merge::Max);
        assert_eq!(own, alone);
        assert_eq!(own, download(scores(&f, backbone, levels(&features))).unwrap());
        let [_, max] = scored(3, Merge::Max);
        let [same, mean] = scored(3, Merge::Mean);
        assert_eq!(same, own);
        assert!(max != mean && max != own && mean != own);
        // Three times the same image: what others send is what the image sends itself.
        let one = features.clone().narrow(0, 0, 1);
        let three = Tensor::cat(vec![one.clone(); 3], 0);
        let out = cross_scores(&f, backbone, levels(&three), 3, Merge::Mean);
        let [own, cross] = [out.own, out.cross].map(|t| download(t).unwrap());
        for (a, b) in own.iter().zip(&cross) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        let other = levels(&features.narrow(0, 1, 1));
        let weights = affinity(&f, backbone, levels(&one), other, [0.3, 0.6]);
        assert_eq!(weights.dims(), [2, 2]);
        let total: f32 = download(weights).unwrap().iter().sum();
        assert!((total - 1.0).abs() < 1e-5);
    }
}
