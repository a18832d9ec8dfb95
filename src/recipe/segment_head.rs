//! The head of the second network in a recipe.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Part, Recipe};
use crate::models::Head;
use crate::models::heads::deeplab::Version;

/// The head of the segmentation network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentHead {
    /// That which goes with the backbone: on VGG16 DeepLab-LargeFOV's.
    #[default]
    Usual,
    /// DeepLab-LargeFOV's on a ResNet, as MCIS's released code has it.
    DeeplabLargefov,
    /// DeepLab-v2's pyramid (ASPP-L).
    DeeplabV2,
    /// The same over three sizes of the image, of which the greatest score counts (MSC).
    DeeplabV2Msc,
    /// DeepLab-v3's pyramid.
    DeeplabV3,
}

impl SegmentHead {
    pub(super) fn is_usual(&self) -> bool {
        *self == SegmentHead::Usual
    }

    fn version(self) -> Option<Version> {
        match self {
            SegmentHead::Usual => None,
            SegmentHead::DeeplabLargefov => Some(Version::LargeFov),
            SegmentHead::DeeplabV2 => Some(Version::V2),
            SegmentHead::DeeplabV2Msc => Some(Version::V2Msc),
            SegmentHead::DeeplabV3 => Some(Version::V3),
        }
    }
}

impl Recipe {
    /// The head of the segmentation network for `classes`, without background.
    pub fn segment_head(&self, classes: usize) -> Head {
        match self.segment.head.version() {
            Some(version) => Head::DeepLab { classes, version },
            None => Head::Segmentation { classes },
        }
    }

    /// Rejects heads that the backbone cannot have.
    pub(super) fn check_segment_head(&self) -> Result<()> {
        let Some(version) = self.segment.head.version() else {
            return Ok(());
        };
        let backbone = self.backbone(Part::Segment).build()?;
        let name = backbone.kind();
        ensure!(
            version.stands_on(backbone),
            "segment.head: {} does not go onto {name}: {}",
            version.name(),
            match name {
                "vgg16" => "vgg16 takes \"deeplab_v2\", and has DeepLab-LargeFOV's as \"usual\"",
                _ => "set segment.backbone.name to resnet50, resnet101, resnet101_caffe or, for \"deeplab_v2\", vgg16",
            }
        );
        ensure!(
            version != Version::V3 || self.segment.batch >= 2,
            "segment.batch is {}: DeepLab-v3's head learns from statistics of the batch: use at least 2",
            self.segment.batch
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_of_the_backbones_that_it_is_published_on() {
        let load = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|s| s.to_string()).collect();
            Recipe::load("resnet38", &set)
        };
        for (backbone, head, good) in [
            ("resnet101", "deeplab_v2_msc", true),
            ("resnet101_caffe", "deeplab_largefov", true),
            ("resnet50", "deeplab_v3", true),
            ("vgg16", "deeplab_v2", true),
            ("vgg16", "deeplab_v2_msc", false),
            ("vgg16", "deeplab_v3", false),
            ("vgg16", "deeplab_largefov", false),
            ("vgg16_extra", "deeplab_v2", false),
            ("resnet38", "deeplab_v2", false),
            ("resnet38", "usual", true),
        ] {
            let backbone = format!("segment.backbone.name={backbone}");
            let head = format!("segment.head={head}");
            let loaded = load(&[&backbone, &head]);
            assert_eq!(loaded.is_ok(), good, "{backbone} {head}");
            if let Err(error) = loaded {
                let error = format!("{error:#}");
                assert!(error.contains("segment.head") && !error.contains('\n'), "{error}");
            }
        }
        let single = load(&[
            "segment.backbone.name=resnet50",
            "segment.head=deeplab_v3",
            "segment.batch=1",
        ]);
        assert!(format!("{:#}", single.unwrap_err()).contains("segment.batch is 1"));
        let elsewhere = load(&["classify.head=deeplab_v2"]);
        assert!(format!("{:#}", elsewhere.unwrap_err()).contains("classify.head"));
    }
}
