//! Backbones: images in, feature maps of three levels out.

pub mod nano;
pub mod preact_resnet;
pub mod resnet;
pub mod resnet38;
pub mod vgg16;

use anyhow::{Result, bail};
use burn::tensor::Tensor;

use super::forward::Forward;
use super::params::{Declarations, belongs};
use nano::Nano;
use preact_resnet::PreactResNet;
use resnet::{Depth, ResNet};
use resnet38::ResNet38;
use vgg16::{Tail, Vgg16};

/// The backbones that [`Backbone::named`] knows.
pub const NAMES: [&str; 8] = [
    "nano",
    "resnet38",
    "vgg16",
    "vgg16_extra",
    "resnet50",
    "resnet101",
    "preact_resnet50",
    "preact_resnet101",
];
/// Width divisors of every backbone but nano: they keep all channel numbers whole.
pub const DIVISORS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The feature maps that heads are built on, each `[B, C, H / stride, W / stride]` and activated.
pub struct Levels {
    /// ResNet38: conv4 (512 channels).
    pub low: Tensor<4>,
    /// ResNet38: conv5 (1024 channels).
    pub middle: Tensor<4>,
    /// ResNet38: conv6 (4096 channels).
    pub high: Tensor<4>,
}

/// A backbone and its width.
#[derive(Clone, Copy, Debug)]
pub enum Backbone {
    /// See [`nano`].
    Nano(Nano),
    /// See [`resnet38`].
    ResNet38(ResNet38),
    /// See [`vgg16`].
    Vgg16(Vgg16),
    /// See [`resnet`].
    ResNet(ResNet),
    /// See [`preact_resnet`].
    PreactResNet(PreactResNet),
}

impl Backbone {
    /// The backbone called `name`, one of [`NAMES`], with its channels divided by `divisor`, one of [`DIVISORS`].
    ///
    /// # Errors
    /// On an unknown name or divisor.
    pub fn named(name: &str, divisor: usize) -> Result<Backbone> {
        let depth = if name.ends_with("50") {
            Depth::Fifty
        } else {
            Depth::HundredOne
        };
        let vgg16 = |tail| Backbone::Vgg16(Vgg16 { divisor, tail });
        let backbone = match name {
            "nano" if divisor == 1 => return Ok(Backbone::Nano(Nano)),
            "nano" => bail!("width_divisor = {divisor}: the nano backbone has one width, 1"),
            "resnet38" => Backbone::ResNet38(ResNet38 { divisor }),
            "vgg16" => vgg16(Tail::LargeFov { dilation: 1 }),
            "vgg16_extra" => vgg16(Tail::ExtraConvs),
            "resnet50" | "resnet101" => Backbone::ResNet(ResNet { depth, divisor }),
            "preact_resnet50" | "preact_resnet101" => {
                Backbone::PreactResNet(PreactResNet { depth, divisor })
            }
            _ => bail!("unknown backbone {name:?}: use one of {}", NAMES.join(", ")),
        };
        if !DIVISORS.contains(&divisor) {
            bail!("width_divisor = {divisor}: use 1, 2, 4, 8, 16 or 32");
        }
        Ok(backbone)
    }

    /// Its name in [`NAMES`].
    pub fn kind(self) -> &'static str {
        match self {
            Backbone::Nano(_) => "nano",
            Backbone::ResNet38(_) => "resnet38",
            Backbone::Vgg16(b) => match b.tail {
                Tail::LargeFov { .. } => "vgg16",
                Tail::ExtraConvs => "vgg16_extra",
            },
            Backbone::ResNet(b) => match b.depth {
                Depth::Fifty => "resnet50",
                Depth::HundredOne => "resnet101",
            },
            Backbone::PreactResNet(b) => match b.depth {
                Depth::Fifty => "preact_resnet50",
                Depth::HundredOne => "preact_resnet101",
            },
        }
    }

    /// What its channels are divided by.
    pub fn divisor(self) -> usize {
        match self {
            Backbone::Nano(_) => 1,
            Backbone::ResNet38(b) => b.divisor,
            Backbone::Vgg16(b) => b.divisor,
            Backbone::ResNet(b) => b.divisor,
            Backbone::PreactResNet(b) => b.divisor,
        }
    }

    /// Name and width, as checkpoints record it.
    pub fn name(self) -> String {
        match self {
            Backbone::Nano(_) => "nano".into(),
            _ => format!("{}/{}", self.kind(), self.divisor()),
        }
    }

    /// Channels of the three levels.
    pub fn channels(self) -> [usize; 3] {
        match self {
            Backbone::Nano(b) => b.channels(),
            Backbone::ResNet38(b) => b.channels(),
            Backbone::Vgg16(b) => b.channels(),
            Backbone::ResNet(b) => b.channels(),
            Backbone::PreactResNet(b) => b.channels(),
        }
    }

    /// Pixels of the image per pixel of the feature maps.
    pub fn stride(self) -> usize {
        match self {
            Backbone::Nano(_) => 4,
            _ => 8,
        }
    }

    /// Whether training starts from random weights: then every level and the batch-norm statistics train too.
    pub fn from_scratch(self) -> bool {
        matches!(self, Backbone::Nano(_))
    }

    /// Whether `parameter` belongs to a level that stays as pretrained.
    pub fn is_frozen(self, parameter: &str) -> bool {
        let levels: &[&str] = match self {
            Backbone::ResNet38(_) => &resnet38::FROZEN,
            Backbone::Vgg16(_) => &vgg16::FROZEN,
            _ => &[],
        };
        levels.iter().any(|level| belongs(parameter, level))
    }

    /// Declares the parameters.
    pub fn declare(self, to: &mut Declarations) {
        match self {
            Backbone::Nano(b) => b.declare(to),
            Backbone::ResNet38(b) => b.declare(to),
            Backbone::Vgg16(b) => b.declare(to),
            Backbone::ResNet(b) => b.declare(to),
            Backbone::PreactResNet(b) => b.declare(to),
        }
    }

    /// Images `[B, 3, H, W]`, normalised → feature maps.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        match self {
            Backbone::Nano(b) => b.forward(f, images),
            Backbone::ResNet38(b) => b.forward(f, images),
            Backbone::Vgg16(b) => b.forward(f, images),
            Backbone::ResNet(b) => b.forward(f, images),
            Backbone::PreactResNet(b) => b.forward(f, images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_makes_its_backbone() {
        for name in NAMES {
            assert_eq!(Backbone::named(name, 1).unwrap().kind(), name);
        }
        assert!(Backbone::named("vgg16", 3).is_err());
        assert!(Backbone::named("vgg19", 1).is_err());
    }
}
