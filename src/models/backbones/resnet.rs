//! ResNet50 and ResNet101 (He et al., CVPR 2016) in torchvision's layout at output stride 8: the last two levels are
//! dilated by 2 and 4 instead of striding, as DeepLab has it. At 16 the last one is dilated alone, by 2.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Channels of each level's blocks; the inner convolutions have a quarter of them.
const CHANNELS: [usize; 4] = [256, 512, 1024, 2048];
/// Stride and dilations of each level at output stride 8, and at 16. A level's first block still has the dilation of the
/// level before it.
const AT_8: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (1, [1, 2]), (1, [2, 4])];
const AT_16: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (2, [1, 1]), (1, [1, 2])];

/// Number of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// ResNet50.
    Fifty,
    /// ResNet101.
    HundredOne,
}

impl Depth {
    /// Blocks of each level.
    pub fn blocks(self) -> [usize; 4] {
        match self {
            Depth::Fifty => [3, 4, 6, 3],
            Depth::HundredOne => [3, 4, 23, 3],
        }
    }
}

/// ResNet with all channel numbers divided by `divisor` (1 is the published width).
#[derive(Clone, Copy, Debug)]
pub struct ResNet {
    /// Number of layers.
    pub depth: Depth,
    /// Width divisor.
    pub divisor: usize,
    /// Pixels of the image per pixel of the last two levels: 8 or 16.
    pub output_stride: usize,
}

impl ResNet {
    /// Channels of the three levels that [`Self::forward`] returns: 512, 1024, 2048 at full width.
    pub fn channels(self) -> [usize; 3] {
        [512, 1024, 2048].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        let mut input = 64 / self.divisor;
        to.conv("conv1", 3, input, 7);
        to.batch_norm("bn1", input);
        for (level, output) in CHANNELS.into_iter().enumerate() {
            let output = output / self.divisor;
            for block in 0..self.depth.blocks()[level] {
                let name = |layer: &str| format!("layer{}.{block}.{layer}", level + 1);
                let inner = output / 4;
                for (i, from, to_channels, size) in [
                    (1, input, inner, 1),
                    (2, inner, inner, 3),
                    (3, inner, output, 1),
                ] {
                    to.conv(&name(&format!("conv{i}")), from, to_channels, size);
                    to.batch_norm(&name(&format!("bn{i}")), to_channels);
                }
                if block == 0 {
                    to.conv(&name("downsample.0"), input, output, 1);
                    to.batch_norm(&name("downsample.1"), output);
                }
                input = output;
            }
        }
    }

    /// Images `[B, 3, H, W]` → layer2 at an eighth of the size, layer3 and layer4 at 1 / `output_stride`.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let [x] = f.section(images, move |f, x| {
            let x = f.norm_relu("bn1", f.conv("conv1", x, 2, 1, false));
            [self.level(f, 0, f.max_pool(x, 3, 2))]
        });
        let level = |index, x| f.section(x, move |f, x| [self.level(f, index, x)]);
        let [low] = level(1, x);
        let [middle] = level(2, low.clone());
        let [high] = level(3, middle.clone());
        Levels { low, middle, high }
    }

    fn level(self, f: &Forward, level: usize, mut x: Tensor<4>) -> Tensor<4> {
        let levels = if self.output_stride == 16 {
            AT_16
        } else {
            AT_8
        };
        let (stride, [first, rest]) = levels[level];
        for block in 0..self.depth.blocks()[level] {
            let name = |layer: &str| format!("layer{}.{block}.{layer}", level + 1);
            let (stride, dilation) = if block == 0 {
                (stride, first)
            } else {
                (1, rest)
            };
            let y = f.conv(&name("conv1"), x.clone(), 1, 1, false);
            let y = f.norm_relu(&name("bn1"), y);
            let y = f.conv(&name("conv2"), y, stride, dilation, false);
            let y = f.norm_relu(&name("bn2"), y);
            let y = f.conv(&name("conv3"), y, 1, 1, false);
            let y = f.norm(&name("bn3"), y);
            let shortcut = if block == 0 {
                let x = f.conv(&name("downsample.0"), x, stride, 1, false);
                f.norm(&name("downsample.1"), x)
            } else {
                x
            };
            x = relu(shortcut + y);
        }
        x
    }
}
