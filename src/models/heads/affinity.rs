//! AffinityNet's head (Sec. 4): 1x1 convolutions of three levels, concatenated, and one more. On VGG16 a group norm
//! follows each of the three, as in the released code.

use burn::tensor::Tensor;
use burn::tensor::activation::elu;

use crate::models::backbones::{Backbone, Levels};
use crate::models::forward::Forward;
use crate::models::params::Declarations;

/// The head's convolutions, as the released checkpoints call them.
pub const LAYERS: [&str; 4] = ["f8_3", "f8_4", "f8_5", "f9"];
/// Its group norms.
pub const NORMS: [&str; 3] = ["gn8_3", "gn8_4", "gn8_5"];
/// Channels of a group: 64, 128 and 256 channels have 8, 16 and 32 groups in the released code.
const GROUP: usize = 8;

fn has_norm(backbone: Backbone) -> bool {
    matches!(backbone, Backbone::Vgg16(_))
}

/// Declares the head over the backbone's levels, reduced to `outputs` channels each.
pub fn declare(to: &mut Declarations, backbone: Backbone, outputs: [usize; 3]) {
    for (i, (input, output)) in backbone.channels().into_iter().zip(outputs).enumerate() {
        to.conv(LAYERS[i], input, output, 1);
        if has_norm(backbone) {
            to.group_norm(NORMS[i], output);
        }
    }
    let total = outputs.iter().sum();
    to.conv(LAYERS[3], total, total, 1);
}

/// Three levels `[B, D_l, h_l, w_l]` → affinity features f^aff `[B, D, h, w]` at the size of the first, D the sum of the
/// reduced channels.
pub fn features(f: &Forward, backbone: Backbone, levels: Levels) -> Tensor<4> {
    let reduced = levels
        .joined(backbone.deviations())
        .into_iter()
        .enumerate()
        .map(|(i, level)| {
            let x = f.conv(LAYERS[i], level, 1, 1, false);
            let groups = groups(x.dims()[1]);
            elu(
                if has_norm(backbone) {
                    f.group_norm(NORMS[i], x, groups)
                } else {
                    x
                },
                1.0,
            )
        })
        .collect();
    elu(f.conv(LAYERS[3], Tensor::cat(reduced, 1), 1, 1, false), 1.0)
}

/// The number of groups that divides `channels` into groups of [`GROUP`], or of the next size that fits.
fn groups(channels: usize) -> usize {
    (1..=channels / GROUP)
        .rev()
        .find(|groups| channels.is_multiple_of(*groups))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn groups_are_the_released_ones_and_always_fit() {
        assert_eq!([64, 128, 256].map(groups), [8, 16, 32]);
        assert_eq!([4, 28, 17].map(groups), [1, 2, 1]);
    }
}
