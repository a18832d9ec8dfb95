//! Backbones: images in, feature maps of three levels out.

pub mod nano;
pub mod resnet38;

use burn::tensor::Tensor;

use super::forward::Forward;
use super::params::Declarations;
use nano::Nano;
use resnet38::ResNet38;

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
}

impl Backbone {
    /// Channels of the three levels.
    pub fn channels(self) -> [usize; 3] {
        match self {
            Backbone::Nano(b) => b.channels(),
            Backbone::ResNet38(b) => b.channels(),
        }
    }

    /// Pixels of the image per pixel of the feature maps.
    pub fn stride(self) -> usize {
        match self {
            Backbone::Nano(_) => 4,
            Backbone::ResNet38(_) => 8,
        }
    }

    /// Whether training starts from random weights: then every level and the batch-norm statistics train too.
    pub fn from_scratch(self) -> bool {
        matches!(self, Backbone::Nano(_))
    }

    /// Whether `parameter` belongs to a level that stays as pretrained.
    pub fn is_frozen(self, parameter: &str) -> bool {
        let level = parameter.split('.').next().unwrap_or_default();
        matches!(self, Backbone::ResNet38(_)) && resnet38::FROZEN.contains(&level)
    }

    /// Name and width, as checkpoints record it.
    pub fn name(self) -> String {
        match self {
            Backbone::Nano(_) => "nano".into(),
            Backbone::ResNet38(b) => format!("resnet38/{}", b.divisor),
        }
    }

    /// Declares the parameters.
    pub fn declare(self, to: &mut Declarations) {
        match self {
            Backbone::Nano(b) => b.declare(to),
            Backbone::ResNet38(b) => b.declare(to),
        }
    }

    /// Images `[B, 3, H, W]`, normalised → feature maps.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        match self {
            Backbone::Nano(b) => b.forward(f, images),
            Backbone::ResNet38(b) => b.forward(f, images),
        }
    }
}
