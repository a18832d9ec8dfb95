//! A backbone small enough to be trained from scratch on a CPU in minutes: seven convolutions, output stride 4.

use std::ops::Range;

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// Name, input and output channels, stride and dilation of every layer.
const LAYERS: [(&str, usize, usize, usize, usize); 7] = [
    ("conv1", 3, 16, 2, 1),
    ("conv2", 16, 24, 1, 1),
    ("conv3", 24, 48, 2, 1),
    ("conv4", 48, 48, 1, 1),
    ("conv5", 48, 64, 1, 1),
    ("conv6", 64, 64, 1, 2),
    ("conv7", 64, 96, 1, 1),
];

/// The nano backbone.
#[derive(Clone, Copy, Debug)]
pub struct Nano;

impl Nano {
    /// Channels of the three levels that [`Self::forward`] returns.
    pub fn channels(self) -> [usize; 3] {
        [48, 64, 96]
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        for (name, input, output, stride, _) in LAYERS {
            // An even kernel under stride 2 centres every output cell on the pixels that it stands for; with 3x3 the maps
            // would lie a pixel and a half off.
            to.conv(name, input, output, if stride == 2 { 4 } else { 3 });
            to.batch_norm(&format!("{name}.bn"), output);
        }
    }

    /// Images `[B, 3, H, W]` → the levels after conv4, conv6 and conv7 at a quarter of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let [low] = f.section(images, |f, x| [pass(f, x, 0..4)]);
        let [middle] = f.section(low.clone(), |f, x| [pass(f, x, 4..6)]);
        let [high] = f.section(middle.clone(), |f, x| [pass(f, x, 6..7)]);
        Levels { low, middle, high }
    }
}

fn pass(f: &Forward, mut x: Tensor<4>, layers: Range<usize>) -> Tensor<4> {
    for (name, input, output, stride, dilation) in &LAYERS[layers] {
        let y = f.conv(name, x.clone(), *stride, *dilation, false);
        let y = f.norm_relu(&format!("{name}.bn"), y);
        // Shortcuts where they cost nothing: training from scratch has few steps.
        x = if input == output && *stride == 1 {
            x + y
        } else {
            y
        };
    }
    x
}
