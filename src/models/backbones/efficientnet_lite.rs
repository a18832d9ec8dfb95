//! EfficientNet-Lite (Tan and Le 2019; the Lite form of the authors' `efficientnet_lite_builder.py`): inverted
//! bottlenecks without squeeze-and-excite, ReLU6, TensorFlow's `SAME` padding. Names are those of the published PyTorch
//! weights.

use std::ops::Range;

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::layers::{ConvNorm, Layer};
use crate::models::params::Declarations;

/// Kernel, stride, expansion, channels and blocks of each stage at width and depth 1.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
];
/// Channels of stem and head, which the Lite form leaves as they are at every width.
const STEM: usize = 32;
const HEAD: usize = 1280;
/// Epsilon of its batch norms.
const EPSILON: f64 = 1e-3;
const RELU6: Option<f32> = Some(6.0);
/// The last stages of the lower two levels; the head is the third.
const LOW: usize = 2;
const MIDDLE: usize = 4;
/// Standard deviations of Lite0's levels with the published weights, over the values of 40 photographs (ours,
/// measured): what heads that join levels divide them by, since the first are ten times as large as the last.
pub const DEVIATIONS: [f32; 3] = [7.4, 6.4, 0.73];
/// Blocks of the stages that stay as pretrained, with the stem: what they see is edges and textures, of photographs as
/// of ImageNet, and a training step takes half as long without their gradients.
const FROZEN_STAGES: usize = 3;

/// How wide and deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// EfficientNet-Lite0.
    Lite0,
    /// EfficientNet-Lite1.
    Lite1,
    /// EfficientNet-Lite2.
    Lite2,
}

impl Size {
    /// All of them by the names of their backbones.
    pub const ALL: [(&str, Size); 3] = [
        ("efficientnet_lite0", Size::Lite0),
        ("efficientnet_lite1", Size::Lite1),
        ("efficientnet_lite2", Size::Lite2),
    ];

    /// Factors on channels and blocks.
    fn factors(self) -> (f64, f64) {
        match self {
            Size::Lite0 => (1.0, 1.0),
            Size::Lite1 => (1.0, 1.1),
            Size::Lite2 => (1.1, 1.2),
        }
    }
}

/// EfficientNet-Lite at an output stride.
#[derive(Clone, Copy, Debug)]
pub struct EfficientNetLite {
    /// Width and depth.
    pub size: Size,
    /// Pixels of the image per pixel of the last level: 8 or 16.
    pub output_stride: usize,
}

/// One inverted bottleneck.
struct Block {
    name: String,
    kernel: usize,
    stride: usize,
    dilation: usize,
    input: usize,
    inner: usize,
    output: usize,
}

impl EfficientNetLite {
    /// Channels of the three levels that [`Self::forward`] returns: 40, 112, 1280 for Lite0.
    pub fn channels(self) -> [usize; 3] {
        [self.width(LOW), self.width(MIDDLE), HEAD]
    }

    fn width(self, stage: usize) -> usize {
        let (factor, _) = self.size.factors();
        let wanted = STAGES[stage].3 as f64 * factor;
        // As the authors' `round_filters`: to a multiple of 8 that is at most a tenth smaller.
        let rounded = ((wanted + 4.0) as usize / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * wanted {
            rounded + 8
        } else {
            rounded
        }
    }

    fn depth(self, stage: usize) -> usize {
        let blocks = STAGES[stage].4;
        if stage == 0 || stage == STAGES.len() - 1 {
            return blocks;
        }
        let (_, factor) = self.size.factors();
        (blocks as f64 * factor).ceil() as usize
    }

    /// The blocks of each stage.
    fn stages(self) -> Vec<Vec<Block>> {
        let mut stages = Vec::new();
        let (mut count, mut input) = (0, STEM);
        let (mut reached, mut dilation) = (2, 1);
        for (i, (kernel, stride, expansion, _, _)) in STAGES.into_iter().enumerate() {
            // A stage that loses its stride dilates all blocks but its first, as torchvision does.
            let before = dilation;
            let stride = if reached * stride > self.output_stride {
                dilation *= stride;
                1
            } else {
                reached *= stride;
                stride
            };
            let mut blocks = Vec::new();
            for block in 0..self.depth(i) {
                let output = self.width(i);
                blocks.push(Block {
                    name: format!("_blocks.{count}"),
                    kernel,
                    stride: if block == 0 { stride } else { 1 },
                    dilation: if block == 0 { before } else { dilation },
                    input,
                    inner: input * expansion,
                    output,
                });
                input = output;
                count += 1;
            }
            stages.push(blocks);
        }
        stages
    }

    /// Layers that stay as pretrained.
    pub fn frozen(self) -> Vec<String> {
        let blocks = self.stages().into_iter().take(FROZEN_STAGES).flatten();
        let stem = self.stem().names().map(str::to_owned);
        stem.into_iter().chain(blocks.map(|b| b.name)).collect()
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        self.stem().declare(to);
        for block in self.stages().iter().flatten() {
            block.layers().declare(to);
        }
        self.head().declare(to);
    }

    fn stem(self) -> ConvNorm {
        conv_norm(["_conv_stem", "_bn0"].map(str::to_owned), [3, STEM], 3)
    }

    fn head(self) -> ConvNorm {
        let input = self.width(STAGES.len() - 1);
        conv_norm(["_conv_head", "_bn1"].map(str::to_owned), [input, HEAD], 1)
    }

    /// Images `[B, 3, H, W]` → stages 2 and 4 and the head, at 1/8, 1/`output_stride` and 1/`output_stride` of the
    /// size, rounded up. The first two are linear, the last is activated.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let [low] = f.section(images, move |f, x| {
            let x = self.stem().full(f, x, 2, RELU6);
            [self.pass(f, x, 0..LOW + 1)]
        });
        let [middle] = f.section(low.clone(), move |f, x| [self.pass(f, x, LOW + 1..MIDDLE + 1)]);
        let [high] = f.section(middle.clone(), move |f, x| {
            let x = self.pass(f, x, MIDDLE + 1..STAGES.len());
            [self.head().pointwise(f, x, RELU6)]
        });
        Levels { low, middle, high }
    }

    fn pass(self, f: &Forward, mut x: Tensor<4>, stages: Range<usize>) -> Tensor<4> {
        for block in self.stages()[stages].iter().flatten() {
            x = block.forward(f, x);
        }
        x
    }
}

