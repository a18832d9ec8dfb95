//! ResNet38 (Wu et al. 2016, model A1 wide), as AffinityNet and its successors use it: output stride 8, dilated last
//! levels. Names are those of the released PyTorch checkpoints.

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::layers::{BatchNorm, Conv, Layer};
use crate::models::params::Declarations;

/// A residual block of two 3x3 convolutions: name, channels before, between and after them, stride, and their
/// dilations.
type Plan = (&'static str, [usize; 3], usize, [usize; 2]);

/// The four levels of blocks.
const LEVELS: [&[Plan]; 4] = [
    &[
        ("b2", [64, 128, 128], 2, [1, 1]),
        ("b2_1", [128, 128, 128], 1, [1, 1]),
        ("b2_2", [128, 128, 128], 1, [1, 1]),
    ],
    &[
        ("b3", [128, 256, 256], 2, [1, 1]),
        ("b3_1", [256, 256, 256], 1, [1, 1]),
        ("b3_2", [256, 256, 256], 1, [1, 1]),
    ],
    &[
        ("b4", [256, 512, 512], 2, [1, 1]),
        ("b4_1", [512, 512, 512], 1, [1, 1]),
        ("b4_2", [512, 512, 512], 1, [1, 1]),
        ("b4_3", [512, 512, 512], 1, [1, 1]),
        ("b4_4", [512, 512, 512], 1, [1, 1]),
        ("b4_5", [512, 512, 512], 1, [1, 1]),
    ],
    &[
        ("b5", [512, 512, 1024], 1, [1, 2]),
        ("b5_1", [1024, 512, 1024], 1, [2, 2]),
        ("b5_2", [1024, 512, 1024], 1, [2, 2]),
    ],
];

/// Dilation of the bottlenecks' 3x3 convolutions.
const DILATION: usize = 4;

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
        let Layers {
            conv1a,
            levels,
            b6,
            b7,
            bn7,
        } = self.layers();
        conv1a.declare(to);
        levels.declare(to);
        b6.declare(to);
        b7.declare(to);
        bn7.declare(to);
    }

    /// Images `[B, 3, H, W]` → conv4, conv5 and conv6 at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let Layers {
            conv1a,
            levels: [level2, level3, level4, level5],
            b6,
            b7,
            bn7,
        } = self.layers();
        let [x] = f.section(images, move |f, x| [pass(f, &level2, conv1a.apply(f, x)).0]);
        let [x] = f.section(x, move |f, x| [pass(f, &level3, x).0]);
        let [x] = f.section(x, move |f, x| [pass(f, &level4, x).0]);
        let [x, low] = f.section(x, move |f, x| pass(f, &level5, x).into());
        let [x, middle] = f.section(x, move |f, x| b6.forward(f, x).into());
        let [high] = f.section(x, move |f, x| [bn7.relu(f, b7.forward(f, x).0)]);
        Levels { low, middle, high }
    }

    fn layers(self) -> Layers {
        let c = |channels: usize| channels / self.divisor;
        let block = |plan: &Plan| Block::new(*plan, self.divisor);
        Layers {
            conv1a: Conv::new("conv1a", [3, c(64)], 3),
            levels: LEVELS.map(|plans| plans.iter().map(block).collect()),
            b6: Bottleneck::new("b6", [1024, 2048].map(c), 0.3),
            b7: Bottleneck::new("b7", [2048, 4096].map(c), 0.5),
            bn7: BatchNorm::new("bn7", c(4096)),
        }
    }
}

struct Layers {
    conv1a: Conv,
    levels: [Vec<Block>; 4],
    b6: Bottleneck,
    b7: Bottleneck,
    bn7: BatchNorm,
}

/// A pre-activation residual block of two 3x3 convolutions.
struct Block {
    bn_branch2a: BatchNorm,
    conv_branch2a: Conv,
    bn_branch2b1: BatchNorm,
    conv_branch2b1: Conv,
    /// In the shortcut, where size or channels change.
    conv_branch1: Option<Conv>,
}

