//! The networks of the papers by name: as their authors published them, at full width or narrower.

use anyhow::{Context, Result};

use super::backbones::Backbone;
use super::heads::co_attention::Form;
use super::heads::deeplab::Version;
use super::{Head, Network};

/// A network of the papers.
#[derive(Clone, Copy, Debug)]
pub struct PaperNetwork {
    /// Name, as golden files and weight files go by.
    pub name: &'static str,
    /// Name of its backbone.
    pub backbone: &'static str,
    /// What uses it.
    pub used_by: &'static str,
    head: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ImageNet,
    Cam,
    Affinity,
    Segmentation,
    DeepLab(Version),
    Joint,
    CrossAffinity,
    CoAttention,
}

const fn entry(name: &'static str, backbone: &'static str, head: Kind, used_by: &'static str) -> PaperNetwork {
    PaperNetwork {
        name,
        backbone,
        used_by,
        head,
    }
}

/// All networks of the papers.
pub const NETWORKS: [PaperNetwork; 27] = [
    entry(
        "resnet38_cls",
        "resnet38",
        Kind::Cam,
        "AffinityNet: class activation maps",
    ),
    entry("resnet38_affinity", "resnet38", Kind::Affinity, "AffinityNet, MCIS-LID"),
    entry(
        "resnet38_segmentation",
        "resnet38",
        Kind::Segmentation,
        "AffinityNet: segmentation",
    ),
    entry("resnet38_rrm", "resnet38", Kind::Joint, "RRM, AALR"),
    entry(
        "resnet38_coattention",
        "resnet38",
        Kind::CoAttention,
        "MCIS-LID: classifier",
    ),
    entry(
        "vgg16_largefov_cls",
        "vgg16",
        Kind::Cam,
        "AffinityNet: class activation maps",
    ),
    entry("vgg16_affinity", "vgg16", Kind::Affinity, "AffinityNet"),
    entry(
        "vgg16_largefov",
        "vgg16",
        Kind::Segmentation,
        "AffinityNet, RRM two-step",
    ),
    entry("vgg16_coattention", "vgg16_extra", Kind::CoAttention, "MCIS"),
    entry(
        "preact_resnet50_largefov",
        "preact_resnet50",
        Kind::Segmentation,
        "CIAN: baseline",
    ),
    entry(
        "preact_resnet101_largefov",
        "preact_resnet101",
        Kind::Segmentation,
        "CIAN Table 1: vanilla",
    ),
    entry("cian_resnet50", "preact_resnet50", Kind::CrossAffinity, "CIAN"),
    entry("cian_resnet101", "preact_resnet101", Kind::CrossAffinity, "CIAN"),
    entry("deeplab_resnet50", "resnet50", Kind::Segmentation, "two-step methods"),
    entry("deeplab_resnet101", "resnet101", Kind::Segmentation, "two-step methods"),
    entry(
        "largefov_resnet101",
        "resnet101",
        Kind::DeepLab(Version::LargeFov),
        "MCIS: segmentation",
    ),
    entry(
        "deeplabv2_vgg16",
        "vgg16",
        Kind::DeepLab(Version::V2),
        "two-step methods",
    ),
    entry(
        "deeplabv2_resnet101",
        "resnet101_caffe",
        Kind::DeepLab(Version::V2Msc),
        "RRM two-step: segmentation",
    ),
    entry(
        "deeplabv3_resnet50",
        "resnet50",
        Kind::DeepLab(Version::V3),
        "DeepLab-v3",
    ),
    entry(
        "deeplabv3_resnet101",
        "resnet101",
        Kind::DeepLab(Version::V3),
        "MCIS-LID: segmentation",
    ),
    entry(
        "efficientnet_lite0",
        "efficientnet_lite0",
        Kind::ImageNet,
        "pretrained weights",
    ),
    entry(
        "efficientnet_lite0_cls",
        "efficientnet_lite0",
        Kind::Cam,
        "recipe photos: class activation maps",
    ),
    entry(
        "efficientnet_lite0_affinity",
        "efficientnet_lite0",
        Kind::Affinity,
        "recipe photos: AffinityNet, MCIS-LID",
    ),
    entry(
        "efficientnet_lite0_segmentation",
        "efficientnet_lite0",
        Kind::Segmentation,
        "recipe photos: segmentation",
    ),
    entry(
        "efficientnet_lite0_rrm",
        "efficientnet_lite0",
        Kind::Joint,
        "recipe photos: RRM, AALR",
    ),
    entry(
        "efficientnet_lite0_cian",
        "efficientnet_lite0",
        Kind::CrossAffinity,
        "recipe photos: CIAN",
    ),
    entry(
        "efficientnet_lite0_coattention",
        "efficientnet_lite0",
        Kind::CoAttention,
        "recipe photos: MCIS",
    ),
];

impl Network {
    /// The network of [`NETWORKS`] called `name` with its channels divided by `divisor`, for `classes` classes without
    /// background.
    ///
    /// # Errors
    /// On an unknown name or divisor.
    pub fn named(name: &str, divisor: usize, classes: usize) -> Result<Network> {
        let entry = NETWORKS.iter().find(|e| e.name == name).with_context(|| {
            let names: Vec<&str> = NETWORKS.iter().map(|e| e.name).collect();
            format!("unknown network {name:?}: use one of {}", names.join(", "))
        })?;
        let head = match entry.head {
            Kind::ImageNet => Head::ImageNet,
            Kind::Cam => Head::Cam { classes },
            Kind::Affinity => Head::Affinity {
                channels: [64, 128, 256].map(|c| c / divisor.max(1)),
            },
            Kind::Segmentation => Head::Segmentation { classes },
            Kind::DeepLab(version) => Head::DeepLab { classes, version },
            Kind::Joint => Head::Joint { classes },
            Kind::CrossAffinity => Head::CrossAffinity { classes },
            Kind::CoAttention => Head::CoAttention {
                classes,
                form: Form::RELEASED,
            },
        };
        Ok(Network {
            backbone: Backbone::named(entry.backbone, divisor)?,
            head,
        })
    }

    /// The name that weight files know this network by: that of the paper's network, or else its backbone's.
    pub fn published_name(&self) -> &'static str {
        let kind = match self.head {
            Head::ImageNet => Kind::ImageNet,
            Head::Cam { .. } => Kind::Cam,
            Head::Affinity { .. } => Kind::Affinity,
            Head::Segmentation { .. } => Kind::Segmentation,
            Head::DeepLab { version, .. } => Kind::DeepLab(version),
            Head::Joint { .. } => Kind::Joint,
            Head::CrossAffinity { .. } => Kind::CrossAffinity,
            Head::CoAttention { .. } => Kind::CoAttention,
        };
        let backbone = self.backbone.kind();
        NETWORKS
            .iter()
            .find(|entry| entry.backbone == backbone && entry.head == kind)
            .map_or(backbone, |entry| entry.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_runs() {
        for entry in NETWORKS {
            let network = Network::named(entry.name, 1, 20).unwrap();
            assert!(network.multiply_adds(33, 41).unwrap() > 0, "{}", entry.name);
        }
    }

    #[test]
    fn deeplab_v3_has_torchvisions_parameters() {
        // torchvision's documentation, less the auxiliary head that only its training has.
        let auxiliary = 9 * 1024 * 256 + 2 * 256 + 257 * 21;
        for (name, documented) in [("deeplabv3_resnet50", 42_004_074), ("deeplabv3_resnet101", 60_996_202)] {
            let network = Network::named(name, 1, 20).unwrap();
            assert_eq!(network.declare().count(), documented - auxiliary, "{name}");
        }
    }
}
