//! The head of the second network in a recipe.

use serde::{Deserialize, Serialize};

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
    /// The same over three sizes of the image, of which the greatest score counts (MSC). Published
    /// with a rate of 2.5e-4.
    DeeplabV2Msc,
    /// DeepLab-v3's pyramid.
    DeeplabV3,
}

impl SegmentHead {
    pub(super) fn is_usual(&self) -> bool {
        *self == SegmentHead::Usual
    }

    /// DeepLab's head of this name.
    pub(super) fn version(self) -> Option<Version> {
        match self {
            SegmentHead::Usual => None,
            SegmentHead::DeeplabLargefov => Some(Version::LargeFov),
            SegmentHead::DeeplabV2 => Some(Version::V2),
            SegmentHead::DeeplabV2Msc => Some(Version::V2Msc),
            SegmentHead::DeeplabV3 => Some(Version::V3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentHead;
    use crate::recipe::load::EMBEDDED;
    use crate::recipe::{Optimizer, Recipe};

    #[test]
    fn deeplab_v2_over_three_sizes_has_its_published_rate() {
        // Its loss is a sum over four score maps, so that another head's rate steps further here.
        let recipes = EMBEDDED.map(|(name, _)| (name, Recipe::load(name, &[]).unwrap()));
        for (name, recipe) in recipes
            .iter()
            .filter(|(_, r)| r.segment.head == SegmentHead::DeeplabV2Msc)
        {
            let Optimizer::Sgd { lr, .. } = recipe.segment.optimizer else {
                panic!("{name}: not SGD");
            };
            assert_eq!(lr, 2.5e-4, "{name}");
        }
    }

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
