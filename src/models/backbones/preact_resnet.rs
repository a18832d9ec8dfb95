//! Pre-activation ResNet50 and ResNet101 (He et al., ECCV 2016) at output stride 8, as CIAN uses them: the last two
//! levels are dilated by 2 and 4 instead of striding. Names are those of the weights published for MXNet; the input is
//! RGB in 0..255, which the first batch norm takes care of.

use burn::tensor::Tensor;

use super::Levels;
use super::resnet::Depth;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Channels, stride and dilation of each level's units; the inner convolutions have a quarter of the channels.
const LEVELS: [(usize, usize, usize); 4] = [(256, 1, 1), (512, 2, 1), (1024, 1, 2), (2048, 1, 4)];

/// Pre-activation ResNet with all channel numbers divided by `divisor` (1 is the published width).
#[derive(Clone, Copy, Debug)]
pub struct PreactResNet {
    /// Number of layers.
    pub depth: Depth,
    /// Width divisor.
    pub divisor: usize,
}

impl PreactResNet {
    /// Channels of the three levels that [`Self::forward`] returns: 512, 1024, 2048 at full width.
    pub fn channels(self) -> [usize; 3] {
        [512, 1024, 2048].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        let mut input = 64 / self.divisor;
        to.batch_norm("bn_data_", 3);
        to.conv("conv0_", 3, input, 7);
        to.batch_norm("bn0_", input);
        for (level, (output, _, _)) in LEVELS.into_iter().enumerate() {
            let output = output / self.divisor;
            let inner = output / 4;
            for unit in 0..self.depth.blocks()[level] {
                let name = name(level, unit);
                to.batch_norm(&name("bn1"), input);
                if unit == 0 {
                    to.conv(&name("sc"), input, output, 1);
                }
                to.conv(&name("conv1"), input, inner, 1);
                to.batch_norm(&name("bn2"), inner);
                to.conv(&name("conv2"), inner, inner, 3);
                to.batch_norm(&name("bn3"), inner);
                to.conv(&name("conv3"), inner, output, 1);
                input = output;
            }
        }
        to.batch_norm("bn1_", input);
    }

    /// Images `[B, 3, H, W]` → the activated outputs of stages 2, 3 and 4 at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let [x] = f.section(images, move |f, x| {
            let x = f.conv("conv0_", f.unscaled_norm("bn_data_", x), 2, 1, false);
            let x = f.max_pool(f.norm_relu("bn0_", x), 3, 2);
            [self.level(f, 0, x).0]
        });
        let [x] = f.section(x, move |f, x| [self.level(f, 1, x).0]);
        let [x, low] = f.section(x, move |f, x| self.level(f, 2, x).into());
        let [x, middle] = f.section(x, move |f, x| self.level(f, 3, x).into());
        let [high] = f.section(x, |f, x| [f.norm_relu("bn1_", x)]);
        Levels { low, middle, high }
    }

    /// The level's output and its activated input.
    fn level(self, f: &Forward, level: usize, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let (_, stride, dilation) = LEVELS[level];
        let activated = f.norm_relu(&name(level, 0)("bn1"), x);
        let shortcut = f.conv(&name(level, 0)("sc"), activated.clone(), stride, 1, false);
        let mut x = shortcut + residual(f, level, 0, activated.clone(), stride, dilation);
        for unit in 1..self.depth.blocks()[level] {
            let y = f.norm_relu(&name(level, unit)("bn1"), x.clone());
            x = x + residual(f, level, unit, y, 1, dilation);
        }
        (x, activated)
    }
}

/// A unit's three convolutions on its activated input.
fn residual(
    f: &Forward,
    level: usize,
    unit: usize,
    x: Tensor<4>,
    stride: usize,
    dilation: usize,
) -> Tensor<4> {
    let name = name(level, unit);
    let x = f.conv(&name("conv1"), x, 1, 1, false);
    let x = f.norm_relu(&name("bn2"), x);
    let x = f.conv(&name("conv2"), x, stride, dilation, false);
    let x = f.norm_relu(&name("bn3"), x);
    f.conv(&name("conv3"), x, 1, 1, false)
}

/// Names of the layers of a unit, level and unit from 0.
fn name(level: usize, unit: usize) -> impl Fn(&str) -> String {
    move |layer| format!("stage{}_unit{}_{layer}_", level + 1, unit + 1)
}
