//! ResNet38 (Wu et al. 2016, model A1 wide), as AffinityNet and its successors use it: output stride 8, dilated last
//! levels. Names are those of the released PyTorch checkpoints.

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// A pre-activation residual block of two 3x3 convolutions.
struct Block {
    name: &'static str,
    channels: [usize; 3],
    stride: usize,
    first_dilation: usize,
    dilation: usize,
}

/// A pre-activation bottleneck of 1x1, 3x3 and 1x1 convolutions.
struct Bottleneck {
    name: &'static str,
    input: usize,
    output: usize,
    dilation: usize,
    dropout: f32,
}

const fn block(name: &'static str, channels: [usize; 3], stride: usize) -> Block {
    dilated(name, channels, stride, 1, 1)
}

const fn dilated(
    name: &'static str,
    channels: [usize; 3],
    stride: usize,
    first_dilation: usize,
    dilation: usize,
) -> Block {
    Block {
        name,
        channels,
        stride,
        first_dilation,
        dilation,
    }
}

/// The four levels of blocks.
const LEVELS: [&[Block]; 4] = [
    &[
        block("b2", [64, 128, 128], 2),
        block("b2_1", [128, 128, 128], 1),
        block("b2_2", [128, 128, 128], 1),
    ],
    &[
        block("b3", [128, 256, 256], 2),
        block("b3_1", [256, 256, 256], 1),
        block("b3_2", [256, 256, 256], 1),
    ],
    &[
        block("b4", [256, 512, 512], 2),
        block("b4_1", [512, 512, 512], 1),
        block("b4_2", [512, 512, 512], 1),
        block("b4_3", [512, 512, 512], 1),
        block("b4_4", [512, 512, 512], 1),
        block("b4_5", [512, 512, 512], 1),
    ],
    &[
        dilated("b5", [512, 512, 1024], 1, 1, 2),
        dilated("b5_1", [1024, 512, 1024], 1, 2, 2),
        dilated("b5_2", [1024, 512, 1024], 1, 2, 2),
    ],
];

const BOTTLENECKS: [Bottleneck; 2] = [
    Bottleneck {
        name: "b6",
        input: 1024,
        output: 2048,
        dilation: 4,
        dropout: 0.3,
    },
    Bottleneck {
        name: "b7",
        input: 2048,
        output: 4096,
        dilation: 4,
        dropout: 0.5,
    },
];

/// Levels that stay as pretrained, as in the released training scripts.
pub const FROZEN: [&str; 4] = ["conv1a", "b2", "b2_1", "b2_2"];

/// ResNet38 with all channel numbers divided by `divisor` (1 is the published width).
#[derive(Clone, Copy, Debug)]
pub struct ResNet38 {
    /// Width divisor: 1, 2, 4, 8, 16 or 32, which keep all channel numbers whole.
    pub divisor: usize,
}

impl ResNet38 {
    /// Channels of the three levels that [`Self::forward`] returns: 512, 1024, 4096 at full width.
    pub fn channels(self) -> [usize; 3] {
        [512, 1024, 4096].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        let c = |channels: usize| channels / self.divisor;
        to.conv("conv1a", 3, c(64), 3);
        for b in LEVELS.into_iter().flatten() {
            let [input, mid, output] = b.channels.map(c);
            let name = |layer: &str| format!("{}.{layer}", b.name);
            to.batch_norm(&name("bn_branch2a"), input);
            to.conv(&name("conv_branch2a"), input, mid, 3);
            to.batch_norm(&name("bn_branch2b1"), mid);
            to.conv(&name("conv_branch2b1"), mid, output, 3);
            if input != output || b.stride != 1 {
                to.conv(&name("conv_branch1"), input, output, 1);
            }
        }
        for b in &BOTTLENECKS {
            let name = |layer: &str| format!("{}.{layer}", b.name);
            let (input, output) = (c(b.input), c(b.output));
            to.batch_norm(&name("bn_branch2a"), input);
            to.conv(&name("conv_branch2a"), input, output / 4, 1);
            to.batch_norm(&name("bn_branch2b1"), output / 4);
            to.conv(&name("conv_branch2b1"), output / 4, output / 2, 3);
            to.batch_norm(&name("bn_branch2b2"), output / 2);
            to.conv(&name("conv_branch2b2"), output / 2, output, 1);
            to.conv(&name("conv_branch1"), input, output, 1);
        }
        to.batch_norm("bn7", c(4096));
    }

    /// Images `[B, 3, H, W]` → conv4, conv5 and conv6 at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let [x] = f.section(images, |f, x| {
            let x = f.conv("conv1a", x, 1, 1, false);
            [level(f, 0, x).0]
        });
        let [x] = f.section(x, |f, x| [level(f, 1, x).0]);
        let [x] = f.section(x, |f, x| [level(f, 2, x).0]);
        let [x, low] = f.section(x, |f, x| level(f, 3, x).into());
        let [x, middle] = f.section(x, |f, x| BOTTLENECKS[0].forward(f, x).into());
        let [high] = f.section(x, |f, x| {
            let (x, _) = BOTTLENECKS[1].forward(f, x);
            [f.norm_relu("bn7", x)]
        });
        Levels { low, middle, high }
    }
}

/// A level's output and its activated input.
fn level(f: &Forward, index: usize, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let [first, rest @ ..] = LEVELS[index] else {
        return (x.clone(), x);
    };
    let (x, activated) = first.forward(f, x);
    let x = rest.iter().fold(x, |x, block| block.forward(f, x).0);
    (x, activated)
}

impl Block {
    /// The block's output and its activated input.
    fn forward(&self, f: &Forward, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let name = |layer: &str| format!("{}.{layer}", self.name);
        let activated = f.norm_relu(&name("bn_branch2a"), x.clone());
        let [input, _, output] = self.channels;
        let shortcut = if input != output || self.stride != 1 {
            f.conv(
                &name("conv_branch1"),
                activated.clone(),
                self.stride,
                1,
                false,
            )
        } else {
            x
        };
        let y = f.conv(
            &name("conv_branch2a"),
            activated.clone(),
            self.stride,
            self.first_dilation,
            false,
        );
        let y = f.norm_relu(&name("bn_branch2b1"), y);
        let y = f.conv(&name("conv_branch2b1"), y, 1, self.dilation, false);
        (shortcut + y, activated)
    }
}

impl Bottleneck {
    /// The block's output and its activated input.
    fn forward(&self, f: &Forward, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let name = |layer: &str| format!("{}.{layer}", self.name);
        let activated = f.norm_relu(&name("bn_branch2a"), x);
        let shortcut = f.conv(&name("conv_branch1"), activated.clone(), 1, 1, false);
        let y = f.conv(&name("conv_branch2a"), activated.clone(), 1, 1, false);
        let y = f.dropout(f.norm_relu(&name("bn_branch2b1"), y), self.dropout);
        let y = f.conv(&name("conv_branch2b1"), y, 1, self.dilation, false);
        let y = f.dropout(f.norm_relu(&name("bn_branch2b2"), y), self.dropout);
        let y = f.conv(&name("conv_branch2b2"), y, 1, 1, false);
        (shortcut + y, activated)
    }
}
