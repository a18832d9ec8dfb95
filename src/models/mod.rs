//! Networks: a backbone with a head, their parameters by name, and what they compute ([`tasks`]).

pub mod backbones;
pub mod catalogue;
mod checkpointing;
pub mod forward;
pub mod heads;
pub mod layers;
pub mod params;
pub mod resize;
pub mod tasks;
mod work;

pub use work::Convolution;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use backbones::vgg16::{Tail, Vgg16};
use backbones::{Backbone, Levels};
use forward::Forward;
use heads::co_attention::{self, Form};
use heads::{affinity, aspp, cam, cross_affinity, imagenet, segmentation};
use params::{Declarations, Declared, Parameters, Role, belongs};

pub use tasks::Joint;

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
            Head::Affinity { channels: [a, b, c] } => format!("affinity/{a}-{b}-{c}"),
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
    /// even odds. CIAN's published head starts as Normal(0, 0.01) (CIAN, Reproducibility).
    pub fn init(&self, seed: u64, device: &Device) -> Result<Parameters> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Parameters::init(&self.declare(), device, |p| initial(self, p, &mut rng))
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
                let pooled = matches!(head, Head::Segmentation { .. } | Head::Joint { .. });
                let tail = Tail::LargeFov { dilation, pooled };
                Backbone::Vgg16(Vgg16 { divisor, tail })
            }
            (backbone, _) => backbone,
        };
        backbone.forward(f, images)
    }
}

fn initial(network: &Network, p: &Declared, rng: &mut ChaCha8Rng) -> Vec<f32> {
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
            let gain = if heads::is_last(&p.name) { 0.1 } else { 2.0f32.sqrt() };
            let published = matches!(network.head, Head::CrossAffinity { .. })
                && matches!(network.backbone, Backbone::PreactResNet(_));
            let deviation = match published && network.is_head(&p.name) {
                true => 0.01,
                false => gain / (fan_in.max(1) as f32).sqrt(),
            };
            match Normal::new(0.0, deviation) {
                Ok(normal) => normal.sample_iter(rng).take(n).collect(),
                Err(_) => vec![0.0; n],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;
    use burn::tensor::TensorData;
    use forward::Mode;

    fn images(device: &Device) -> Tensor<4> {
        let values: Vec<f32> = (0..3 * 64 * 64).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        Tensor::from_data(TensorData::new(values, [1, 3, 64, 64]), device)
    }

    #[test]
    fn cians_published_head_starts_with_a_deviation_of_a_hundredth() {
        let device = Device::flex();
        let head = Head::CrossAffinity { classes: 20 };
        let deviation = |backbone: &str, name: &str| {
            let divisor = if backbone == "nano" { 1 } else { 8 };
            let backbone = Backbone::named(backbone, divisor).unwrap();
            let parameters = Network { backbone, head }.init(3, &device).unwrap();
            let values = parameters.0[name].value.to_vec().unwrap();
            (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
        };
        for layer in ["conv_embed_q_", "conv_embed_k_", "conv_embed_v_", "fc1_"] {
            let deviation = deviation("preact_resnet50", &format!("{layer}weight"));
            assert!((deviation - 0.01).abs() < 1e-3, "{layer} {deviation}");
        }
        assert!(deviation("nano", "conv_embed_q_weight") > 0.05);
    }

    #[test]
    fn largefov_drops_channels_of_fc7_and_pools_before_fc6_where_it_segments() {
        let device = Device::flex();
        let backbone = Backbone::named("vgg16", 32).unwrap();
        let network = |head| Network { backbone, head };
        let segmenting = network(Head::Segmentation { classes: 2 });
        let parameters = segmenting.init(1, &device).unwrap();
        let levels = |network: Network| {
            let f = Forward::new(&parameters, Mode::Inference);
            let levels = network.levels(&f, images(&device));
            [levels.middle, levels.high].map(|level| download(level).unwrap())
        };
        let classifying = network(Head::Cam { classes: 2 });
        let (pooled, plain) = (levels(segmenting), levels(classifying));
        assert_eq!(pooled[0], plain[0]);
        assert_ne!(pooled[1], plain[1]);
        let features = Tensor::<4>::ones([1, 32, 2, 2], &device);
        let scored = |mode| {
            let f = Forward::new(&parameters, mode);
            download(segmentation::scores(&f, backbone, features.clone())).unwrap()
        };
        let whole = scored(Mode::Inference);
        assert_eq!(scored(Mode::Frozen(None)), whole);
        assert_ne!(scored(Mode::Frozen(Some(7))), whole);
    }

    #[test]
    fn nothing_is_dropped_between_resnet38s_two_convolutions() {
        let device = Device::flex();
        let backbone = Backbone::named("resnet38", 32).unwrap();
        let head = Head::Segmentation { classes: 2 };
        let parameters = Network { backbone, head }.init(1, &device).unwrap();
        let hidden = segmentation::embedding_channels(backbone);
        let features = Tensor::<4>::ones([1, hidden, 2, 2], &device);
        let scored = |mode| {
            let f = Forward::new(&parameters, mode);
            download(segmentation::scores(&f, backbone, features.clone())).unwrap()
        };
        assert_eq!(scored(Mode::Frozen(Some(7))), scored(Mode::Inference));
    }
}
