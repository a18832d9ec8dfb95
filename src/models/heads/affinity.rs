//! AffinityNet's head (Sec. 4): 1x1 convolutions of three levels, concatenated, and one more.

use burn::tensor::Tensor;
use burn::tensor::activation::elu;

use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The head's layers, as the released checkpoints call them.
pub const LAYERS: [&str; 4] = ["f8_3", "f8_4", "f8_5", "f9"];

/// Declares the head over levels of `inputs` channels, reduced to `outputs` channels each.
pub fn declare(to: &mut Declarations, inputs: [usize; 3], outputs: [usize; 3]) {
    for ((name, input), output) in LAYERS.iter().zip(inputs).zip(outputs) {
        to.conv(name, input, output, 1);
    }
    let total = outputs.iter().sum();
    to.conv(LAYERS[3], total, total, 1);
}

/// Three levels `[B, D_l, h, w]` → affinity features f^aff `[B, D, h, w]`, D the sum of the reduced channels.
pub fn features(f: &Forward, levels: crate::models::backbones::Levels) -> Tensor<4> {
    let reduced = [levels.low, levels.middle, levels.high]
        .into_iter()
        .zip(LAYERS)
        .map(|(level, name)| elu(f.conv(name, level, 1, 1, false), 1.0))
        .collect();
    elu(f.conv(LAYERS[3], Tensor::cat(reduced, 1), 1, 1, false), 1.0)
}
