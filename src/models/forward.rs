//! The layers that networks are written with, on named [`Parameters`].

use std::cell::{OnceCell, RefCell};

use burn::tensor::activation;
use burn::tensor::module::{avg_pool2d, batch_norm_train, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::params::{Parameters, Role, entry};
use crate::kernels::{Sliding, Window, conv2d, depthwise_conv, pointwise_conv};

/// Epsilon of every normalisation: PyTorch's default, and what the networks published for MXNet set.
const EPSILON: f64 = 1e-5;
/// Share of the batch's statistics in the running ones, PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// How batch norm and dropout behave in one forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Running statistics, no dropout.
    Inference,
    /// Running statistics held fixed but in fresh layers, dropout as the seed says: fine-tuning a pretrained backbone.
    /// `None`: no dropout.
    Frozen(Option<u64>),
    /// Statistics of the batch, which update the running ones; dropout as the seed says.
    Train(Option<u64>),
}

/// What one forward pass has multiplied.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Kernels and matrices by parameter name, with the number of positions each was applied at.
    pub kernels: Vec<(String, usize)>,
    /// Multiply-adds between feature maps.
    pub products: usize,
    /// Dense convolutions by parameter name: rows and columns of what each was applied to, and how it moved.
    pub convolutions: Vec<(String, [usize; 2], Sliding)>,
}

/// A section of which a pass has kept input and outputs alone.
pub(super) struct Section {
    pub input: Tensor<4>,
    /// Where the gradients of whatever follows stop.
    pub outputs: Vec<Tensor<4>>,
    /// Dropout's state before the section.
    pub dropout: Option<ChaCha8Rng>,
    pub part: Box<Part>,
}

/// What a section computes.
type Part = dyn Fn(&Forward, Tensor<4>) -> Vec<Tensor<4>>;

/// The sections of one pass.
#[derive(Default)]
pub(super) struct Sections {
    pub passed: RefCell<Vec<Section>>,
    pub constants: OnceCell<Parameters>,
}

