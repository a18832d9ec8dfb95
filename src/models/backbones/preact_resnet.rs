//! Pre-activation ResNet50 and ResNet101 (He et al., ECCV 2016) at output stride 8, as CIAN uses them: the last two
//! levels are dilated by 2 and 4 instead of striding. Names are those of the weights published for MXNet; the input is
//! RGB in 0..255, which the first batch norm takes care of.

use burn::tensor::Tensor;

use super::Levels;
use super::resnet::Depth;
use crate::models::forward::Forward;
use crate::models::layers::{BatchNorm, Conv, Layer};
use crate::models::params::Declarations;

/// Channels of the first convolution and of each stage; the inner convolutions have a quarter of them.
const CHANNELS: [usize; 5] = [64, 256, 512, 1024, 2048];
/// Stride and dilation of each stage.
const STEPS: [(usize, usize); 4] = [(1, 1), (2, 1), (1, 2), (1, 4)];

/// Pre-activation ResNet with all channel numbers divided by `divisor` (1 is the published width).
#[derive(Clone, Copy, Debug)]
pub struct PreactResNet {
    /// Number of layers.
    pub depth: Depth,
    /// Width divisor.
    pub divisor: usize,
}

impl PreactResNet {
    /// Channels of the three levels that [`Self::forward`] returns: 512, 1024, 2048 at full width.
    pub fn channels(self) -> [usize; 3] {
        [512, 1024, 2048].map(|c| c / self.divisor)
    }

    /// Declares the backbone's parameters.
    pub fn declare(self, to: &mut Declarations) {
        let layers = self.layers();
        layers.bn_data.declare(to);
        layers.conv0.declare(to);
        layers.bn0.declare(to);
        layers.stages.declare(to);
        layers.bn1.declare(to);
    }

    /// Images `[B, 3, H, W]` → the activated outputs of stages 2, 3 and 4 at an eighth of the size.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        let Layers {
            bn_data,
            conv0,
            bn0,
            stages: [stage1, stage2, stage3, stage4],
            bn1,
        } = self.layers();
        let [x] = f.section(images, move |f, x| {
            let x = conv0.apply(f, bn_data.unscaled(f, x));
            let x = f.max_pool(bn0.relu(f, x), 3, 2);
            [pass(f, &stage1, x).0]
        });
        let [x] = f.section(x, move |f, x| [pass(f, &stage2, x).0]);
        let [x, low] = f.section(x, move |f, x| pass(f, &stage3, x).into());
        let [x, middle] = f.section(x, move |f, x| pass(f, &stage4, x).into());
        let [high] = f.section(x, move |f, x| [bn1.relu(f, x)]);
        Levels { low, middle, high }
    }

    fn layers(self) -> Layers {
        let [first, .., last] = CHANNELS.map(|c| c / self.divisor);
        Layers {
            bn_data: BatchNorm::new("bn_data_", 3),
            conv0: Conv::new("conv0_", [3, first], 7).stride(2),
            bn0: BatchNorm::new("bn0_", first),
            stages: [0, 1, 2, 3].map(|stage| self.stage(stage)),
            bn1: BatchNorm::new("bn1_", last),
        }
    }

    /// The units of a stage, from 0.
    fn stage(self, stage: usize) -> Vec<Unit> {
        let [input, output] = [CHANNELS[stage], CHANNELS[stage + 1]].map(|c| c / self.divisor);
        let (stride, dilation) = STEPS[stage];
        let unit = |unit: usize| {
            let name = |layer: &str| format!("stage{}_unit{}_{layer}_", stage + 1, unit + 1);
            let (input, stride) = if unit == 0 { (input, stride) } else { (output, 1) };
            let inner = output / 4;
            Unit {
                bn1: BatchNorm::new(name("bn1"), input),
                sc: (unit == 0).then(|| Conv::new(name("sc"), [input, output], 1).stride(stride)),
                conv1: Conv::new(name("conv1"), [input, inner], 1),
                bn2: BatchNorm::new(name("bn2"), inner),
                conv2: Conv::new(name("conv2"), [inner, inner], 3)
                    .stride(stride)
                    .dilation(dilation),
                bn3: BatchNorm::new(name("bn3"), inner),
                conv3: Conv::new(name("conv3"), [inner, output], 1),
            }
        };
        (0..self.depth.blocks()[stage]).map(unit).collect()
    }
}

struct Layers {
    bn_data: BatchNorm,
    conv0: Conv,
    bn0: BatchNorm,
    stages: [Vec<Unit>; 4],
    bn1: BatchNorm,
}

/// A pre-activation bottleneck; a stage's first has a convolution in its shortcut.
struct Unit {
    bn1: BatchNorm,
    sc: Option<Conv>,
    conv1: Conv,
    bn2: BatchNorm,
    conv2: Conv,
    bn3: BatchNorm,
    conv3: Conv,
}

impl Layer for Unit {
    fn declare(&self, to: &mut Declarations) {
        self.bn1.declare(to);
        self.sc.declare(to);
        self.conv1.declare(to);
        self.bn2.declare(to);
        self.conv2.declare(to);
        self.bn3.declare(to);
        self.conv3.declare(to);
    }
}

impl Unit {
    /// The unit's output and its activated input.
    fn forward(&self, f: &Forward, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let activated = self.bn1.relu(f, x.clone());
        let shortcut = match &self.sc {
            Some(sc) => sc.apply(f, activated.clone()),
            None => x,
        };
        let y = self.conv1.apply(f, activated.clone());
        let y = self.conv2.apply(f, self.bn2.relu(f, y));
        let y = self.conv3.apply(f, self.bn3.relu(f, y));
        (shortcut + y, activated)
    }
}

/// A stage's output and its activated input.
fn pass(f: &Forward, units: &[Unit], x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let Some((first, rest)) = units.split_first() else {
        return (x.clone(), x);
    };
    let (x, activated) = first.forward(f, x);
    let x = rest.iter().fold(x, |x, unit| unit.forward(f, x).0);
    (x, activated)
}
