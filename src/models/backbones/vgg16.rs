//! VGG16 (Simonyan and Zisserman 2015) at output stride 8: the fourth pooling does not stride, the fifth level is
//! dilated by 2. Two forms, under the names of their published weights: LargeFOV (Chen et al. 2015) as AffinityNet's
//! released code has it, and three further convolutions in place of the classifier, as MCIS has it.

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Number of convolutions and channels of each level.
const LEVELS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// Levels of the LargeFOV form that stay as pretrained, as in AffinityNet's released training script.
pub const FROZEN: [&str; 4] = ["conv1_1", "conv1_2", "conv2_1", "conv2_2"];
/// The convolutions that [`Tail::ExtraConvs`] adds.
pub const EXTRA: &str = "vgg.extra_convs";
const DROPOUT: f32 = 0.5;

/// What follows the five levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// fc6 as a 3x3 convolution and fc7 as 1x1, 1024 channels each; poolings over 3x3; Caffe's names (`conv1_1`).
    LargeFov {
        /// Dilation of fc6.
        dilation: usize,
    },
    /// Three 3x3 convolutions of 512 channels; poolings over 2x2; torchvision's names under `vgg.` (`vgg.features.0`).
    ExtraConvs,
}

/// VGG16 with all channel numbers divided by `divisor` (1 is the published width).
#[derive(Clone, Copy, Debug)]
pub struct Vgg16 {
    /// Width divisor.
    pub divisor: usize,
    /// What follows the five levels.
    pub tail: Tail,
}

impl Vgg16 {
    /// Channels of the three levels that [`Self::forward`] returns: 512, 512 and 1024 (LargeFOV) or 512.
    pub fn channels(self) -> [usize; 3] {
        let last = match self.tail {
            Tail::LargeFov { .. } => 1024,
            Tail::ExtraConvs => 512,
        };
        [512, 512, last].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        let [_, input, output] = self.channels();
        let mut channels = 3;
        let mut conv = |name: &str, input, output, size| {
            to.conv(name, input, output, size);
            to.bias(name, output);
        };
        for (level, (count, width)) in LEVELS.into_iter().enumerate() {
            for i in 0..count {
                conv(&self.layer(level, i), channels, width / self.divisor, 3);
                channels = width / self.divisor;
            }
        }
        match self.tail {
            Tail::LargeFov { .. } => {
                conv("fc6", input, output, 3);
                conv("fc7", output, output, 1);
            }
            Tail::ExtraConvs => {
                for i in 0..3 {
                    conv(&extra(i), output, output, 3);
                }
            }
        }
    }

    /// Images `[B, 3, H, W]` → conv4_3, conv5_3 and the tail's output at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let pool = match self.tail {
            Tail::LargeFov { .. } => 3,
            Tail::ExtraConvs => 2,
        };
        let [x] = f.section(images, move |f, x| [self.level(f, 0, x, 1)]);
        let next = |index, x| {
            f.section(x, move |f, x| {
                [self.level(f, index, f.max_pool(x, pool, 2), 1)]
            })
        };
        let [x] = next(1, x);
        let [x] = next(2, x);
        let [low] = next(3, x);
        let [middle] = f.section(low.clone(), move |f, x| {
            [self.level(f, 4, f.max_pool(x, 3, 1), 2)]
        });
        let [high] = f.section(middle.clone(), move |f, x| [self.end(f, x)]);
        Levels { low, middle, high }
    }

    fn level(self, f: &Forward, index: usize, x: Tensor<4>, dilation: usize) -> Tensor<4> {
        (0..LEVELS[index].0).fold(x, |x, i| f.conv_relu(&self.layer(index, i), x, dilation))
    }

    fn end(self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        match self.tail {
            Tail::LargeFov { dilation } => {
                let x = f.dropout(f.conv_relu("fc6", x, dilation), DROPOUT);
                f.conv_relu("fc7", x, 1)
            }
            Tail::ExtraConvs => (0..3).fold(x, |x, i| f.conv_relu(&extra(i), x, 1)),
        }
    }

    /// The name of convolution `i` of a level, both from 0.
    fn layer(self, level: usize, i: usize) -> String {
        match self.tail {
            Tail::LargeFov { .. } => format!("conv{}_{}", level + 1, i + 1),
            Tail::ExtraConvs => {
                // torchvision counts the layers: a ReLU follows each convolution, a pooling each level.
                let before: usize = LEVELS[..level].iter().map(|(count, _)| 2 * count + 1).sum();
                format!("vgg.features.{}", before + 2 * i)
            }
        }
    }
}

fn extra(i: usize) -> String {
    format!("{EXTRA}.{}", 2 * i)
}
