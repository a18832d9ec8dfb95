//! Dense convolution and its gradients over random shapes against the definition: the CPU's twin, both designs of a device
//! (which one in software would not choose), and the rule's choice between ours and burn's.

use std::fmt;

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::{Convolver, Design, Sizes, Sliding, conv2d, convolve_by};
use crate::kernels::testing::{close, download, on_device, upload, vulkan};

#[derive(Clone)]
struct Case {
    sizes: Sizes,
    sliding: Sliding,
    has_bias: bool,
    values: [Vec<f32>; 4],
}

/// Kernels of every width that a shader is written for and of others, with stride and dilation apart and together.
fn cases() -> impl Strategy<Value = Case> {
    let channels = (1..3usize, 1..3usize, 1..20usize, 1..20usize);
    let image = (1..14usize, 1..40usize);
    let kernel = (1..4usize, prop::sample::select(vec![1usize, 2, 3, 3, 3, 4, 5, 7]));
    let sliding = (1..4usize, 1..4usize, 1..3usize, 1..4usize, 0..3usize, 0..4usize);
    (channels, image, kernel, sliding, any::<bool>()).prop_flat_map(|(channels, image, kernel, sliding, has_bias)| {
        let (images, groups, inputs, outputs) = channels;
        let (down, right, tall, wide, above, beside) = sliding;
        let sliding = Sliding {
            stride: [down, right],
            dilation: [tall, wide],
            padding: [above, beside],
            groups,
        };
        // An image that has a window.
        let side = |size: usize, taps: usize, i: usize| {
            size.max(((taps - 1) * sliding.dilation[i] + 1).saturating_sub(2 * sliding.padding[i]))
        };
        let input = [
            images,
            groups * inputs,
            side(image.0, kernel.0, 0),
            side(image.1, kernel.1, 1),
        ];
        let sizes = Sizes::of(input, [groups * outputs, inputs, kernel.0, kernel.1], sliding);
        let values = |shape: [usize; 4]| proptest::collection::vec(-1.0..1.0f32, shape.into_iter().product::<usize>());
        let all = [
            values(sizes.input_shape()),
            values(sizes.kernel_shape()),
            values([groups * outputs, 1, 1, 1]),
            values(sizes.output_shape()),
        ];
        all.prop_map(move |values| Case {
            sizes,
            sliding,
            has_bias,
            values,
        })
    })
}

/// Without the values, which are thousands.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, bias: {}", self.sizes, self.has_bias)
    }
}

impl Case {
    /// Result and gradients of input, kernel and bias.
    fn on(&self, device: &Device) -> Vec<Vec<f32>> {
        let device = device.clone().autodiff();
        let [input, kernel, bias, upstream] = &self.values;
        let input = upload(input, self.sizes.input_shape(), &device).require_grad();
        let kernel = upload(kernel, self.sizes.kernel_shape(), &device).require_grad();
        let bias: Tensor<1> = upload(bias, [bias.len()], &device).require_grad();
        let given = self.has_bias.then(|| bias.clone());
        let out = conv2d(input.clone(), kernel.clone(), given, self.sliding);
        let upstream = upload(upstream, self.sizes.output_shape(), &device);
        let mut grads = (out.clone() * upstream).sum().backward();
        let mut all = vec![
            download(out.inner()),
            download(input.grad_remove(&mut grads).unwrap()),
            download(kernel.grad_remove(&mut grads).unwrap()),
        ];
        if self.has_bias {
            all.push(download(bias.grad_remove(&mut grads).unwrap()));
        }
        all
    }

    /// The same by the definition.
    fn exactly(&self) -> Vec<Vec<f64>> {
        let Sizes {
            inputs,
            outputs,
            image: [h, w],
            kernel: [k, l],
            stride,
            padding,
            dilation,
            out: [out_h, out_w],
            ..
        } = self.sizes;
        let [input, kernel, bias, upstream] = &self.values;
        let mut out = vec![0.0; upstream.len()];
        let mut grads = [input, kernel, bias].map(|v| vec![0.0; v.len()]);
        for (i, out) in out.iter_mut().enumerate() {
            let (x, y) = (i % out_w, i / out_w % out_h);
            let plane = i / (out_w * out_h);
            let (output, image) = (plane % bias.len(), plane / bias.len());
            let first = image * inputs * self.sizes.groups + output / outputs * inputs;
            let g = f64::from(upstream[i]);
            *out = if self.has_bias { f64::from(bias[output]) } else { 0.0 };
            grads[2][output] += g;
            for (c, tap) in (0..inputs).flat_map(|c| (0..k * l).map(move |tap| (c, tap))) {
                let row = (y * stride[0] + tap / l * dilation[0]).wrapping_sub(padding[0]);
                let column = (x * stride[1] + tap % l * dilation[1]).wrapping_sub(padding[1]);
                if row < h && column < w {
                    let at = ((first + c) * h + row) * w + column;
                    let of = (output * inputs + c) * k * l + tap;
                    *out += f64::from(input[at]) * f64::from(kernel[of]);
                    grads[0][at] += g * f64::from(kernel[of]);
                    grads[1][of] += g * f64::from(input[at]);
                }
            }
        }
        let [d_input, d_kernel, d_bias] = grads;
        let mut all = vec![out, d_input, d_kernel];
        if self.has_bias {
            all.push(d_bias);
        }
        all
    }

    fn holds(&self, device: &Device) -> Result<(), TestCaseError> {
        for (actual, expected) in self.on(device).iter().zip(&self.exactly()) {
            close(actual, expected, 1e-4)?;
        }
        Ok(())
    }
}

#[test]
fn the_cpu_computes_the_definition() {
    on_device(&cases(), &Device::flex(), |case, device| {
        convolve_by(Convolver::Ours(Design::Runs), || case.holds(device))
    });
}

#[test]
fn tiles_compute_the_definition() {
    on_device(&cases(), &vulkan(), |case, device| {
        convolve_by(Convolver::Ours(Design::Tiles), || case.holds(device))
    });
}

#[test]
fn runs_compute_the_definition() {
    on_device(&cases(), &vulkan(), |case, device| {
        convolve_by(Convolver::Ours(Design::Runs), || case.holds(device))
    });
}

/// Sums are in one order: what a device gives twice are the same bits.
#[test]
fn results_do_not_change() {
    let sliding = Sliding::square(1, 1, 1);
    let sizes = Sizes::of([2, 24, 20, 33], [40, 24, 3, 3], sliding);
    let fill = |shape: [usize; 4], salt: usize| {
        let count: usize = shape.into_iter().product();
        (0..count)
            .map(|i| ((i * 37 + salt) % 101) as f32 / 50.0 - 1.0)
            .collect()
    };
    let case = Case {
        sizes,
        sliding,
        has_bias: true,
        values: [
            fill(sizes.input_shape(), 1),
            fill(sizes.kernel_shape(), 2),
            fill([40, 1, 1, 1], 3),
            fill(sizes.output_shape(), 4),
        ],
    };
    let device = vulkan();
    for design in [Design::Tiles, Design::Runs] {
        let [first, second] = [0, 1].map(|_| convolve_by(Convolver::Ours(design), || case.on(&device)));
        assert_eq!(first, second, "{design:?}");
    }
}

#[test]
#[should_panic(expected = "input channels of a convolution with 2 groups")]
fn channels_that_do_not_divide_are_refused() {
    let sliding = Sliding {
        groups: 2,
        ..Sliding::square(1, 0, 1)
    };
    Sizes::of([1, 3, 5, 5], [4, 1, 3, 3], sliding);
}
