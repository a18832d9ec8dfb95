//! The segmentation head, in the form that goes with each backbone: dilated convolutions on the last level, whose field
//! of view is large (DeepLab-LargeFOV, Chen et al. 2015).

use burn::tensor::Tensor;

use crate::models::backbones::Backbone;
use crate::models::backbones::vgg16::Tail;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// ResNet38's two 3x3 convolutions (AffinityNet Sec. 4.3), as the released checkpoints of RRM call them.
const TWO: [&str; 2] = ["fc8_seg_conv1", "fc8_seg_conv2"];
/// The single convolution: of the ResNets, of the pre-activation ResNets (CIAN), and of VGG16 behind fc6 and fc7.
pub const ONE: [&str; 3] = ["classifier", "fc1_", "fc8_seg"];
/// All layers of this head.
pub const LAYERS: [&str; 5] = [TWO[0], TWO[1], ONE[0], ONE[1], ONE[2]];
/// The layers that give the scores.
pub const LAST: [&str; 4] = [TWO[1], ONE[0], ONE[1], ONE[2]];
/// Dilation of the 3x3 convolutions.
pub const DILATION: usize = 12;
const DROPOUT: f32 = 0.5;

/// What the head is made of.
enum Shape {
    /// Two 3x3 convolutions.
    Two { hidden: usize, dilation: usize },
    /// One convolution.
    One { layer: &'static str, size: usize },
}

fn shape(backbone: Backbone) -> Shape {
    match backbone {
        Backbone::Nano(_) => Shape::Two {
            hidden: 64,
            dilation: 4,
        },
        Backbone::ResNet38(b) => Shape::Two {
            hidden: 512 / b.divisor,
            dilation: DILATION,
        },
        // The field of view is fc6's.
        Backbone::Vgg16(b) if matches!(b.tail, Tail::LargeFov { .. }) => Shape::One {
            layer: ONE[2],
            size: 1,
        },
        Backbone::Vgg16(_) | Backbone::ResNet(_) => Shape::One {
            layer: ONE[0],
            size: 3,
        },
        Backbone::PreactResNet(_) => Shape::One {
            layer: ONE[1],
            size: 3,
        },
    }
}

/// Channels of what [`embedding`] gives.
pub fn embedding_channels(backbone: Backbone) -> usize {
    match shape(backbone) {
        Shape::Two { hidden, .. } => hidden,
        Shape::One { .. } => backbone.channels()[2],
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
    }
}

/// Features `[B, D, h, w]` → what the last layer sees: hidden features, at least 0, 512 channels for ResNet38; the
/// features themselves in heads of one layer.
pub fn embedding(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    match shape(backbone) {
        Shape::Two { dilation, .. } => f.conv_relu(TWO[0], features, dilation),
        Shape::One { .. } => features,
    }
}

/// What [`embedding`] gave → scores `[B, C + 1, h, w]`, background first, before softmax.
pub fn scores(f: &Forward, backbone: Backbone, embedding: Tensor<4>) -> Tensor<4> {
    match shape(backbone) {
        Shape::Two { dilation, .. } => {
            f.conv(TWO[1], f.dropout(embedding, DROPOUT), 1, dilation, true)
        }
        Shape::One { layer, .. } => f.conv(layer, embedding, 1, DILATION, true),
    }
}
