//! ResNet50 and ResNet101 (He et al., CVPR 2016) in torchvision's layout at output stride 8: the last two levels are
//! dilated by 2 and 4 instead of striding, as DeepLab has it. At 16 the last one is dilated alone, by 2. In Caffe's style
//! ResNet101 is the one that DeepLab-v2 was published with (train.prototxt): a level strides in its first 1x1 convolution,
//! and all of its blocks have one dilation.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::layers::{BatchNorm, Conv, Layer};
use crate::models::params::Declarations;

/// Channels of each level's blocks; the inner convolutions have a quarter of them.
const CHANNELS: [usize; 4] = [256, 512, 1024, 2048];
/// Stride and dilations of each level at output stride 8, and at 16. A level's first block still has the dilation of
/// the level before it.
const AT_8: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (1, [1, 2]), (1, [2, 4])];
const AT_16: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (2, [1, 1]), (1, [1, 2])];

/// The same in Caffe's style.
const CAFFE_AT_8: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (1, [2, 2]), (1, [4, 4])];
const CAFFE_AT_16: [(usize, [usize; 2]); 4] = [(1, [1, 1]), (2, [1, 1]), (2, [1, 1]), (1, [2, 2])];

/// Where a level strides, and from which block on it is dilated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In its first 3x3 convolution; its first block still has the dilation of the level before it.
    Torchvision,
    /// In its first 1x1 convolution; all of its blocks are dilated.
    Caffe,
}

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
    /// Where it strides and dilates.
    pub style: Style,
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
        let Layers { conv1, bn1, levels } = self.layers();
        conv1.declare(to);
        bn1.declare(to);
        levels.declare(to);
    }

    /// Images `[B, 3, H, W]` → layer2 at an eighth of the size, layer3 and layer4 at 1 / `output_stride`.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let Layers { conv1, bn1, levels } = self.layers();
        let [layer1, layer2, layer3, layer4] = levels;
        let [x] = f.section(images, move |f, x| {
            let x = bn1.relu(f, conv1.apply(f, x));
            [pass(f, &layer1, f.max_pool(x, 3, 2))]
        });
        let [low] = f.section(x, move |f, x| [pass(f, &layer2, x)]);
        let [middle] = f.section(low.clone(), move |f, x| [pass(f, &layer3, x)]);
        let [high] = f.section(middle.clone(), move |f, x| [pass(f, &layer4, x)]);
        Levels { low, middle, high }
    }

    fn layers(self) -> Layers {
        let stem = 64 / self.divisor;
        Layers {
            conv1: Conv::new("conv1", [3, stem], 7).stride(2),
            bn1: BatchNorm::new("bn1", stem),
            levels: [0, 1, 2, 3].map(|level| self.level(level)),
        }
    }

    /// A level's stride, in the first and in the second convolution of its first block.
    fn strides(self, stride: usize) -> [usize; 2] {
        match self.style {
            Style::Torchvision => [1, stride],
            Style::Caffe => [stride, 1],
        }
    }

    /// The blocks of a level, from 0.
    fn level(self, level: usize) -> Vec<Block> {
        let steps = match (self.style, self.output_stride) {
            (Style::Torchvision, 16) => AT_16,
            (Style::Torchvision, _) => AT_8,
            (Style::Caffe, 16) => CAFFE_AT_16,
            (Style::Caffe, _) => CAFFE_AT_8,
        };
        let (stride, [first, rest]) = steps[level];
        let output = CHANNELS[level] / self.divisor;
        let input = match level.checked_sub(1) {
            Some(before) => CHANNELS[before],
            None => 64,
        } / self.divisor;
        let block = |block: usize| {
            let name = |layer: &str| format!("layer{}.{block}.{layer}", level + 1);
            if block == 0 {
                Block::new(name, [input, output], self.strides(stride), first)
            } else {
                Block::new(name, [output, output], [1, 1], rest)
            }
        };
        (0..self.depth.blocks()[level]).map(block).collect()
    }
}

struct Layers {
    conv1: Conv,
    bn1: BatchNorm,
    levels: [Vec<Block>; 4],
}

/// A bottleneck of 1x1, 3x3 and 1x1 convolutions, each with its batch norm; the level's first has a convolution in its
/// shortcut.
struct Block {
    convs: [(Conv, BatchNorm); 3],
    downsample: Option<(Conv, BatchNorm)>,
}

impl Block {
    fn new(name: impl Fn(&str) -> String, [input, output]: [usize; 2], strides: [usize; 2], dilation: usize) -> Block {
        let inner = output / 4;
        let pair = |[conv, norm]: [&str; 2], channels: [usize; 2], size| {
            (
                Conv::new(name(conv), channels, size),
                BatchNorm::new(name(norm), channels[1]),
            )
        };
        let (conv1, bn1) = pair(["conv1", "bn1"], [input, inner], 1);
        let (conv2, bn2) = pair(["conv2", "bn2"], [inner, inner], 3);
        Block {
            convs: [
                (conv1.stride(strides[0]), bn1),
                (conv2.stride(strides[1]).dilation(dilation), bn2),
                pair(["conv3", "bn3"], [inner, output], 1),
            ],
            downsample: (input != output).then(|| {
                let (conv, norm) = pair(["downsample.0", "downsample.1"], [input, output], 1);
                (conv.stride(strides[0] * strides[1]), norm)
            }),
        }
    }

    fn forward(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        let [(conv1, bn1), (conv2, bn2), (conv3, bn3)] = &self.convs;
        let y = bn1.relu(f, conv1.apply(f, x.clone()));
        let y = bn2.relu(f, conv2.apply(f, y));
        let y = bn3.apply(f, conv3.apply(f, y));
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.apply(f, conv.apply(f, x)),
            None => x,
        };
        relu(shortcut + y)
    }
}

impl Layer for Block {
    fn declare(&self, to: &mut Declarations) {
        for (conv, norm) in self.convs.iter().chain(&self.downsample) {
            conv.declare(to);
            norm.declare(to);
        }
    }
}

fn pass(f: &Forward, blocks: &[Block], x: Tensor<4>) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| block.forward(f, x))
}
