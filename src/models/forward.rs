//! The layers that networks are written with, on named [`Parameters`].

use std::cell::RefCell;

use burn::tensor::activation;
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::params::{Parameters, Value};

/// PyTorch's default epsilon of batch norm.
const EPSILON: f64 = 1e-5;
/// Share of the batch's statistics in the running ones, PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// How batch norm and dropout behave in one forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Running statistics, no dropout.
    Inference,
    /// Running statistics held fixed, dropout as the seed says: fine-tuning a pretrained backbone. `None`: no dropout.
    Frozen(Option<u64>),
    /// Statistics of the batch, which update the running ones; dropout as the seed says.
    Train(Option<u64>),
}

/// One forward pass over a network's parameters.
pub struct Forward<'a> {
    parameters: &'a Parameters,
    mode: Mode,
    /// New running statistics by name, for [`Forward::statistics`].
    statistics: RefCell<Vec<(String, Tensor<1>)>>,
    dropout: RefCell<Option<ChaCha8Rng>>,
}

impl<'a> Forward<'a> {
    /// A pass over `parameters` in `mode`.
    pub fn new(parameters: &'a Parameters, mode: Mode) -> Forward<'a> {
        let seed = match mode {
            Mode::Inference => None,
            Mode::Frozen(seed) | Mode::Train(seed) => seed,
        };
        Forward {
            parameters,
            mode,
            statistics: RefCell::default(),
            dropout: RefCell::new(seed.map(ChaCha8Rng::seed_from_u64)),
        }
    }

    /// The parameters without autodiff, for a pass that nothing is learnt from. Only on a device with autodiff.
    pub fn constants(&self) -> Parameters {
        self.parameters.inner()
    }

    /// The convolution `NAME.weight` with "same" padding for its dilation, and `NAME.bias` where `bias`.
    /// `[B, in, H, W]` → `[B, out, ⌈H / stride⌉, ⌈W / stride⌉]` for odd kernels, rounded down for 4x4 at stride 2.
    pub fn conv(
        &self,
        name: &str,
        x: Tensor<4>,
        stride: usize,
        dilation: usize,
        bias: bool,
    ) -> Tensor<4> {
        let weight = self.parameters.kernel(&format!("{name}.weight"));
        let bias = bias.then(|| self.parameters.vector(&format!("{name}.bias")));
        let padding = (weight.dims()[2] - 1) / 2 * dilation;
        let options = ConvOptions::new(
            [stride, stride],
            [padding, padding],
            [dilation, dilation],
            1,
        );
        conv2d(x, weight, bias, options)
    }

    /// Batch norm `NAME`, then ReLU; any shape `[B, C, H, W]`.
    pub fn norm_relu(&self, name: &str, x: Tensor<4>) -> Tensor<4> {
        let entry = |entry: &str| self.parameters.vector(&format!("{name}.{entry}"));
        let (scale, shift) = (entry("weight"), entry("bias"));
        let (mean, variance) = (entry("running_mean"), entry("running_var"));
        let y = if let Mode::Train(_) = self.mode {
            let [b, _, h, w] = x.dims();
            let n = (b * h * w) as f32;
            let out = batch_norm_train(x, scale, shift, EPSILON);
            let mix = |old: Tensor<1>, new: Tensor<1>| {
                old.inner() * (1.0 - MOMENTUM) + new.inner() * MOMENTUM
            };
            // The running variance is the unbiased one.
            let unbiased = out.variance * (n / (n - 1.0).max(1.0));
            let mut statistics = self.statistics.borrow_mut();
            statistics.push((format!("{name}.running_mean"), mix(mean, out.mean)));
            statistics.push((format!("{name}.running_var"), mix(variance, unbiased)));
            out.output
        } else {
            batch_norm(x, scale, shift, mean, variance, EPSILON)
        };
        activation::relu(y)
    }

    /// Dropout of whole channels with probability `p`, as the released networks have it, where this pass has a dropout
    /// seed. The mask comes from the host, so that every
    /// device and a resumed run drop the same values.
    pub fn dropout(&self, x: Tensor<4>, p: f32) -> Tensor<4> {
        let mut rng = self.dropout.borrow_mut();
        let Some(rng) = rng.as_mut() else {
            return x;
        };
        let [b, c, _, _] = x.dims();
        let shape = [b, c, 1, 1];
        let keep = 1.0 / (1.0 - p);
        let mask: Vec<f32> = (0..shape.iter().product())
            .map(|_| if rng.random::<f32>() < p { 0.0 } else { keep })
            .collect();
        let mask = Tensor::<4>::from_data(TensorData::new(mask, shape), &x.device());
        x * mask
    }

    /// Writes the running statistics that this pass has gathered into `parameters`.
    pub fn statistics(self, parameters: &mut Parameters) {
        for (name, value) in self.statistics.into_inner() {
            if let Some(p) = parameters.0.get_mut(&name) {
                p.value = Value::Vector(value);
            }
        }
    }
}
