//! DeepLab's heads, whichever backbone they stand on: LargeFOV (Chen et al., ICLR 2015), the atrous spatial pyramid of
//! DeepLab-v2 (Chen et al., TPAMI 2018), alone or over three sizes of the image, and that of DeepLab-v3 ([`aspp`]).

use burn::tensor::Tensor;

use super::{aspp, aspp_l, large_fov};
use crate::models::backbones::{Backbone, Levels};
use crate::models::forward::Forward;
use crate::models::params::Declarations;
use crate::models::resize::resize;

/// Which of DeepLab's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One field of view: a 3x3 convolution at dilation 12 and two 1x1 convolutions, see [`large_fov`].
    LargeFov,
    /// Four fields of view, summed (ASPP-L), see [`aspp_l`].
    V2,
    /// The same on the image at its own size, at 0.75 and at 0.5 of it, the greatest score counting (MSC).
    V2Msc,
    /// Parallel convolutions, a pooled branch and batch norm, see [`aspp`].
    V3,
}

/// The sizes of [`Version::V2Msc`] beside the image's own: what its score maps are enlarged from.
const SIZES: [f32; 2] = [0.75, 0.5];

impl Version {
    /// In the architecture of a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Version::LargeFov => "deeplab-largefov",
            Version::V2 => "deeplab-v2",
            Version::V2Msc => "deeplab-v2-msc",
            Version::V3 => "deeplab-v3",
        }
    }

    /// Whether it is published on this backbone, or on another with the same levels.
    pub fn stands_on(self, backbone: Backbone) -> bool {
        match backbone {
            Backbone::ResNet(_) => true,
            // Several sizes of the image are for ResNets alone (DeepLab-v2, Sec. 4.1.1).
            Backbone::Vgg16(b) => b.has_fc6() && self == Version::V2,
            _ => false,
        }
    }
}

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize, version: Version) {
    match version {
        Version::LargeFov => large_fov::declare(to, backbone, classes),
        Version::V2 | Version::V2Msc => aspp_l::declare(to, backbone, classes),
        Version::V3 => aspp::declare(to, backbone, classes),
    }
}

/// Score maps `[B, C + 1, h, w]`, background first, before softmax.
pub struct Scores {
    /// What the network says.
    pub fused: Tensor<4>,
    /// Those that have a loss of their own beside it.
    pub parts: Vec<Tensor<4>>,
}

/// Images `[B, 3, H, W]` → scores; `levels` is the backbone's pass. As in the released train.prototxt of DeepLab-v2, the
/// loss of the image's own size and that of 0.75, enlarged, are on the grid of the fused scores, that of half the size on
/// its own.
pub fn scores(
    f: &Forward,
    backbone: Backbone,
    version: Version,
    images: Tensor<4>,
    levels: impl Fn(Tensor<4>) -> Levels,
) -> Scores {
    let on = |images| match version {
        Version::LargeFov => large_fov::scores(f, levels(images).high),
        Version::V2 | Version::V2Msc => aspp_l::scores(f, backbone, levels(images).high),
        Version::V3 => aspp::scores(f, backbone, levels(images).high),
    };
    if version != Version::V2Msc {
        let (fused, parts) = (on(images), Vec::new());
        return Scores { fused, parts };
    }
    let [_, _, height, width] = images.dims();
    let whole = on(images.clone());
    let [_, _, h, w] = whole.dims();
    let [three_quarters, half] = SIZES.map(|scale| {
        let size = [height, width].map(|side| ((side as f32 * scale).round() as usize).max(1));
        on(resize(images.clone(), size))
    });
    let three_quarters = resize(three_quarters, [h, w]);
    let enlarged = resize(half.clone(), [h, w]);
    Scores {
        fused: whole.clone().max_pair(three_quarters.clone()).max_pair(enlarged),
        parts: vec![whole, three_quarters, half],
    }
}
