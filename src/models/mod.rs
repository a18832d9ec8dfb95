//! Networks: a backbone with a head, their parameters by name, and what they compute.

pub mod backbones;
pub mod catalogue;
mod checkpointing;
pub mod forward;
pub mod heads;
pub mod layers;
pub mod params;
pub mod resize;
mod work;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use backbones::vgg16::{Tail, Vgg16};
use backbones::{Backbone, Levels};
use forward::Forward;
use heads::co_attention::{self, Form, Pairing, Side};
use heads::cross_affinity::{self, CrossAffinity, Merge};
use heads::{affinity, aspp, cam, imagenet, segmentation};
use params::{Declarations, Declared, Parameters, Role, belongs};
use resize::resize;

/// What a network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Logits of ImageNet's 1000 classes: what pretrained weights can be checked by.
    ImageNet,
    /// Class logits and class activation maps for C classes.
    Cam {
        /// C, without background.
        classes: usize,
    },
    /// Affinity features with these channels from each level.
    Affinity {
        /// Channels that the three levels are reduced to: 64, 128, 256 in the released code.
        channels: [usize; 3],
    },
    /// Scores for C + 1 classes.
    Segmentation {
        /// C, without background.
        classes: usize,
    },
    /// Scores for C + 1 classes through atrous spatial pyramid pooling (DeepLab-v3).
    Aspp {
        /// C, without background.
        classes: usize,
    },
    /// Class logits, class activation maps and scores for C + 1 classes from one backbone (RRM, AALR).
    Joint {
        /// C, without background.
        classes: usize,
    },
    /// Scores for C + 1 classes with messages between similar pixels of related images (CIAN).
    CrossAffinity {
        /// C, without background.
        classes: usize,
    },
    /// Class logits of an image, and of what it does and does not share with another (MCIS).
    CoAttention {
        /// C, without background.
        classes: usize,
        /// Its classifiers and affinities.
        form: Form,
    },
}

/// What a joint head gives in one pass over the backbone.
pub struct Joint {
    /// Class logits `[B, C]`.
    pub logits: Tensor<2>,
    /// Segmentation scores `[B, C + 1, h, w]`, background first, before softmax.
    pub scores: Tensor<4>,
    /// The segmentation head's hidden features `[B, D, h, w]`, at least 0.
    pub embedding: Tensor<4>,
}

/// A network: backbone and head.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Feature extractor.
    pub backbone: Backbone,
    /// What is predicted from the features.
    pub head: Head,
}

impl Network {
    /// The network's identity in a checkpoint: a checkpoint of another one does not fit.
    pub fn architecture(&self) -> String {
        let head = match self.head {
            Head::ImageNet => "imagenet".into(),
            Head::Cam { classes } => format!("cam/{classes}"),
            Head::Affinity {
                channels: [a, b, c],
            } => format!("affinity/{a}-{b}-{c}"),
            Head::Segmentation { classes } => format!("segmentation/{classes}"),
            Head::Aspp { classes } => format!("aspp/{classes}"),
            Head::Joint { classes } => format!("joint/{classes}"),
            Head::CrossAffinity { classes } => format!("cross-affinity/{classes}"),
            Head::CoAttention { classes, form } => {
                let shared = if form.shared { "-shared" } else { "" };
                let origins = if form.origins { "-origins" } else { "" };
                format!("co-attention{shared}{origins}/{classes}")
            }
        };
        format!("{}+{head}", self.backbone.name())
    }

    /// All parameters.
    pub fn declare(&self) -> Declarations {
        let mut to = Declarations::default();
        let backbone = self.backbone;
        backbone.declare(&mut to);
        match self.head {
            Head::ImageNet => imagenet::declare(&mut to, backbone),
            Head::Cam { classes } => cam::declare(&mut to, backbone, classes),
            Head::Affinity { channels } => affinity::declare(&mut to, backbone, channels),
            Head::Segmentation { classes } => segmentation::declare(&mut to, backbone, classes + 1),
            Head::Aspp { classes } => aspp::declare(&mut to, backbone, classes + 1),
            Head::Joint { classes } => {
                cam::declare(&mut to, backbone, classes);
                segmentation::declare(&mut to, backbone, classes + 1);
            }
            Head::CrossAffinity { classes } => {
                cross_affinity::declare(&mut to, backbone, classes + 1);
            }
            Head::CoAttention { classes, form } => {
                co_attention::declare(&mut to, backbone, classes, form);
            }
        }
        to
    }

    /// Whether `parameter` belongs to the head, or to another layer that is fresh where the backbone is pretrained.
    pub fn is_head(&self, parameter: &str) -> bool {
        heads::is_fresh(parameter)
    }