fn conv_norm(names: [String; 2], channels: [usize; 2], size: usize) -> ConvNorm {
    ConvNorm::new(names, channels, size, EPSILON)
}

/// The layers of a block.
struct Layers {
    /// Where there is more to work on than comes in.
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
}

impl Layer for Layers {
    fn declare(&self, to: &mut Declarations) {
        self.expand.declare(to);
        self.depthwise.declare(to);
        self.project.declare(to);
    }
}

impl Block {
    fn layers(&self) -> Layers {
        let (input, inner, output) = (self.input, self.inner, self.output);
        let layer =
            |names: [&str; 2], channels, size| conv_norm(names.map(|n| format!("{}.{n}", self.name)), channels, size);
        Layers {
            expand: (inner != input).then(|| layer(["_expand_conv", "_bn0"], [input, inner], 1)),
            depthwise: layer(["_depthwise_conv", "_bn1"], [1, inner], self.kernel),
            project: layer(["_project_conv", "_bn2"], [inner, output], 1),
        }
    }

    fn forward(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        let layers = self.layers();
        let y = match &layers.expand {
            Some(expand) => expand.pointwise(f, x.clone(), RELU6),
            None => x.clone(),
        };
        let y = layers.depthwise.depthwise(f, y, [self.stride, self.dilation], RELU6);
        let y = layers.project.pointwise(f, y, None);
        if self.stride == 1 && self.input == self.output {
            y + x
        } else {
            y
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_authors() {
        let sizes = |size| {
            let net = EfficientNetLite {
                size,
                output_stride: 16,
            };
            let widths: Vec<usize> = (0..STAGES.len()).map(|i| net.width(i)).collect();
            let depths: Vec<usize> = (0..STAGES.len()).map(|i| net.depth(i)).collect();
            (widths, depths)
        };
        let (widths, depths) = sizes(Size::Lite1);
        assert_eq!(widths, [16, 24, 40, 80, 112, 192, 320]);
        assert_eq!(depths, [1, 3, 3, 4, 4, 5, 1]);
        let (widths, depths) = sizes(Size::Lite2);
        assert_eq!(widths, [16, 24, 48, 88, 120, 208, 352]);
        assert_eq!(depths, [1, 3, 3, 4, 4, 5, 1]);
    }

    #[test]
    fn a_stage_that_loses_its_stride_begins_with_the_dilation_before_it() {
        let dilations = |output_stride| -> Vec<Vec<usize>> {
            let net = EfficientNetLite {
                size: Size::Lite0,
                output_stride,
            };
            let stages = net.stages().into_iter().skip(3);
            stages
                .map(|blocks| blocks.iter().map(|b| b.dilation).collect())
                .collect()
        };
        let sixteen: [&[usize]; 4] = [&[1, 1, 1], &[1, 1, 1], &[1, 2, 2, 2], &[2]];
        assert_eq!(dilations(16), sixteen);
        let eight: [&[usize]; 4] = [&[1, 2, 2], &[2, 2, 2], &[2, 4, 4, 4], &[4]];
        assert_eq!(dilations(8), eight);
    }
}
