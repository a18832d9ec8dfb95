//! Layers as values: named once, where they are built, then declared and applied under that name.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::forward::Forward;
use super::params::Declarations;

/// What has parameters.
pub trait Layer {
    /// Declares them, in the order in which fresh values are drawn.
    fn declare(&self, to: &mut Declarations);
}

impl<L: Layer> Layer for Option<L> {
    fn declare(&self, to: &mut Declarations) {
        self.iter().for_each(|layer| layer.declare(to));
    }
}

impl<L: Layer> Layer for Vec<L> {
    fn declare(&self, to: &mut Declarations) {
        self.iter().for_each(|layer| layer.declare(to));
    }
}

impl<L: Layer, const N: usize> Layer for [L; N] {
    fn declare(&self, to: &mut Declarations) {
        self.iter().for_each(|layer| layer.declare(to));
    }
}

/// A convolution with a square kernel and "same" padding.
#[derive(Clone, Debug)]
pub struct Conv {
    name: String,
    channels: [usize; 2],
    size: usize,
    stride: usize,
    dilation: usize,
    has_bias: bool,
}

impl Conv {
    /// The convolution `name` of kernels of `size` x `size` from and to `channels`, at stride and dilation 1, without
    /// bias.
    pub fn new(name: impl Into<String>, channels: [usize; 2], size: usize) -> Conv {
        Conv {
            name: name.into(),
            channels,
            size,
            stride: 1,
            dilation: 1,
            has_bias: false,
        }
    }

    /// The same at a stride.
    pub fn stride(self, stride: usize) -> Conv {
        Conv { stride, ..self }
    }

    /// The same at a dilation.
    pub fn dilation(self, dilation: usize) -> Conv {
        Conv { dilation, ..self }
    }

    /// The same with a bias.
    pub fn bias(self) -> Conv {
        Conv { has_bias: true, ..self }
    }

    /// `[B, in, H, W]` → `[B, out, ⌈H / stride⌉, ⌈W / stride⌉]`, see [`Forward::conv`].
    pub fn apply(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        f.conv(&self.name, x, self.stride, self.dilation, self.has_bias)
    }

    /// [`Self::apply`], then ReLU.
    pub fn relu(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        relu(self.apply(f, x))
    }
}

impl Layer for Conv {
    fn declare(&self, to: &mut Declarations) {
        let [input, output] = self.channels;
        to.conv(&self.name, input, output, self.size);
        if self.has_bias {
            to.bias(&self.name, output);
        }
    }
}

/// A batch norm.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    name: String,
    channels: usize,
}

impl BatchNorm {
    /// The batch norm `name` over `channels`.
    pub fn new(name: impl Into<String>, channels: usize) -> BatchNorm {
        BatchNorm {
            name: name.into(),
            channels,
        }
    }

    /// `[B, C, H, W]` of any size, see [`Forward::norm`].
    pub fn apply(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        f.norm(&self.name, x)
    }

    /// [`Self::apply`], then ReLU.
    pub fn relu(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        f.norm_relu(&self.name, x)
    }

    /// With a scale of 1, whatever its parameter says, see [`Forward::unscaled_norm`].
    pub fn unscaled(&self, f: &Forward, x: Tensor<4>) -> Tensor<4> {
        f.unscaled_norm(&self.name, x)
    }
}

impl Layer for BatchNorm {
    fn declare(&self, to: &mut Declarations) {
        to.batch_norm(&self.name, self.channels);
    }
}

/// A convolution and its batch norm of constant statistics, computed as one convolution under TensorFlow's `SAME`
/// padding.
#[derive(Clone, Debug)]
pub struct ConvNorm {
    names: [String; 2],
    channels: [usize; 2],
    size: usize,
    epsilon: f64,
}

impl ConvNorm {
    /// The convolution and the norm called `names`, of kernels of `size` x `size` from and to `channels` (from 1 where
    /// it is depthwise).
    pub fn new(names: [String; 2], channels: [usize; 2], size: usize, epsilon: f64) -> ConvNorm {
        ConvNorm {
            names,
            channels,
            size,
            epsilon,
        }
    }

    /// What convolution and norm are called.
    pub fn names(&self) -> [&str; 2] {
        let [conv, norm] = &self.names;
        [conv, norm]
    }

    /// Of 1x1 kernels, clamped to [0, `ceiling`] where there is one, see [`Forward::pointwise_norm`].
    pub fn pointwise(&self, f: &Forward, x: Tensor<4>, ceiling: Option<f32>) -> Tensor<4> {
        f.pointwise_norm(self.names(), x, self.epsilon, ceiling)
    }

    /// Depthwise at a stride and dilation, see [`Forward::depthwise_norm`].
    pub fn depthwise(&self, f: &Forward, x: Tensor<4>, step: [usize; 2], ceiling: Option<f32>) -> Tensor<4> {
        f.depthwise_norm(self.names(), x, step, self.epsilon, ceiling)
    }

    /// Over all channels at a stride, see [`Forward::same_conv_norm`].
    pub fn full(&self, f: &Forward, x: Tensor<4>, stride: usize, ceiling: Option<f32>) -> Tensor<4> {
        f.same_conv_norm(self.names(), x, stride, self.epsilon, ceiling)
    }
}

impl Layer for ConvNorm {
    fn declare(&self, to: &mut Declarations) {
        let [conv, norm] = self.names();
        let [input, output] = self.channels;
        to.conv(conv, input, output, self.size);
        to.batch_norm(norm, output);
    }
}
