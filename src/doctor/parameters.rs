//! Gradients of parameters where nothing else has one, as in every training of ours: on Metal, burn 0.22.1 gives NaN for
//! some such graphs that are right once their input is tracked too (burn issue 5162). What has run before hides it there,
//! so that these checks come first.

use anyhow::Result;
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::check::{Check, Part};
use super::input::{Input, Layout, backward, values, words};
use crate::device::download;

/// Of results and of gradients.
const TOLERANCES: [f64; 2] = [1e-4, 1e-3];
/// `[B, C, H, W]` of every layer's input and output: one shape, which a device tunes for once.
const SHAPE: [usize; 4] = [2, 8, 9, 11];
/// Layers of the networks.
const DEPTHS: [usize; 4] = [1, 2, 4, 8];

/// A layer: its input, its kernel and its bias to its output.
type LayerOf<'a> = &'a dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>;

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    DEPTHS.map(|depth| check(depth, layer)).into()
}

/// A convolution of 3 x 3 with its bias, and ReLU.
pub(super) fn layer(x: Tensor<4>, kernel: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    relu(conv2d(
        x,
        kernel,
        Some(bias),
        ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
    ))
}

/// A network of so many layers; on the device, of `layer` in place of this file's.
pub(super) fn check(depth: usize, on_device: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4> + 'static) -> Check {
    Check::new(
        "parameters alone",
        format!("{}, {depth} layers", words(&SHAPE, Layout::Contiguous)),
        "training",
        move |device| on(depth, &on_device, device),
        move || on(depth, &layer, &Device::flex()),
    )
}

fn on(depth: usize, layer: LayerOf, device: &Device) -> Result<Vec<Part>> {
    let device = device.clone().autodiff();
    let count = SHAPE.iter().product();
    let [_, c, _, _] = SHAPE;
    let mut parameters = Vec::new();
    let mut x = Tensor::<4>::from_data(TensorData::new(values(count, 41, -1.0, 1.0), SHAPE), &device);
    for i in 0..depth as u32 {
        let bound = 2.4 / ((9 * c) as f32).sqrt();
        let kernel = values(9 * c * c, 50 + 2 * i, -bound, bound);
        let kernel = Input::new(&kernel, [c, c, 3, 3], Layout::Contiguous, &device);
        let bias = Input::new(&values(c, 51 + 2 * i, 0.0, 0.2), [1, c], Layout::Contiguous, &device);
        x = layer(x, kernel.tensor(), bias.tensor().reshape([c]));
        parameters.push((kernel, bias));
    }
    let mut gradients = backward(&x, &values(count, 42, -0.2, 1.0));
    let mut tensors = Vec::new();
    for (kernel, bias) in &parameters {
        tensors.push(kernel.gradient(&mut gradients)?);
        tensors.push(bias.gradient(&mut gradients)?);
    }
    let [of_result, of_gradient] = TOLERANCES;
    Ok(vec![
        Part {
            name: "result",
            tensors: vec![download(x.inner())?],
            tolerance: of_result,
        },
        Part {
            name: "gradient",
            tensors,
            tolerance: of_gradient,
        },
    ])
}
