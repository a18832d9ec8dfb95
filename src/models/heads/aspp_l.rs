//! DeepLab-v2's atrous spatial pyramid (ASPP-L; Chen et al., TPAMI 2018, Sec. 3.2): four branches with fields of view of
//! their own, whose scores are summed. On a ResNet a branch is a single 3x3 convolution, under the names of the PyTorch
//! port whose checkpoints are in use (isht7/pytorch-deeplab-resnet). On VGG16 it is fc6, fc7 and fc8 of its own, under the
//! names of the released prototxt.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The branches of a ResNet.
const RESNET: [&str; 4] = [
    "layer5.conv2d_list.0",
    "layer5.conv2d_list.1",
    "layer5.conv2d_list.2",
    "layer5.conv2d_list.3",
];
/// fc6, fc7 and fc8 of VGG16's branches. The first two are pretrained, as copies of ImageNet's fc6 and fc7.
const VGG16: [[&str; 3]; 4] = [
    ["fc6_1", "fc7_1", "fc8_voc12_1"],
    ["fc6_2", "fc7_2", "fc8_voc12_2"],
    ["fc6_3", "fc7_3", "fc8_voc12_3"],
    ["fc6_4", "fc7_4", "fc8_voc12_4"],
];
/// The layers that give the scores.
pub const LAST: [&str; 8] = [
    RESNET[0],
    RESNET[1],
    RESNET[2],
    RESNET[3],
    VGG16[0][2],
    VGG16[1][2],
    VGG16[2][2],
    VGG16[3][2],
];
/// A branch's dilation (Sec. 4.1.1: ASPP-L).
const DILATIONS: [usize; 4] = [6, 12, 18, 24];
/// Channels of VGG16's fc6 and fc7.
const HIDDEN: usize = 1024;
const DROPOUT: f32 = 0.5;

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let input = backbone.channels()[2];
    let mut conv = |layer: &str, input, output, size| {
        to.conv(layer, input, output, size);
        to.bias(layer, output);
    };
    match backbone {
        Backbone::Vgg16(b) => {
            let hidden = HIDDEN / b.divisor;
            for [fc6, fc7, fc8] in VGG16 {
                conv(fc6, input, hidden, 3);
                conv(fc7, hidden, hidden, 1);
                conv(fc8, hidden, classes, 1);
            }
        }
        _ => RESNET.iter().for_each(|layer| conv(layer, input, classes, 3)),
    }
}

/// Features `[B, D, h, w]` → scores `[B, C + 1, h, w]`, background first, before softmax.
pub fn scores(f: &Forward, backbone: Backbone, features: Tensor<4>) -> Tensor<4> {
    let branch = |i: usize| {
        let (x, dilation) = (features.clone(), DILATIONS[i]);
        if !matches!(backbone, Backbone::Vgg16(_)) {
            return f.conv(RESNET[i], x, 1, dilation, true);
        }
        let [fc6, fc7, fc8] = VGG16[i];
        let x = f.dropout(f.conv_relu(fc6, x, dilation), DROPOUT);
        let x = f.dropout(relu(f.conv(fc7, x, 1, 1, true)), DROPOUT);
        f.conv(fc8, x, 1, 1, true)
    };
    (1..DILATIONS.len()).fold(branch(0), |sum, i| sum + branch(i))
}
