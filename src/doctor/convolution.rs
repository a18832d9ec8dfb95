//! EfficientNet's operators: depthwise and pointwise convolution.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::check::{Check, Cost, Part};
use super::input::{Input, Layout, backward, values, words};
use crate::device::download;
use crate::kernels::{Window, depthwise_conv, pointwise_conv};

const TOLERANCE: f64 = 1e-4;
const CEILING: Option<f32> = Some(1.0);

/// Input `[B, C, H, W]`, kernel, stride and dilation: every stride with an odd and an even side, dilated, a single row,
/// transposed.
const DEPTHWISE: [([usize; 4], [usize; 3], Layout); 4] = [
    ([2, 5, 13, 18], [3, 1, 1], Layout::Contiguous),
    ([1, 4, 13, 18], [5, 2, 1], Layout::Contiguous),
    ([1, 3, 11, 9], [5, 1, 4], Layout::Transposed),
    ([1, 2, 1, 67], [3, 2, 1], Layout::Contiguous),
];
/// Input and output channels.
const POINTWISE: [([usize; 4], usize); 1] = [([2, 5, 13, 17], 7)];

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    let depthwise = DEPTHWISE.map(|(shape, [k, stride, dilation], layout)| {
        let [_, c, h, w] = shape;
        let window = Window::same([h, w], k, stride, dilation);
        let name = format!(
            "{}, {k} x {k}, stride {stride}, dilation {dilation}",
            words(&shape, layout)
        );
        check("depthwise_conv", name, (shape, layout), [c, 1, k, k], move |x, k, b| {
            depthwise_conv(x, k, b, window, CEILING)
        })
    });
    let pointwise = POINTWISE.map(|(shape, o)| {
        let layout = Layout::Contiguous;
        let name = format!("{}, {o} outputs", words(&shape, layout));
        let kernel = [o, shape[1], 1, 1];
        check("pointwise_conv", name, (shape, layout), kernel, |x, k, b| {
            pointwise_conv(x, k, b, CEILING)
        })
        .costing(Cost::Tuning)
    });
    depthwise.into_iter().chain(pointwise).collect()
}

fn check(
    name: &str,
    shape: String,
    input: ([usize; 4], Layout),
    kernel: [usize; 4],
    operator: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4> + Copy + 'static,
) -> Check {
    Check::new(
        name,
        shape,
        "every stage with an EfficientNet",
        move |device| on(input, kernel, operator, device),
        move || on(input, kernel, operator, &Device::flex()),
    )
}

fn on(
    (shape, layout): ([usize; 4], Layout),
    kernel: [usize; 4],
    operator: impl Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>,
    device: &Device,
) -> Result<Vec<Part>> {
    let device = device.clone().autodiff();
    let count = |shape: &[usize]| shape.iter().product();
    let x = Input::new(&values(count(&shape), 31, -1.0, 1.0), shape, layout, &device);
    let weights = values(count(&kernel), 32, -1.0, 1.0);
    let weights = Input::new(&weights, kernel, Layout::Contiguous, &device);
    let row = [1, kernel[0]];
    let bias = Input::new(&values(kernel[0], 33, -0.5, 0.5), row, Layout::Contiguous, &device);
    let out = operator(x.tensor(), weights.tensor(), bias.tensor().reshape([kernel[0]]));
    let mut gradients = backward(&out, &values(count(&out.dims()), 34, -0.2, 1.0));
    let part = |name, tensors| Part {
        name,
        tensors,
        tolerance: TOLERANCE,
    };
    Ok(vec![
        part("result", vec![download(out.inner())?]),
        part(
            "gradient",
            vec![
                x.gradient(&mut gradients)?,
                weights.gradient(&mut gradients)?,
                bias.gradient(&mut gradients)?,
            ],
        ),
    ])
}
