//! MCIS's head (Sec. 3): what two images share must predict the classes that they share, and what either has of its own
//! the rest. Names are those of the released code, whose co-attentive classifier is a layer of its own.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::cam;
use super::cross_attention::{attend_in, flat};
use crate::models::backbones::{Backbone, vgg16};
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// W_P (Eq. 2).
const AFFINITY: &str = "extra_linear_e";
/// The classifier of co-attentive and of exclusive features.
pub const CLASSIFIER: &str = "extra_gate";
/// W_B (Eq. 6).
const GATE: &str = "extra_gate_merge";
/// All layers that a pretrained VGG16 lacks, but for the classifier of [`cam`].
pub const LAYERS: [&str; 4] = [vgg16::EXTRA, AFFINITY, CLASSIFIER, GATE];

/// What the head computes for one image of each pair; C classes, features of D channels.
pub struct Side {
    /// The backbone's features `[B, D, h, w]`.
    pub features: Tensor<4>,
    /// Class scores per pixel of the image by itself `[B, C, h, w]`, not clipped.
    pub map: Tensor<4>,
    /// Logits of the image's classes `[B, C]`.
    pub logits: Tensor<2>,
    /// The other image's features that each pixel attends to `[B, D, h, w]` (Eq. 4).
    pub coattentive: Tensor<4>,
    /// Class scores per pixel of these, the localization maps of Sec. 3.1 `[B, C, h, w]`.
    pub common_map: Tensor<4>,
    /// Logits of the shared classes `[B, C]` (Eq. 5).
    pub common: Tensor<2>,
    /// Class scores per pixel of what is not shared `[B, C, h, w]` (Eq. 7).
    pub exclusive_map: Tensor<4>,
    /// Logits of the unshared classes `[B, C]` (Eq. 8).
    pub exclusive: Tensor<2>,
}

/// Declares the head for `classes`.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let channels = backbone.channels()[2];
    cam::declare(to, backbone, classes);
    to.linear(AFFINITY, channels, channels);
    to.conv(CLASSIFIER, channels, classes, 1);
    to.conv(GATE, channels, 1, 1);
}

/// Features of two images per pair, `[B, D, h_m, w_m]` and `[B, D, h_n, w_n]` → what the head computes for either.
pub fn pair(f: &Forward, backbone: Backbone, m: Tensor<4>, n: Tensor<4>) -> [Side; 2] {
    let (flat_m, flat_n) = (flat(m.clone()), flat(n.clone()));
    let projected = f.linear(AFFINITY, flat_m.clone());
    let for_m = attend_in(f, projected.clone(), flat_n.clone(), flat_n.clone());
    let for_n = attend_in(f, flat_n, projected, flat_m);
    [(m, for_m), (n, for_n)].map(|(features, coattentive)| {
        let map = cam::scores(f, backbone, features.clone());
        let coattentive = coattentive.reshape(features.dims());
        let common_map = f.conv(CLASSIFIER, coattentive.clone(), 1, 1, false);
        let shared = sigmoid(f.conv(GATE, coattentive.clone(), 1, 1, false));
        let own = features.clone() * (shared.neg() + 1.0);
        let exclusive_map = f.conv(CLASSIFIER, own, 1, 1, false);
        Side {
            features,
            logits: cam::mean(map.clone()),
            map,
            coattentive,
            common: cam::mean(common_map.clone()),
            common_map,
            exclusive: cam::mean(exclusive_map.clone()),
            exclusive_map,
        }
    })
}