/// One forward pass over a network's parameters.
pub struct Forward<'a> {
    pub(super) parameters: &'a Parameters,
    pub(super) mode: Mode,
    /// New running statistics by name, for [`Forward::into_statistics`].
    pub(super) statistics: RefCell<Vec<(String, Tensor<1>)>>,
    pub(super) dropout: RefCell<Option<ChaCha8Rng>>,
    pub(super) work: RefCell<Work>,
    /// `None` where the pass does not checkpoint.
    pub(super) sections: Option<Sections>,
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
            work: RefCell::default(),
            sections: None,
        }
    }

    /// The same pass, with gradient checkpointing where `wanted`: [`Self::finish_backward`] has to follow the backward
    /// pass then. Only on a device with autodiff.
    pub fn checkpointing(mut self, wanted: bool) -> Forward<'a> {
        self.sections = wanted.then(Sections::default);
        self
    }

    /// The parameters without autodiff, for a pass that nothing is learnt from. Only on a device with autodiff.
    pub fn constants(&self) -> Parameters {
        self.parameters.inner()
    }

    /// The convolution `layer` with "same" padding for its dilation, and its bias where `bias`.
    /// `[B, in, H, W]` → `[B, out, ⌈H / stride⌉, ⌈W / stride⌉]` for odd kernels, rounded down for 4x4 at stride 2.
    pub fn conv(&self, layer: &str, x: Tensor<4>, stride: usize, dilation: usize, bias: bool) -> Tensor<4> {
        let name = entry(layer, Role::Kernel);
        let weight = self.parameters.kernel(&name);
        let bias = bias.then(|| self.parameters.vector(&entry(layer, Role::Bias)));
        let padding = (weight.dims()[2] - 1) / 2 * dilation;
        let sliding = Sliding::square(stride, padding, dilation);
        self.slid(&name, &x, sliding);
        let y = conv2d(x, weight, bias, sliding);
        let [b, _, h, w] = y.dims();
        self.work.borrow_mut().kernels.push((name, b * h * w));
        y
    }

    /// Notes a dense convolution of `x` by the kernel `name`.
    fn slid(&self, name: &str, x: &Tensor<4>, sliding: Sliding) {
        let [_, _, h, w] = x.dims();
        let mut work = self.work.borrow_mut();
        work.convolutions.push((name.to_string(), [h, w], sliding));
    }

    /// [`Self::conv`] with bias at stride 1, then ReLU.
    pub fn conv_relu(&self, layer: &str, x: Tensor<4>, dilation: usize) -> Tensor<4> {
        activation::relu(self.conv(layer, x, 1, dilation, true))
    }

    /// The convolution and the batch norm `layers`, whose statistics are constant, as one convolution: the kernel times the
    /// norm's factor, and its offset as the bias.
    fn folded(&self, [conv, norm]: [&str; 2], epsilon: f64) -> (Tensor<4>, Tensor<1>) {
        let kernel = self.parameters.kernel(&entry(conv, Role::Kernel));
        let [scale, shift, mean, variance] = [Role::Scale, Role::Shift, Role::Mean, Role::Variance]
            .map(|role| self.parameters.vector(&entry(norm, role)));
        let factor = scale / (variance + epsilon).sqrt();
        let offset = shift - mean * factor.clone();
        let channels = factor.dims()[0];
        (kernel * factor.reshape([channels, 1, 1, 1]), offset)
    }

    /// Counts a convolution whose result is `y`.
    fn counted(&self, conv: &str, y: Tensor<4>) -> Tensor<4> {
        let [b, _, h, w] = y.dims();
        let name = entry(conv, Role::Kernel);
        self.work.borrow_mut().kernels.push((name, b * h * w));
        y
    }

    /// The 1x1 convolution and the batch norm `layers`, whose statistics are the running ones in every mode, clamped to
    /// [0, `ceiling`] where there is one.
    pub fn pointwise_norm(&self, layers: [&str; 2], x: Tensor<4>, epsilon: f64, ceiling: Option<f32>) -> Tensor<4> {
        let (kernel, bias) = self.folded(layers, epsilon);
        self.slid(&entry(layers[0], Role::Kernel), &x, Sliding::square(1, 0, 1));
        self.counted(layers[0], pointwise_conv(x, kernel, bias, ceiling))
    }

    /// The 1x1 convolution `layer` with its bias, clamped to [0, `ceiling`] where there is one.
    pub fn pointwise(&self, layer: &str, x: Tensor<4>, ceiling: Option<f32>) -> Tensor<4> {
        let name = entry(layer, Role::Kernel);
        let kernel = self.parameters.kernel(&name);
        self.slid(&name, &x, Sliding::square(1, 0, 1));
        self.counted(layer, pointwise_conv(x, kernel, self.bias(layer), ceiling))
    }

    /// The depthwise convolution `layer` with its bias at stride 1 under "same" padding, clamped to [0, `ceiling`] where
    /// there is one.
    pub fn depthwise(&self, layer: &str, x: Tensor<4>, ceiling: Option<f32>) -> Tensor<4> {
        let kernel = self.parameters.kernel(&entry(layer, Role::Kernel));
        let [_, _, h, w] = x.dims();
        let window = Window::same([h, w], kernel.dims()[2], 1, 1);
        let y = depthwise_conv(x, kernel, self.bias(layer), window, ceiling);
        self.counted(layer, y)
    }

    /// As [`Self::pointwise_norm`] with a depthwise convolution under TensorFlow's `SAME` padding; `step` is stride and
    /// dilation. `[B, C, H, W]` → `[B, C, ⌈H / stride⌉, ⌈W / stride⌉]`.
    pub fn depthwise_norm(
        &self,
        layers: [&str; 2],
        x: Tensor<4>,
        [stride, dilation]: [usize; 2],
        epsilon: f64,
        ceiling: Option<f32>,
    ) -> Tensor<4> {
        let (kernel, bias) = self.folded(layers, epsilon);
        let [_, _, h, w] = x.dims();
        let window = Window::same([h, w], kernel.dims()[2], stride, dilation);
        let y = depthwise_conv(x, kernel, bias, window, ceiling);
        self.counted(layers[0], y)
    }

    /// As [`Self::pointwise_norm`] with a convolution of any kernel under TensorFlow's `SAME` padding.
    pub fn same_conv_norm(
        &self,
        layers: [&str; 2],
        x: Tensor<4>,
        stride: usize,
        epsilon: f64,
        ceiling: Option<f32>,
    ) -> Tensor<4> {
        let (kernel, bias) = self.folded(layers, epsilon);
        let [_, _, h, w] = x.dims();
        let size = kernel.dims()[2];
        let window = Window::same([h, w], size, stride, 1);
        let [[top, bottom], [left, right]] = window.padding();
        let x = x.pad((left, right, top, bottom), 0.0);
        let sliding = Sliding::square(stride, 0, 1);
        self.slid(&entry(layers[0], Role::Kernel), &x, sliding);
        let y = conv2d(x, kernel, Some(bias), sliding);
        let y = match ceiling {
            Some(ceiling) => y.clamp(0.0, ceiling),
            None => y,
        };
        self.counted(layers[0], y)
    }

    /// The linear layer `layer` without bias, at every position: `[B, in, N]` → `[B, out, N]`.
    pub fn linear(&self, layer: &str, x: Tensor<3>) -> Tensor<3> {
        let name = entry(layer, Role::Kernel);
        let y = self.parameters.matrix(&name).unsqueeze::<3>().matmul(x);
        let [b, _, n] = y.dims();
        self.work.borrow_mut().kernels.push((name, b * n));
        y
    }

    /// The bias `[out]` of `layer`.
    pub fn bias(&self, layer: &str) -> Tensor<1> {
        self.parameters.vector(&entry(layer, Role::Bias))
    }

    /// Batch norm `layer`, then ReLU; any shape `[B, C, H, W]`.
    pub fn norm_relu(&self, layer: &str, x: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm(layer, x))
    }

    /// Batch norm `layer`, pretrained where the backbone is; any shape `[B, C, H, W]`.
    pub fn norm(&self, layer: &str, x: Tensor<4>) -> Tensor<4> {
        let scale = self.parameters.vector(&entry(layer, Role::Scale));
        let of_batch = matches!(self.mode, Mode::Train(_));
        self.batch_norm(layer, x, scale, of_batch)
    }

    /// Batch norm `layer` of a head, whose statistics are the batch's in every training.
    pub fn fresh_norm(&self, layer: &str, x: Tensor<4>) -> Tensor<4> {
        let scale = self.parameters.vector(&entry(layer, Role::Scale));
        self.batch_norm(layer, x, scale, self.mode != Mode::Inference)
    }

    /// Batch norm `layer` with a scale of 1, whatever its parameter says: MXNet's `fix_gamma`.
    pub fn unscaled_norm(&self, layer: &str, x: Tensor<4>) -> Tensor<4> {
        let scale = Tensor::ones([x.dims()[1]], &x.device());
        let of_batch = matches!(self.mode, Mode::Train(_));
        self.batch_norm(layer, x, scale, of_batch)
    }

    fn batch_norm(&self, layer: &str, x: Tensor<4>, scale: Tensor<1>, of_batch: bool) -> Tensor<4> {
        let [mean_name, variance_name] = [Role::Mean, Role::Variance].map(|r| entry(layer, r));
        let shift = self.parameters.vector(&entry(layer, Role::Shift));
        let mean = self.parameters.vector(&mean_name);
        let variance = self.parameters.vector(&variance_name);
        let [b, c, h, w] = x.dims();
        if !of_batch {
            // The statistics are constant: two passes over the features, where burn's form takes four.
            let factor = scale / (variance + EPSILON).sqrt();
            let offset = shift - mean * factor.clone();
            let [factor, offset] = [factor, offset].map(|v| v.reshape([1, c, 1, 1]));
            return x * factor + offset;
        }
        let n = (b * h * w) as f32;
        let out = batch_norm_train(x, scale, shift, EPSILON);
        let mix = |old: Tensor<1>, new: Tensor<1>| old.inner() * (1.0 - MOMENTUM) + new.inner() * MOMENTUM;
        // The running variance is the unbiased one.
        let unbiased = out.variance * (n / (n - 1.0).max(1.0));
        let mut statistics = self.statistics.borrow_mut();
        statistics.push((mean_name, mix(mean, out.mean)));
        statistics.push((variance_name, mix(variance, unbiased)));
        out.output
    }

    /// Group norm `layer` over `groups`, which divide the channels; `[B, C, H, W]`.
    pub fn group_norm(&self, layer: &str, x: Tensor<4>, groups: usize) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let x = x.reshape([b, groups, c / groups * h * w]);
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let x = (centred / (variance + EPSILON).sqrt()).reshape([b, c, h, w]);
        let per_channel = |role| self.parameters.vector(&entry(layer, role)).reshape([1, c, 1, 1]);
        x * per_channel(Role::Scale) + per_channel(Role::Shift)
    }

    /// Max pooling over `size` x `size` with half of an odd size as padding: `[B, C, H, W]` → `[B, C, ⌈H / stride⌉,
    /// ⌈W / stride⌉]` for odd sizes, rounded down for 2x2 at stride 2.
    pub fn max_pool(&self, x: Tensor<4>, size: usize, stride: usize) -> Tensor<4> {
        let options = MaxPoolOptions::new([size, size])
            .with_stride([stride, stride])
            .with_padding([(size - 1) / 2; 2]);
        max_pool2d(x, options)
    }

    /// Mean over `size` x `size`, odd, zeros beyond the rim included, at every pixel: `[B, C, H, W]` → the same shape.
    pub fn mean_pool(&self, x: Tensor<4>, size: usize) -> Tensor<4> {
        let options = AvgPoolOptions::new([size, size])
            .with_stride([1, 1])
            .with_padding([size / 2; 2]);
        avg_pool2d(x, options)
    }

    /// Dropout of whole channels with probability `p`, as the released networks have it, where this pass has a dropout
    /// seed. The mask comes from the host, so that every device and a resumed run drop the same values.
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

    /// Adds `multiply_adds` between feature maps to the pass's work.
    pub fn count_products(&self, multiply_adds: usize) {
        self.work.borrow_mut().products += multiply_adds;
    }

    /// What this pass has multiplied so far.
    pub fn work(&self) -> Work {
        self.work.borrow().clone()
    }

    /// The running statistics that this pass has gathered, by parameter name.
    pub fn into_statistics(self) -> Vec<(String, Tensor<1>)> {
        self.statistics.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::models::params::Declarations;

    #[test]
    fn group_norm_is_over_the_group_and_scales_by_channel() {
        let mut declared = Declarations::default();
        declared.group_norm("gn", 4);
        let device = Device::flex();
        let parameters = Parameters::init(&declared, &device, |p| match p.role {
            Role::Scale => vec![1.0, 2.0, 1.0, 2.0],
            _ => vec![0.0, 0.0, 0.0, 10.0],
        })
        .unwrap();
        // Two groups of two channels of two pixels: 1 to 4, and 100 to 400.
        let x = [1.0f32, 2.0, 3.0, 4.0, 100.0, 200.0, 300.0, 400.0];
        let x = Tensor::from_data(TensorData::new(x.to_vec(), [1, 4, 1, 2]), &device);
        let f = Forward::new(&parameters, Mode::Inference);
        let y = f.group_norm("gn", x, 2).into_data();
        let y = y.try_to_vec::<f32>().unwrap();
        let [far, near] = [1.5, 0.5].map(|d: f32| d / 1.25f32.sqrt());
        let expected = [
            -far,
            -near,
            2.0 * near,
            2.0 * far,
            -far,
            -near,
            2.0 * near + 10.0,
            2.0 * far + 10.0,
        ];
        for (y, expected) in y.iter().zip(expected) {
            assert!((y - expected).abs() < 1e-4, "{y} instead of {expected}");
        }
    }
}
