//! VGG16 (Simonyan and Zisserman 2015) at output stride 8: the fourth pooling does not stride, the fifth level is
//! dilated by 2. Three forms, under the names of their published weights: LargeFOV (Chen et al. 2015) as AffinityNet's
//! released code has it, the poolings before it for a head that goes on from there, and three further convolutions in
//! place of the classifier, as MCIS has it.

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::layers::{Conv, Layer};
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
        /// Whether the maximum over 3x3, then the mean over 3x3, is taken before fc6 (pool5 and pool5a), as in
        /// DeepLab-LargeFOV's prototxt. AffinityNet's released code names both poolings and leaves them out.
        pooled: bool,
    },
    /// The two poolings alone, 512 channels: DeepLab-v2's head has an fc6 and fc7 for each of its branches. Caffe's names.
    Pools,
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
    /// Whether its layers have Caffe's names: fc6 follows them, here or in a head.
    pub fn has_fc6(self) -> bool {
        !matches!(self.tail, Tail::ExtraConvs)
    }

    /// Channels of the three levels that [`Self::forward`] returns: 512, 512 and 1024 (LargeFOV) or 512.
    pub fn channels(self) -> [usize; 3] {
        let last = match self.tail {
            Tail::LargeFov { .. } => 1024,
            Tail::Pools | Tail::ExtraConvs => 512,
        };
        [512, 512, last].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        self.levels().declare(to);
        self.end().declare(to);
    }

    /// Images `[B, 3, H, W]` → conv4_3, conv5_3 and the tail's output at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let pool = match self.tail {
            Tail::LargeFov { .. } | Tail::Pools => 3,
            Tail::ExtraConvs => 2,
        };
        let [first, second, third, fourth, fifth] = self.levels();
        let end = self.end();
        let [x] = f.section(images, move |f, x| [pass(f, &first, x)]);
        let next = |convs: Vec<Conv>, x| f.section(x, move |f, x| [pass(f, &convs, f.max_pool(x, pool, 2))]);
        let [x] = next(second, x);
        let [x] = next(third, x);
        let [low] = next(fourth, x);
        let [middle] = f.section(low.clone(), move |f, x| [pass(f, &fifth, f.max_pool(x, 3, 1))]);
        let [high] = f.section(middle.clone(), move |f, x| match (self.tail, &end[..]) {
            (Tail::LargeFov { pooled, .. }, [fc6, fc7]) => {
                let x = if pooled { pools(f, x) } else { x };
                let x = f.dropout(fc6.relu(f, x), DROPOUT);
                [fc7.relu(f, x)]
            }
            (Tail::Pools, _) => [pools(f, x)],
            _ => [pass(f, &end, x)],
        });
        Levels { low, middle, high }
    }

    /// The convolutions of the five levels.
    fn levels(self) -> [Vec<Conv>; 5] {
        let mut input = 3;
        [0, 1, 2, 3, 4].map(|level| {
            let (count, width) = LEVELS[level];
            let output = width / self.divisor;
            let conv = |i: usize| {
                let channels = [if i == 0 { input } else { output }, output];
                Conv::new(self.name(level, i), channels, 3)
                    .dilation(if level == 4 { 2 } else { 1 })
                    .bias()
            };
            let convs = (0..count).map(conv).collect();
            input = output;
            convs
        })
    }

    /// The convolutions of the tail.
    fn end(self) -> Vec<Conv> {
        let [_, input, output] = self.channels();
        match self.tail {
            Tail::LargeFov { dilation, .. } => vec![
                Conv::new("fc6", [input, output], 3).dilation(dilation).bias(),
                Conv::new("fc7", [output, output], 1).bias(),
            ],
            Tail::Pools => Vec::new(),
            Tail::ExtraConvs => (0..3)
                .map(|i| Conv::new(format!("{EXTRA}.{}", 2 * i), [output, output], 3).bias())
                .collect(),
        }
    }

    /// The name of convolution `i` of a level, both from 0.
    fn name(self, level: usize, i: usize) -> String {
        match self.tail {
            Tail::LargeFov { .. } | Tail::Pools => format!("conv{}_{}", level + 1, i + 1),
            Tail::ExtraConvs => {
                // torchvision counts the layers: a ReLU follows each convolution, a pooling each level.
                let before: usize = LEVELS[..level].iter().map(|(count, _)| 2 * count + 1).sum();
                format!("vgg.features.{}", before + 2 * i)
            }
        }
    }
}

/// pool5 and pool5a: the maximum over 3x3, then the mean over 3x3.
fn pools(f: &Forward, x: Tensor<4>) -> Tensor<4> {
    f.mean_pool(f.max_pool(x, 3, 1), 3)
}

/// Convolutions with a ReLU behind each.
fn pass(f: &Forward, convs: &[Conv], x: Tensor<4>) -> Tensor<4> {
    convs.iter().fold(x, |x, conv| conv.relu(f, x))
}
