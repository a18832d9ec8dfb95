//! Networks by what they are for: what a head gives is asked of a type that only a network with such a head becomes.

use anyhow::{Result, bail};
use burn::tensor::Tensor;

use super::forward::Forward;
use super::heads::co_attention::{self, Form, Pairing, Side};
use super::heads::cross_affinity::{self, CrossAffinity, Merge};
use super::heads::deeplab::{self, Scores};
use super::heads::{affinity, cam, imagenet, segmentation};
use super::resize::resize;
use super::{Head, Network};

/// A network that tells ImageNet's 1000 classes.
#[derive(Clone, Copy, Debug)]
pub struct ImageNetClassifier(Network);

/// A network that tells the classes of an image and roughly where they are.
#[derive(Clone, Copy, Debug)]
pub struct Classifier(Network);

/// AffinityNet.
#[derive(Clone, Copy, Debug)]
pub struct AffinityNet(Network);

/// A network that scores the classes of every pixel.
#[derive(Clone, Copy, Debug)]
pub struct Segmenter(Network);

/// A classifier and segmenter on one backbone (RRM, AALR).
#[derive(Clone, Copy, Debug)]
pub struct JointNetwork(Network);

/// A segmenter with messages between images (CIAN).
#[derive(Clone, Copy, Debug)]
pub struct CrossAffinityNetwork(Network);

/// A classifier of what two images do and do not share (MCIS).
#[derive(Clone, Copy, Debug)]
pub struct CoAttentionNetwork {
    network: Network,
    form: Form,
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

impl Network {
    /// This network for ImageNet's classes.
    ///
    /// # Errors
    /// Where it has another head than ImageNet's.
    pub fn imagenet(&self) -> Result<ImageNetClassifier> {
        match self.head {
            Head::ImageNet => Ok(ImageNetClassifier(*self)),
            _ => self.lacks("a classifier of ImageNet"),
        }
    }

    /// This network for classes and class activation maps.
    ///
    /// # Errors
    /// Where it has neither a CAM nor a joint nor a co-attention head.
    pub fn classifier(&self) -> Result<Classifier> {
        match self.head {
            Head::Cam { .. } | Head::Joint { .. } | Head::CoAttention { .. } => Ok(Classifier(*self)),
            _ => self.lacks("a classifier"),
        }
    }

    /// This network for affinities.
    ///
    /// # Errors
    /// Where it has another head.
    pub fn affinity_net(&self) -> Result<AffinityNet> {
        match self.head {
            Head::Affinity { .. } => Ok(AffinityNet(*self)),
            _ => self.lacks("an affinity head"),
        }
    }

    /// This network for segmentation.
    ///
    /// # Errors
    /// Where no part of its head segments.
    pub fn segmenter(&self) -> Result<Segmenter> {
        match self.head {
            Head::Segmentation { .. } | Head::DeepLab { .. } | Head::Joint { .. } | Head::CrossAffinity { .. } => {
                Ok(Segmenter(*self))
            }
            _ => self.lacks("a segmentation head"),
        }
    }

    /// This network for classification and segmentation at once.
    ///
    /// # Errors
    /// Where it has another head.
    pub fn joint(&self) -> Result<JointNetwork> {
        match self.head {
            Head::Joint { .. } => Ok(JointNetwork(*self)),
            _ => self.lacks("a joint head"),
        }
    }

    /// This network for groups of related images.
    ///
    /// # Errors
    /// Where it has another head.
    pub fn cross_affinity(&self) -> Result<CrossAffinityNetwork> {
        match self.head {
            Head::CrossAffinity { .. } => Ok(CrossAffinityNetwork(*self)),
            _ => self.lacks("a cross-affinity head"),
        }
    }

    /// This network for pairs of images.
    ///
    /// # Errors
    /// Where it has another head.
    pub fn co_attention(&self) -> Result<CoAttentionNetwork> {
        match self.head {
            Head::CoAttention { form, .. } => Ok(CoAttentionNetwork { network: *self, form }),
            _ => self.lacks("a co-attention head"),
        }
    }

