//! Dense convolution on a device: by the shaders `conv2d*.wgsl` or by burn.

mod choice;
mod gather;
mod kernel_gradient;
mod measured;
mod runs;
mod tiles;

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use cubecl::server::Handle;

use super::convolver::{Convolver, Design};
use super::{DenseConv2d, DenseConv2dBackward, Sizes, Sliding};
use crate::kernels::launch::{self, Source, shader};
use choice::Pass;
use gather::Gather;
use kernel_gradient::Plan;

shader!(BackwardBias, "conv2d_backward_bias");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [
        tiles::sources(),
        runs::sources(),
        kernel_gradient::sources(),
        BackwardBias::sources(),
    ]
    .concat()
}

impl DenseConv2d for CubeBackend {
    fn dense_conv2d(input: FloatTensor<Self>, kernel: FloatTensor<Self>, sliding: Sliding) -> FloatTensor<Self> {
        forward(input, kernel, None, sliding)
    }

    fn biased_dense_conv2d(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        forward(input, kernel, Some(bias), sliding)
    }
}

fn forward(input: CubeTensor, kernel: CubeTensor, bias: Option<CubeTensor>, sliding: Sliding) -> CubeTensor {
    let sizes = sizes(&input, &kernel, sliding);
    let gather = Gather::forward(&sizes);
    let fits = |design| fits(design, &gather);
    choice::run(Pass::Forward, &sizes, &input, fits, |convolver| match convolver {
        Convolver::Burn => CubeBackend::conv2d(input.clone(), kernel.clone(), bias.clone(), sliding.options()),
        Convolver::Ours(design) => {
            let [input, kernel] = [&input, &kernel].map(|x| into_contiguous(x.clone()));
            let bias = bias.clone().map(into_contiguous);
            let out = launch::empty_like(&input, sizes.output_shape());
            sum(design, &gather, [&input, &kernel, &out], bias.map(|bias| bias.handle));
            out
        }
    })
}

impl DenseConv2dBackward for CubeBackend {
    fn dense_conv2d_backward_input(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        let sizes = sizes(&input, &kernel, sliding);
        let gathers = Gather::backward_input(&sizes);
        let fits = |design| gathers.iter().all(|gather| fits(design, gather));
        choice::run(Pass::BackwardInput, &sizes, &input, fits, |convolver| match convolver {
            Convolver::Burn => {
                Self::conv2d_x_backward(input.clone(), kernel.clone(), gradient.clone(), sliding.options())
            }
            Convolver::Ours(design) => {
                let [kernel, gradient] = [&kernel, &gradient].map(|x| into_contiguous(x.clone()));
                let d_input = launch::empty_like(&kernel, sizes.input_shape());
                for gather in &gathers {
                    sum(design, gather, [&gradient, &kernel, &d_input], None);
                }
                d_input
            }
        })
    }

    fn dense_conv2d_backward_kernel(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        let sizes = sizes(&input, &kernel, sliding);
        let fits = |design| Plan::new(&sizes, design).fits();
        choice::run(
            Pass::BackwardKernel,
            &sizes,
            &input,
            fits,
            |convolver| match convolver {
                Convolver::Burn => {
                    Self::conv2d_weight_backward(input.clone(), kernel.clone(), gradient.clone(), sliding.options())
                }
                Convolver::Ours(design) => {
                    let [input, gradient] = [&input, &gradient].map(|x| into_contiguous(x.clone()));
                    Plan::new(&sizes, design).run(&input, &gradient)
                }
            },
        )
    }

    fn dense_conv2d_backward_bias(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let gradient = into_contiguous(gradient);
        let [images, channels, h, w] = gradient.meta.shape().dims();
        let sums = launch::empty_like(&gradient, [channels]);
        let words = [images, channels, h * w].map(|n| n as u32);
        let buffers = vec![
            gradient.handle.clone(),
            sums.handle.clone(),
            gradient.client.create_from_slice(bytemuck::cast_slice(&words)),
        ];
        launch::run_groups(&gradient, BackwardBias, launch::WORKGROUP, [channels, 1, 1], buffers);
        sums
    }
}

fn sizes(input: &CubeTensor, kernel: &CubeTensor, sliding: Sliding) -> Sizes {
    Sizes::of(input.meta.shape().dims(), kernel.meta.shape().dims(), sliding)
}

fn fits(design: Design, gather: &Gather) -> bool {
    match design {
        Design::Tiles => tiles::fits(gather),
        Design::Runs => runs::fits(gather),
    }
}

/// Launches a gather on source, kernel and result.
fn sum(design: Design, gather: &Gather, [source, kernel, to]: [&CubeTensor; 3], bias: Option<Handle>) {
    let has_bias = bias.is_some();
    // Something has to be bound in its place.
    let bias = bias.unwrap_or_else(|| source.client.create_from_slice(bytemuck::bytes_of(&0f32)));
    let buffers = vec![source.handle.clone(), kernel.handle.clone(), bias, to.handle.clone()];
    match design {
        Design::Tiles => tiles::launch(source, gather, has_bias, buffers),
        Design::Runs => runs::launch(source, gather, has_bias, buffers),
    }
}
