//! Convolutions: dense ones by both designs of ours, which every device can run, and EfficientNet's, depthwise and pointwise.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::check::{Check, Part};
use super::input::{Input, Layout, backward, values, words};
use crate::device::download;
use crate::kernels::{Convolver, Design, Sliding, Window, conv2d, convolve_by, depthwise_conv, pointwise_conv};

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

/// Dense: outputs, groups, side of the kernel, stride, padding and dilation. Every width that a shader is written for, in
/// channels that fill no tile.
const DENSE: [([usize; 4], [usize; 6], Layout); 5] = [
    ([2, 9, 13, 18], [17, 1, 3, 1, 1, 1], Layout::Contiguous),
    ([1, 17, 9, 23], [9, 1, 3, 2, 1, 1], Layout::Transposed),
    ([1, 6, 11, 21], [4, 2, 3, 1, 2, 2], Layout::Contiguous),
    ([1, 3, 19, 22], [5, 1, 7, 2, 3, 1], Layout::Contiguous),
    ([2, 20, 7, 11], [35, 1, 1, 1, 0, 1], Layout::Contiguous),
];

fn dense() -> Vec<Check> {
    let both = [("tiles", Design::Tiles), ("runs", Design::Runs)];
    let all = DENSE.into_iter().flat_map(|dense| both.map(|design| (dense, design)));
    all.map(
        |((shape, [o, groups, k, stride, padding, dilation], layout), (name, design))| {
            let sliding = Sliding {
                groups,
                ..Sliding::square(stride, padding, dilation)
            };
            let sizes = format!(
                "{}, {o} outputs, {groups} groups, {k} x {k}, stride {stride}, dilation {dilation}, in {name}",
                words(&shape, layout)
            );
            let kernel = [o, shape[1] / groups, k, k];
            let operator = move |x, k, b| conv2d(x, k, Some(b), sliding);
            Check::new(
                "conv2d",
                sizes,
                "every stage with a network",
                move |device| {
                    convolve_by(Convolver::Ours(design), || {
                        on((shape, layout), kernel, operator, device)
                    })
                },
                move || on((shape, layout), kernel, operator, &Device::flex()),
            )
        },
    )
    .collect()
}

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
    });
    dense().into_iter().chain(depthwise).chain(pointwise).collect()
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
