//! Depthwise and pointwise convolution with bias and ReLU6, forward and backward, against burn's own operations: layers of
//! EfficientNet-Lite0 in a training step.

use anyhow::{Context, Result};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::{OnOutcome, compare};
use crate::device::{Chosen, download};
use crate::kernels::{Window, depthwise_conv, pointwise_conv};

/// Images of a step.
const BATCH: usize = 16;
/// The same on software Vulkan, where burn's form takes minutes.
const SOFTWARE_BATCH: usize = 1;
const CEILING: f32 = 6.0;

/// Channels, side of the image, kernel and stride of a depthwise layer.
const DEPTHWISE: [(usize, usize, usize, usize); 3] = [(240, 28, 3, 2), (480, 14, 3, 1), (672, 14, 5, 1)];
/// Input and output channels of a pointwise layer, and the side of its image.
const POINTWISE: [(usize, usize, usize); 2] = [(112, 672, 14), (672, 112, 14)];

/// Every layer.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let is_software = chosen.adapter.as_ref().is_some_and(|a| !a.is_gpu());
    let batch = if is_software { SOFTWARE_BATCH } else { BATCH };
    let device = &chosen.device;
    for (c, side, k, stride) in DEPTHWISE {
        let window = Window::same([side; 2], k, stride, 1);
        let layer = Layer::new([batch, c, side, side], [c, 1, k, k], device);
        let name = format!("depthwise {k} x {k}, stride {stride}, {batch} x {c} x {side} x {side}");
        let ours = || layer.pass(|x, w, b| depthwise_conv(x, w, b, window, Some(CEILING)));
        let plain = || {
            layer.pass(|x, w, b| {
                let [[top, bottom], [left, right]] = window.padding();
                let x = x.pad((left, right, top, bottom), 0.0);
                let options = ConvOptions::new([stride; 2], [0; 2], [1; 2], c);
                conv2d(x, w, Some(b), options).clamp(0.0, CEILING)
            })
        };
        on_outcome(compare(name, device, ours, Some(&plain), String::new())?)?;
    }
    for (c, o, side) in POINTWISE {
        let layer = Layer::new([batch, c, side, side], [o, c, 1, 1], device);
        let name = format!("pointwise {c} to {o}, {batch} x {side} x {side}");
        let ours = || layer.pass(|x, w, b| pointwise_conv(x, w, b, Some(CEILING)));
        let plain = || {
            layer.pass(|x, w, b| {
                let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
                conv2d(x, w, Some(b), options).clamp(0.0, CEILING)
            })
        };
        on_outcome(compare(name, device, ours, Some(&plain), String::new())?)?;
    }
    Ok(())
}

struct Layer {
    input: Tensor<4>,
    kernel: Tensor<4>,
    bias: Tensor<1>,
}

impl Layer {
    fn new(input: [usize; 4], kernel: [usize; 4], device: &Device) -> Layer {
        let device = device.clone().autodiff();
        let values = |count: usize| {
            let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
            (0..count).map(value).collect::<Vec<_>>()
        };
        let tensor = |shape: [usize; 4]| {
            let data = TensorData::new(values(shape.iter().product()), shape);
            Tensor::<4>::from_data(data, &device)
        };
        Layer {
            input: tensor(input),
            kernel: tensor(kernel),
            bias: Tensor::zeros([kernel[0]], &device),
        }
    }

    /// Forward and backward; the gradients of all three are awaited.
    fn pass(&self, conv: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>) -> Result<()> {
        let input = self.input.clone().require_grad();
        let kernel = self.kernel.clone().require_grad();
        let bias = self.bias.clone().require_grad();
        let out = conv(input.clone(), kernel.clone(), bias.clone());
        let grads = out.sum().backward();
        let missing = "a gradient that is not there";
        let input = input.grad(&grads).context(missing)?;
        download(input.slice([0..1, 0..1, 0..1, 0..1]))?;
        download(kernel.grad(&grads).context(missing)?.slice([0..1, 0..1, 0..1, 0..1]))?;
        download(bias.grad(&grads).context(missing)?.narrow(0, 0, 1))?;
        Ok(())
    }
}
