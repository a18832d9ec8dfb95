//! The segmentation head, in the form that goes with each backbone: dilated convolutions on the last level, whose field
//! of view is large (DeepLab-LargeFOV, Chen et al. 2015), or a decoder that joins the first level for its finer grid
//! (DeepLab-v3+, Chen et al. 2018), of depthwise and pointwise convolutions.

use burn::tensor::Tensor;

use crate::models::backbones::vgg16::Tail;
use crate::models::backbones::{Backbone, Levels};
use crate::models::forward::Forward;
use crate::models::params::Declarations;
use crate::models::resize::resize;

/// ResNet38's two 3x3 convolutions (AffinityNet Sec. 4.3), as the released checkpoints of RRM call them.
const TWO: [&str; 2] = ["fc8_seg_conv1", "fc8_seg_conv2"];
/// The single convolution: of the ResNets, of the pre-activation ResNets (CIAN), and of VGG16 behind fc6 and fc7.
pub const ONE: [&str; 3] = ["classifier", "fc1_", "fc8_seg"];
/// The decoder's layers: what reduces the last and the first level, what joins them, and the scores.
const DECODER: [&str; 5] = [
    "decoder_high",
    "decoder_low",
    "decoder_depthwise",
    "decoder_pointwise",
    "decoder_scores",
];
/// Channels of the decoder: of the reduced last level, the reduced first, and what it gives.
const DECODED: [usize; 3] = [128, 32, 128];
/// All layers of this head.
pub const LAYERS: [&str; 10] = [
    TWO[0], TWO[1], ONE[0], ONE[1], ONE[2], DECODER[0], DECODER[1], DECODER[2], DECODER[3], DECODER[4],
];
/// The layers that give the scores.
pub const LAST: [&str; 5] = [TWO[1], ONE[0], ONE[1], ONE[2], DECODER[4]];
/// Dilation of the 3x3 convolutions.
pub const DILATION: usize = 12;
const DROPOUT: f32 = 0.5;

/// What the head is made of.
enum Shape {
    /// Two 3x3 convolutions.
    Two { hidden: usize, dilation: usize },
    /// One convolution.
    One { layer: &'static str, size: usize },
    /// The decoder.
    Decoder,
}

fn shape(backbone: Backbone) -> Shape {
    match backbone {
        Backbone::Nano(_) => Shape::Two {
            hidden: 64,
            dilation: 4,
        },
        Backbone::EfficientNetLite(_) => Shape::Decoder,
        Backbone::ResNet38(b) => Shape::Two {
            hidden: 512 / b.divisor,
            dilation: DILATION,
        },
        // The field of view is fc6's.
        Backbone::Vgg16(b) if matches!(b.tail, Tail::LargeFov { .. }) => Shape::One { layer: ONE[2], size: 1 },
        Backbone::Vgg16(_) | Backbone::ResNet(_) => Shape::One { layer: ONE[0], size: 3 },
        Backbone::PreactResNet(_) => Shape::One { layer: ONE[1], size: 3 },
    }
}

/// Channels of what [`embedding`] gives.
pub fn embedding_channels(backbone: Backbone) -> usize {
    match shape(backbone) {
        Shape::Two { hidden, .. } => hidden,
        Shape::One { .. } => backbone.channels()[2],
        Shape::Decoder => DECODED[2],
    }
}

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let input = backbone.channels()[2];
    let mut conv = |layer: &str, input, output, size| {
        to.conv(layer, input, output, size);
        to.bias(layer, output);
    };
    match shape(backbone) {
        Shape::Two { hidden, .. } => {
            conv(TWO[0], input, hidden, 3);
            conv(TWO[1], hidden, classes, 3);
        }
        Shape::One { layer, size } => conv(layer, input, classes, size),
        Shape::Decoder => {
            let joined = DECODED[0] + DECODED[1];
            conv(DECODER[0], input, DECODED[0], 1);
            conv(DECODER[1], backbone.channels()[0], DECODED[1], 1);
            conv(DECODER[3], joined, DECODED[2], 1);
            conv(DECODER[4], DECODED[2], classes, 1);
            to.conv(DECODER[2], 1, joined, 3);
            to.bias(DECODER[2], joined);
        }
    }
}

/// The backbone's levels → what the last layer sees `[B, D, h, w]`: hidden features, at least 0, 512 channels for ResNet38;
/// the features themselves in heads of one layer; in the decoder, at the size of the first level.
pub fn embedding(f: &Forward, backbone: Backbone, levels: Levels) -> Tensor<4> {
    match shape(backbone) {
        Shape::Two { dilation, .. } => f.conv_relu(TWO[0], levels.high, dilation),
        Shape::One { .. } => levels.high,
        Shape::Decoder => {
            let [low, _, high] = backbone.deviations();
            let [_, _, h, w] = levels.low.dims();
            let ceiling = Some(6.0);
            // Reduced before it is enlarged: the same to the eye, and a fortieth of the work.
            let high = f.pointwise(DECODER[0], levels.high / high, ceiling);
            let low = f.pointwise(DECODER[1], levels.low / low, ceiling);
            let x = Tensor::cat(vec![resize(high, [h, w]), low], 1);
            f.pointwise(DECODER[3], f.depthwise(DECODER[2], x, ceiling), ceiling)
        }
    }
}

/// What [`embedding`] gave → scores `[B, C + 1, h, w]`, background first, before softmax.
pub fn scores(f: &Forward, backbone: Backbone, embedding: Tensor<4>) -> Tensor<4> {
    match shape(backbone) {
        // No dropout between the two, as in RRM's released code.
        Shape::Two { dilation, .. } => f.conv(TWO[1], embedding, 1, dilation, true),
        // DeepLab-LargeFOV's drop7.
        Shape::One { layer, size: 1 } => f.conv(layer, f.dropout(embedding, DROPOUT), 1, DILATION, true),
        Shape::One { layer, .. } => f.conv(layer, embedding, 1, DILATION, true),
        Shape::Decoder => f.pointwise(DECODER[4], embedding, None),
    }
}
