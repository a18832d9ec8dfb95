//! MCIS's head (Sec. 3): what two images share must predict the classes that they share, and what either has of its own
//! the rest. Names are those of the released code.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};

use super::cam;
use super::cross_attention::{attend_in, flat};
use crate::models::backbones::{Backbone, vgg16};
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// W_P (Eq. 2): of pairs within the target data set, and, where extra images join it, of pairs within these and across.
pub const AFFINITY: [&str; 3] = ["extra_linear_e", "extra_linear_e_extra", "extra_linear_e_across"];
/// The classifier of co-attentive and of exclusive features, where they have one of their own.
pub const CLASSIFIER: &str = "extra_gate";
/// W_B (Eq. 6).
const GATE: &str = "extra_gate_merge";
/// All layers that a pretrained VGG16 lacks, but for the classifier of [`cam`].
pub const LAYERS: [&str; 6] = [vgg16::EXTRA, AFFINITY[0], AFFINITY[1], AFFINITY[2], CLASSIFIER, GATE];

/// How the head is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Co-attentive and exclusive features go through the image's own classifier, as in the paper, and not through one
    /// of their own, as in the released code.
    pub shared: bool,
    /// W_P has three forms, one per [`Origin`] (Sec. 3.2).
    pub origins: bool,
}

impl Form {
    /// That of the released checkpoints.
    pub const RELEASED: Form = Form {
        shared: false,
        origins: false,
    };
}

/// Where the images of a pair are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Both from the target data set.
    Target,
    /// Both from extra ones.
    Extra,
    /// One from either.
    Across,
}

impl Origin {
    /// All of them, in the order of their W_P in [`AFFINITY`].
    const ALL: [Origin; 3] = [Origin::Target, Origin::Extra, Origin::Across];

    /// That of a pair, by whether its images are extra ones.
    pub fn of(extra: [bool; 2]) -> Origin {
        match extra {
            [false, false] => Origin::Target,
            [true, true] => Origin::Extra,
            _ => Origin::Across,
        }
    }
}

/// How pairs are computed.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// The head's form.
    pub form: Form,
    /// Divides the affinities before softmax; 1 in the paper.
    pub temperature: f32,
    /// Where each pair is from; one for all of them, or none where `form` has one W_P.
    pub origins: Vec<Origin>,
}

impl Pairing {
    /// The paper's, within the target data set.
    pub fn new(form: Form) -> Pairing {
        Pairing {
            form,
            temperature: 1.0,
            origins: Vec::new(),
        }
    }
}

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
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize, form: Form) {
    let channels = backbone.channels()[2];
    cam::declare(to, backbone, classes);
    let forms = if form.origins { AFFINITY.len() } else { 1 };
    for layer in &AFFINITY[..forms] {
        to.linear(layer, channels, channels);
    }
    if !form.shared {
        to.conv(CLASSIFIER, channels, classes, 1);
    }
    to.conv(GATE, channels, 1, 1);
}

/// Features of two images per pair, `[B, D, h_m, w_m]` and `[B, D, h_n, w_n]` → what the head computes for either.
pub fn pair(f: &Forward, backbone: Backbone, m: Tensor<4>, n: Tensor<4>, pairing: &Pairing) -> [Side; 2] {
    let (flat_m, flat_n) = (flat(m.clone()), flat(n.clone()));
    let projected = project(f, flat_m.clone(), pairing);
    let for_m = attend_in(f, projected.clone(), flat_n.clone(), flat_n.clone());
    let for_n = attend_in(f, flat_n, projected, flat_m);
    [(m, for_m), (n, for_n)].map(|(features, coattentive)| side(f, backbone, features, coattentive, pairing.form))
}

/// As [`pair`], for the first image of each pair alone.
pub fn first(f: &Forward, backbone: Backbone, m: Tensor<4>, n: Tensor<4>, pairing: &Pairing) -> Side {
    let projected = project(f, flat(m.clone()), pairing);
    let other = flat(n);
    let for_m = attend_in(f, projected, other.clone(), other);
    side(f, backbone, m, for_m, pairing.form)
}

