//! A backbone small enough to be trained from scratch on a CPU in minutes: seven convolutions, output stride 4.

use burn::tensor::Tensor;

use super::Levels;
use crate::models::forward::Forward;
use crate::models::layers::{BatchNorm, Conv, Layer};
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
        units().declare(to);
    }

    /// Images `[B, 3, H, W]` → the levels after conv4, conv6 and conv7 at a quarter of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let mut first = units();
        let last = first.split_off(6);
        let second = first.split_off(4);
        let [low] = f.section(images, move |f, x| [pass(f, x, &first)]);
        let [middle] = f.section(low.clone(), move |f, x| [pass(f, x, &second)]);
        let [high] = f.section(middle.clone(), move |f, x| [pass(f, x, &last)]);
        Levels { low, middle, high }
    }
}

/// A convolution with its batch norm.
struct Unit {
    conv: Conv,
    bn: BatchNorm,
    /// Shortcuts where they cost nothing: training from scratch has few steps.
    has_shortcut: bool,
}

impl Layer for Unit {
    fn declare(&self, to: &mut Declarations) {
        self.conv.declare(to);
        self.bn.declare(to);
    }
}

fn units() -> Vec<Unit> {
    let unit = |(name, input, output, stride, dilation)| {
        // An even kernel under stride 2 centres every output cell on the pixels that it stands for; with 3x3 the maps
        // would lie a pixel and a half off.
        let size = if stride == 2 { 4 } else { 3 };
        Unit {
            conv: Conv::new(name, [input, output], size).stride(stride).dilation(dilation),
            bn: BatchNorm::new(format!("{name}.bn"), output),
            has_shortcut: input == output && stride == 1,
        }
    };
    LAYERS.into_iter().map(unit).collect()
}

fn pass(f: &Forward, mut x: Tensor<4>, units: &[Unit]) -> Tensor<4> {
    for unit in units {
        let y = unit.bn.relu(f, unit.conv.apply(f, x.clone()));
        x = if unit.has_shortcut { x + y } else { y };
    }
    x
}