    /// Fresh parameters: He-normal kernels, unit batch norm, and a last layer near zero, so that training starts from
    /// even odds.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Parameters> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Parameters::init(&self.declare(), device, |p| initial(p, &mut rng))
    }

    /// Images `[B, 3, H, W]` → the feature maps that this network's head is built on.
    pub fn levels(&self, f: &Forward, images: Tensor<4>) -> Levels {
        let backbone = match (self.backbone, self.head) {
            (
                Backbone::Vgg16(Vgg16 {
                    tail: Tail::LargeFov { .. },
                    divisor,
                }),
                head,
            ) => {
                // AffinityNet's released code has 1 and 4; DeepLab-LargeFOV has its field of view in fc6.
                let dilation = match head {
                    Head::Affinity { .. } => 4,
                    Head::Segmentation { .. } | Head::Joint { .. } => segmentation::DILATION,
                    _ => 1,
                };
                let tail = Tail::LargeFov { dilation };
                Backbone::Vgg16(Vgg16 { divisor, tail })
            }
            (backbone, _) => backbone,
        };
        backbone.forward(f, images)
    }

    /// Images `[B, 3, H, W]` → logits of ImageNet's classes `[B, 1000]`. Only for ImageNet's head.
    pub fn imagenet_logits(&self, f: &Forward, images: Tensor<4>) -> Tensor<2> {
        imagenet::logits(f, self.levels(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class logits `[B, C]`. Only for a CAM, joint or co-attention head.
    pub fn logits(&self, f: &Forward, images: Tensor<4>) -> Tensor<2> {
        cam::logits(f, self.backbone, self.levels(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class activation maps `[B, C, h, w]`. Only for a CAM, joint or co-attention head.
    pub fn maps(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        cam::maps(f, self.backbone, self.levels(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class activation maps `[B, C, h, w]`, the mean over the images' own size and `others`,
    /// which multiply it (RRM Eq. 2). Only for a CAM or joint head.
    pub fn multi_scale_maps(&self, f: &Forward, images: Tensor<4>, others: &[f32]) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        let mut sum = self.maps(f, images.clone());
        let [_, _, h, w] = sum.dims();
        for scale in others {
            let size = [height, width].map(|side| ((side as f32 * scale) as usize).max(1));
            let maps = self.maps(f, resize(images.clone(), size));
            sum = sum + resize(maps, [h, w]);
        }
        sum / (1 + others.len()) as f32
    }

    /// Images `[B, 3, H, W]` → affinity features `[B, D, h, w]`. Only for an affinity head.
    pub fn affinity_features(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        affinity::features(f, self.backbone, self.levels(f, images))
    }

    /// Images `[B, 3, H, W]` → what both heads give. Only for a joint head.
    pub fn joint(&self, f: &Forward, images: Tensor<4>) -> Joint {
        let levels = self.levels(f, images);
        let features = levels.high.clone();
        let embedding = segmentation::embedding(f, self.backbone, levels);
        Joint {
            logits: cam::logits(f, self.backbone, features),
            scores: segmentation::scores(f, self.backbone, embedding.clone()),
            embedding,
        }
    }

    /// Images `[B, 3, H, W]` → segmentation scores `[B, C + 1, h, w]`. Only for a head that segments.
    pub fn scores(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        let levels = self.levels(f, images);
        match self.head {
            Head::Aspp { .. } => aspp::scores(f, levels.high),
            Head::CrossAffinity { .. } => cross_affinity::scores(f, self.backbone, levels),
            _ => {
                let embedding = segmentation::embedding(f, self.backbone, levels);
                segmentation::scores(f, self.backbone, embedding)
            }
        }
    }

    /// Images `[B, 3, H, W]` in `group` parts, as [`cross_affinity::cross_scores`] takes them → scores with messages
    /// from the image itself and from related ones, merged by maximum. Only for a cross-affinity head.
    pub fn cross_scores(&self, f: &Forward, images: Tensor<4>, group: usize) -> CrossAffinity {
        self.merged_scores(f, images, group, Merge::Max)
    }

    /// As [`Self::cross_scores`], merged as `merge` says.
    pub fn merged_scores(
        &self,
        f: &Forward,
        images: Tensor<4>,
        group: usize,
        merge: Merge,
    ) -> CrossAffinity {
        let levels = self.levels(f, images);
        cross_affinity::cross_scores(f, self.backbone, levels, group, merge)
    }

    /// Pairs of images `[B, 3, H, W]` each → what the co-attention computes for either. Only for a co-attention head.
    pub fn co_attend(&self, f: &Forward, m: Tensor<4>, n: Tensor<4>) -> [Side; 2] {
        let form = match self.head {
            Head::CoAttention { form, .. } => form,
            _ => Form::RELEASED,
        };
        let [m, n] = [m, n].map(|images| self.levels(f, images).high);
        co_attention::pair(f, self.backbone, m, n, &Pairing::new(form))
    }
}

fn initial(p: &Declared, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let n = p.shape.iter().product();
    match p.role {
        // A fresh message changes nothing (CIAN, "CIAN Module").
        Role::Scale if belongs(&p.name, cross_affinity::NORM) => vec![0.0; n],
        Role::Scale | Role::Variance => vec![1.0; n],
        // Pixels attend to what looks alike from the first step on (MCIS Eq. 2).
        Role::Kernel if co_attention::AFFINITY.iter().any(|l| belongs(&p.name, l)) => {
            let side = p.shape[0];
            let is_diagonal = |i: usize| f32::from(u8::from(i / side == i % side));
            (0..n).map(is_diagonal).collect()
        }
        Role::Shift | Role::Mean | Role::Bias => vec![0.0; n],
        Role::Kernel => {
            let fan_in: usize = p.shape[1..].iter().product();
            let gain = if heads::is_last(&p.name) {
                0.1
            } else {
                2.0f32.sqrt()
            };
            let deviation = gain / (fan_in.max(1) as f32).sqrt();
            match Normal::new(0.0, deviation) {
                Ok(normal) => normal.sample_iter(rng).take(n).collect(),
                Err(_) => vec![0.0; n],
            }
        }
    }
}