    fn lacks<T>(&self, part: &str) -> Result<T> {
        bail!("the network {} does not have {part}", self.architecture())
    }
}

impl ImageNetClassifier {
    /// Images `[B, 3, H, W]` → logits of ImageNet's classes `[B, 1000]`.
    pub fn logits(&self, f: &Forward, images: Tensor<4>) -> Tensor<2> {
        imagenet::logits(f, self.0.levels(f, images).high)
    }
}

impl Classifier {
    /// Images `[B, 3, H, W]` → class logits `[B, C]`.
    pub fn logits(&self, f: &Forward, images: Tensor<4>) -> Tensor<2> {
        cam::logits(f, self.0.backbone, self.0.levels(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class activation maps `[B, C, h, w]`, at least 0, not normalised.
    pub fn maps(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        cam::maps(f, self.0.backbone, self.0.levels(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class activation maps `[B, C, h, w]`, the mean over the images' own size and `others`,
    /// which multiply it (RRM Eq. 2).
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
}

impl AffinityNet {
    /// Images `[B, 3, H, W]` → affinity features `[B, D, h, w]`.
    pub fn features(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        affinity::features(f, self.0.backbone, self.0.levels(f, images))
    }
}

impl Segmenter {
    /// Images `[B, 3, H, W]` → segmentation scores `[B, C + 1, h, w]`, background first, before softmax.
    pub fn scores(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        self.all_scores(f, images).fused
    }

    /// As [`Self::scores`], with those maps that a training has further losses of.
    pub fn all_scores(&self, f: &Forward, images: Tensor<4>) -> Scores {
        let backbone = self.0.trunk();
        if let Head::DeepLab { version, .. } = self.0.head {
            return deeplab::scores(f, backbone, version, images, |x| self.0.levels(f, x));
        }
        let levels = self.0.levels(f, images);
        let fused = match self.0.head {
            Head::CrossAffinity { .. } => cross_affinity::scores(f, backbone, levels),
            _ => {
                let embedding = segmentation::embedding(f, backbone, levels);
                segmentation::scores(f, backbone, embedding)
            }
        };
        let parts = Vec::new();
        Scores { fused, parts }
    }
}

impl JointNetwork {
    /// Images `[B, 3, H, W]` → what both halves of the head give.
    pub fn outputs(&self, f: &Forward, images: Tensor<4>) -> Joint {
        let (backbone, levels) = (self.0.backbone, self.0.levels(f, images));
        let features = levels.high.clone();
        let embedding = segmentation::embedding(f, backbone, levels);
        Joint {
            logits: cam::logits(f, backbone, features),
            scores: segmentation::scores(f, backbone, embedding.clone()),
            embedding,
        }
    }
}

impl CrossAffinityNetwork {
    /// Images `[B, 3, H, W]` in `group` parts, as [`cross_affinity::cross_scores`] takes them → scores with messages
    /// from the image itself and from related ones, merged as `merge` says.
    pub fn scores(&self, f: &Forward, images: Tensor<4>, group: usize, merge: Merge) -> CrossAffinity {
        let levels = self.0.levels(f, images);
        cross_affinity::cross_scores(f, self.0.backbone, levels, group, merge)
    }

    /// The mean |gamma| of the messages' batch norm `[1]`: how much of them is added.
    pub fn mean_gamma(&self, f: &Forward) -> Tensor<1> {
        cross_affinity::mean_gamma(f)
    }
}

impl CoAttentionNetwork {
    /// Pairs of images `[B, 3, H, W]` each → what the co-attention computes for either.
    pub fn pair(&self, f: &Forward, m: Tensor<4>, n: Tensor<4>) -> [Side; 2] {
        let [m, n] = [m, n].map(|images| self.network.levels(f, images).high);
        co_attention::pair(f, self.network.backbone, m, n, &Pairing::new(self.form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_only_what_its_head_makes_it() {
        for (name, is) in [
            ("resnet38_cls", [true, false, false, false, false]),
            ("resnet38_affinity", [false, true, false, false, false]),
            ("deeplab_resnet101", [false, false, true, false, false]),
            ("resnet38_rrm", [true, false, true, false, false]),
            ("cian_resnet50", [false, false, true, true, false]),
            ("vgg16_coattention", [true, false, false, false, true]),
        ] {
            let network = Network::named(name, 32, 2).unwrap();
            let found = [
                network.classifier().is_ok(),
                network.affinity_net().is_ok(),
                network.segmenter().is_ok(),
                network.cross_affinity().is_ok(),
                network.co_attention().is_ok(),
            ];
            assert_eq!(found, is, "{name}");
            assert!(network.imagenet().is_err());
        }
        let network = Network::named("resnet38_cls", 32, 2).unwrap();
        let error = network.joint().unwrap_err().to_string();
        assert_eq!(error, "the network resnet38/32+cam/2 does not have a joint head");
    }
}