impl Block {
    fn new((block, channels, stride, dilations): Plan, divisor: usize) -> Block {
        let [input, mid, output] = channels.map(|c| c / divisor);
        let name = |layer: &str| format!("{block}.{layer}");
        let changes = input != output || stride != 1;
        Block {
            bn_branch2a: BatchNorm::new(name("bn_branch2a"), input),
            conv_branch2a: Conv::new(name("conv_branch2a"), [input, mid], 3)
                .stride(stride)
                .dilation(dilations[0]),
            bn_branch2b1: BatchNorm::new(name("bn_branch2b1"), mid),
            conv_branch2b1: Conv::new(name("conv_branch2b1"), [mid, output], 3).dilation(dilations[1]),
            conv_branch1: changes.then(|| Conv::new(name("conv_branch1"), [input, output], 1).stride(stride)),
        }
    }

    /// The block's output and its activated input.
    fn forward(&self, f: &Forward, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let activated = self.bn_branch2a.relu(f, x.clone());
        let shortcut = match &self.conv_branch1 {
            Some(conv) => conv.apply(f, activated.clone()),
            None => x,
        };
        let y = self.conv_branch2a.apply(f, activated.clone());
        let y = self.conv_branch2b1.apply(f, self.bn_branch2b1.relu(f, y));
        (shortcut + y, activated)
    }
}

impl Layer for Block {
    fn declare(&self, to: &mut Declarations) {
        self.bn_branch2a.declare(to);
        self.conv_branch2a.declare(to);
        self.bn_branch2b1.declare(to);
        self.conv_branch2b1.declare(to);
        self.conv_branch1.declare(to);
    }
}

/// A level's output and its activated input.
fn pass(f: &Forward, blocks: &[Block], x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let Some((first, rest)) = blocks.split_first() else {
        return (x.clone(), x);
    };
    let (x, activated) = first.forward(f, x);
    let x = rest.iter().fold(x, |x, block| block.forward(f, x).0);
    (x, activated)
}

/// A pre-activation bottleneck of 1x1, 3x3 and 1x1 convolutions.
struct Bottleneck {
    bn_branch2a: BatchNorm,
    conv_branch2a: Conv,
    bn_branch2b1: BatchNorm,
    conv_branch2b1: Conv,
    bn_branch2b2: BatchNorm,
    conv_branch2b2: Conv,
    conv_branch1: Conv,
    dropout: f32,
}

impl Bottleneck {
    fn new(block: &str, [input, output]: [usize; 2], dropout: f32) -> Bottleneck {
        let name = |layer: &str| format!("{block}.{layer}");
        let [quarter, half] = [output / 4, output / 2];
        Bottleneck {
            bn_branch2a: BatchNorm::new(name("bn_branch2a"), input),
            conv_branch2a: Conv::new(name("conv_branch2a"), [input, quarter], 1),
            bn_branch2b1: BatchNorm::new(name("bn_branch2b1"), quarter),
            conv_branch2b1: Conv::new(name("conv_branch2b1"), [quarter, half], 3).dilation(DILATION),
            bn_branch2b2: BatchNorm::new(name("bn_branch2b2"), half),
            conv_branch2b2: Conv::new(name("conv_branch2b2"), [half, output], 1),
            conv_branch1: Conv::new(name("conv_branch1"), [input, output], 1),
            dropout,
        }
    }

    /// The block's output and its activated input.
    fn forward(&self, f: &Forward, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let activated = self.bn_branch2a.relu(f, x);
        let shortcut = self.conv_branch1.apply(f, activated.clone());
        let y = self.conv_branch2a.apply(f, activated.clone());
        let y = f.dropout(self.bn_branch2b1.relu(f, y), self.dropout);
        let y = self.conv_branch2b1.apply(f, y);
        let y = f.dropout(self.bn_branch2b2.relu(f, y), self.dropout);
        (shortcut + self.conv_branch2b2.apply(f, y), activated)
    }
}

impl Layer for Bottleneck {
    fn declare(&self, to: &mut Declarations) {
        self.bn_branch2a.declare(to);
        self.conv_branch2a.declare(to);
        self.bn_branch2b1.declare(to);
        self.conv_branch2b1.declare(to);
        self.bn_branch2b2.declare(to);
        self.conv_branch2b2.declare(to);
        self.conv_branch1.declare(to);
    }
}
