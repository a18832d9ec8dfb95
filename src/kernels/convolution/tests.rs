//! Depthwise and pointwise convolution over random shapes against their definitions: depthwise on both devices, pointwise
//! on the CPU alone, since on a device it is a dense convolution, which has tests of its own.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use crate::kernels::depthwise_conv::{Window, depthwise_conv};
use crate::kernels::pointwise_conv::pointwise_conv;
use crate::kernels::testing::{close, download, on_both_devices, on_device, upload};

#[derive(Clone, Debug)]
struct Case {
    shape: [usize; 4],
    outputs: usize,
    window: Window,
    ceiling: Option<f32>,
    input: Vec<f32>,
    kernel: Vec<f32>,
    bias: Vec<f32>,
    upstream: Vec<f32>,
}

fn cases(depthwise: bool) -> impl Strategy<Value = Case> {
    let sizes = (1..3usize, 1..5usize, 1..12usize, 1..40usize, 1..4usize);
    let window = (1..6usize, 1..4usize, 1..4usize, any::<bool>());
    (sizes, window).prop_flat_map(move |((b, c, h, w, o), (k, stride, dilation, clamps))| {
        let window = match depthwise {
            true => Window::same([h, w], k, stride, dilation),
            false => Window::same([h, w], 1, 1, 1),
        };
        let outputs = if depthwise { c } else { o };
        let kernel = if depthwise { c * k * k } else { o * c };
        let [out_h, out_w] = window.output;
        let values = |n: usize| proptest::collection::vec(-1.0..1.0f32, n);
        (
            values(b * c * h * w),
            values(kernel),
            values(outputs),
            values(b * outputs * out_h * out_w),
        )
            .prop_map(move |(input, kernel, bias, upstream)| Case {
                shape: [b, c, h, w],
                outputs,
                window,
                ceiling: clamps.then_some(0.4),
                input,
                kernel,
                bias,
                upstream,
            })
    })
}

/// Results and gradients of input, kernel and bias.
type All<T> = [Vec<T>; 4];

impl Case {
    fn on(&self, depthwise: bool, device: &Device) -> All<f32> {
        let device = device.clone().autodiff();
        let (o, [_, c, _, _]) = (self.outputs, self.shape);
        let k = self.window.kernel;
        let kernel = if depthwise { [c, 1, k, k] } else { [o, c, 1, 1] };
        let input = upload(&self.input, self.shape, &device).require_grad();
        let kernel = upload(&self.kernel, kernel, &device).require_grad();
        let bias: Tensor<1> = upload(&self.bias, [o], &device).require_grad();
        let (x, w, b) = (input.clone(), kernel.clone(), bias.clone());
        let out = match depthwise {
            true => depthwise_conv(x, w, b, self.window, self.ceiling),
            false => pointwise_conv(x, w, b, self.ceiling),
        };
        let upstream = upload(&self.upstream, out.dims(), &device);
        let mut grads = (out.clone() * upstream).sum().backward();
        [
            download(out.inner()),
            download(input.grad_remove(&mut grads).unwrap()),
            download(kernel.grad_remove(&mut grads).unwrap()),
            download(bias.grad_remove(&mut grads).unwrap()),
        ]
    }

    /// By the definition; `clamped` is what the device gave, which decides what counts as clamped.
    fn exactly(&self, depthwise: bool, clamped: &[f32]) -> All<f64> {
        let ([b, c, h, w], o) = (self.shape, self.outputs);
        let Window {
            kernel: k,
            stride,
            dilation,
            before: [top, left],
            output: [out_h, out_w],
            ..
        } = self.window;
        let mut out = vec![0.0; b * o * out_h * out_w];
        let mut grads = [&self.input, &self.kernel, &self.bias].map(|v| vec![0.0; v.len()]);
        for i in 0..out.len() {
            let (x, y) = (i % out_w, i / out_w % out_h);
            let (channel, image) = (i / (out_w * out_h) % o, i / (out_w * out_h * o));
            let mut terms = Vec::new();
            let inputs = if depthwise { channel..channel + 1 } else { 0..c };
            for from in inputs {
                for tap in 0..k * k {
                    let row = (y * stride + tap / k * dilation).checked_sub(top);
                    let column = (x * stride + tap % k * dilation).checked_sub(left);
                    let (Some(row), Some(column)) = (row, column) else {
                        continue;
                    };
                    if row < h && column < w {
                        let weight = match depthwise {
                            true => channel * k * k + tap,
                            false => channel * c + from,
                        };
                        terms.push((((image * c + from) * h + row) * w + column, weight));
                    }
                }
            }
            let product = |(x, w): &(usize, usize)| f64::from(self.input[*x]) * f64::from(self.kernel[*w]);
            let sum = f64::from(self.bias[channel]) + terms.iter().map(product).sum::<f64>();
            let ceiling = self.ceiling.map(f64::from);
            out[i] = ceiling.map_or(sum, |ceiling| sum.clamp(0.0, ceiling));
            let passes = self
                .ceiling
                .is_none_or(|ceiling| clamped[i] > 0.0 && clamped[i] < ceiling);
            if passes {
                let g = f64::from(self.upstream[i]);
                for (x, w) in terms {
                    grads[0][x] += g * f64::from(self.kernel[w]);
                    grads[1][w] += g * f64::from(self.input[x]);
                }
                grads[2][channel] += g;
            }
        }
        let [input, kernel, bias] = grads;
        [out, input, kernel, bias]
    }

    fn holds(&self, depthwise: bool, device: &Device) -> Result<(), TestCaseError> {
        let actual = self.on(depthwise, device);
        let expected = self.exactly(depthwise, &actual[0]);
        for (actual, expected) in actual.iter().zip(&expected) {
            close(actual, expected, 1e-4)?;
        }
        Ok(())
    }
}

#[test]
fn depthwise_convolution_is_what_its_definition_says() {
    on_both_devices(&cases(true), |case, device| case.holds(true, device));
}

#[test]
fn pointwise_convolution_is_what_its_definition_says() {
    on_device(&cases(false), &Device::flex(), |case, device| case.holds(false, device));
}
