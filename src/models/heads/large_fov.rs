//! DeepLab-LargeFOV on a ResNet as MCIS's released code has it (segmentation/examples/seg/exp2/train_resnet_fov.prototxt):
//! VGG16's fc6, fc7 and fc8, with a field of view in the first, under the names there.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::segmentation::DILATION;
use crate::models::backbones::Backbone;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The head's layers; the last gives the scores and is the only one with a bias.
pub const LAYERS: [&str; 3] = ["pyram_conv1", "pyram_conv2", LAST];
/// The layer that gives the scores.
pub const LAST: &str = "score";
const HIDDEN: usize = 1024;

/// Declares the head for `classes`, background included.
pub fn declare(to: &mut Declarations, backbone: Backbone, classes: usize) {
    let hidden = HIDDEN / backbone.divisor();
    to.conv(LAYERS[0], backbone.channels()[2], hidden, 3);
    to.conv(LAYERS[1], hidden, hidden, 1);
    to.conv(LAST, hidden, classes, 1);
    to.bias(LAST, classes);
}

/// Features `[B, D, h, w]` → scores `[B, C + 1, h, w]`, background first, before softmax.
pub fn scores(f: &Forward, features: Tensor<4>) -> Tensor<4> {
    let x = relu(f.conv(LAYERS[0], features, 1, DILATION, false));
    let x = relu(f.conv(LAYERS[1], x, 1, 1, false));
    f.conv(LAST, x, 1, 1, true)
}