/// As [`pair`], for the second image of each pair alone.
pub fn second(f: &Forward, backbone: Backbone, m: Tensor<4>, n: Tensor<4>, pairing: &Pairing) -> Side {
    let other = flat(m);
    let projected = project(f, other.clone(), pairing);
    let for_n = attend_in(f, flat(n.clone()), projected, other);
    side(f, backbone, n, for_n, pairing.form)
}

/// W_P applied to features `[B, D, N]`, each pair's own, over the temperature.
fn project(f: &Forward, x: Tensor<3>, pairing: &Pairing) -> Tensor<3> {
    let origins = match pairing.form.origins {
        true => pairing.origins.as_slice(),
        false => &[],
    };
    let of = |origin: Origin| origins.iter().filter(|o| **o == origin).count();
    let mut projected: Option<Tensor<3>> = None;
    for (layer, origin) in AFFINITY.iter().zip(Origin::ALL) {
        if of(origin) == 0 && !(origins.is_empty() && origin == Origin::Target) {
            continue;
        }
        let mut part = f.linear(layer, x.clone());
        if of(origin) < origins.len() {
            let is_from = |o: &Origin| f32::from(u8::from(*o == origin));
            let mask: Vec<f32> = origins.iter().map(is_from).collect();
            let shape = [mask.len(), 1, 1];
            part = part * Tensor::from_data(TensorData::new(mask, shape), &x.device());
        }
        projected = Some(match projected {
            Some(sum) => sum + part,
            None => part,
        });
    }
    let projected = projected.unwrap_or(x);
    if pairing.temperature == 1.0 {
        projected
    } else {
        projected / pairing.temperature
    }
}

/// What the head computes from an image's features `[B, D, h, w]` and what they attend to `[B, D, h w]`.
fn side(f: &Forward, backbone: Backbone, features: Tensor<4>, coattentive: Tensor<3>, form: Form) -> Side {
    let classified = |x: Tensor<4>| {
        if form.shared {
            cam::scores(f, backbone, x)
        } else {
            f.conv(CLASSIFIER, x, 1, 1, false)
        }
    };
    let map = cam::scores(f, backbone, features.clone());
    let coattentive = coattentive.reshape(features.dims());
    let common_map = classified(coattentive.clone());
    let shared = sigmoid(f.conv(GATE, coattentive.clone(), 1, 1, false));
    let own = features.clone() * (shared.neg() + 1.0);
    let exclusive_map = classified(own);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;
    use crate::models::forward::Mode;
    use crate::models::params::{Parameters, Role};
    use burn::tensor::Device;

    #[test]
    fn every_pair_has_the_affinity_of_its_origin() {
        let device = Device::flex();
        let mut declared = Declarations::default();
        for layer in AFFINITY {
            declared.linear(layer, 1, 1);
        }
        let mut factor = 0.0;
        let parameters = Parameters::init(&declared, &device, |p| {
            assert_eq!(p.role, Role::Kernel);
            factor += 1.0;
            vec![factor]
        });
        let parameters = parameters.unwrap();
        let projected = |origins: &[Origin], is_three: bool| {
            let f = Forward::new(&parameters, Mode::Inference);
            let pairing = Pairing {
                form: Form {
                    shared: true,
                    origins: is_three,
                },
                temperature: 2.0,
                origins: origins.to_vec(),
            };
            let x = Tensor::ones([3, 1, 1], &device);
            download(project(&f, x, &pairing)).unwrap()
        };
        let [target, extra, across] = Origin::ALL;
        assert_eq!(projected(&[across, target, extra], true), [1.5, 0.5, 1.0]);
        assert_eq!(projected(&[across; 3], true), [1.5; 3]);
        assert_eq!(projected(&[across; 1], true), [1.5; 3]);
        assert_eq!(projected(&[across; 3], false), [0.5; 3]);
        assert_eq!(projected(&[], true), [0.5; 3]);
        let of = [[false; 2], [true; 2], [true, false]].map(Origin::of);
        assert_eq!(of, Origin::ALL);
    }
}
