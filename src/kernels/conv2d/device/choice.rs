//! Who computes a convolution: burn, or one of the two designs of ours. On a GPU, burn and tiles are timed at every shape
//! that is new, as burn's tuner does among its own kernels, and the choice is kept (`measured`); in software, and in builds
//! without autotune, a rule says it.

use burn::backend::wgpu::CubeTensor;
use cubecl::Device;
use cubecl::device::WgpuDeviceKind;

use super::measured;
use crate::kernels::conv2d::Sizes;
use crate::kernels::conv2d::convolver::{Convolver, Design, asked};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient of the input.
    BackwardInput,
    /// The gradient of the kernel.
    BackwardKernel,
}

/// Runs `work` by whom it is best, beside `input`; `fits` tells whether a design can.
pub fn run(
    pass: Pass,
    sizes: &Sizes,
    input: &CubeTensor,
    fits: impl Fn(Design) -> bool,
    work: impl Fn(Convolver) -> CubeTensor,
) -> CubeTensor {
    let within = is_numbered(sizes);
    let or_burn = |convolver| match convolver {
        Convolver::Ours(design) if !(within && fits(design)) => Convolver::Burn,
        other => other,
    };
    if let Some(asked) = asked() {
        return work(or_burn(asked));
    }
    let ruled = or_burn(by_rule(pass, sizes, is_software(&input.device)));
    if is_software(&input.device) || !measured::IS_WANTED || is_depthwise(sizes) {
        return work(ruled);
    }
    let ours = or_burn(Convolver::Ours(Design::Tiles));
    if ours == Convolver::Burn {
        return work(ours);
    }
    work(measured::faster(pass, sizes, input, [Convolver::Burn, ours], &work).unwrap_or(ruled))
}

/// By whom, where nothing is measured.
fn by_rule(pass: Pass, sizes: &Sizes, is_software: bool) -> Convolver {
    if is_depthwise(sizes) {
        return Convolver::Burn;
    }
    match is_software {
        true => Convolver::Ours(Design::Runs),
        // burn multiplies matrices in a kernel that it has tuned on the device, and its gradients at large kernels too;
        // forward it has nothing but the direct kernel.
        false if is_product(sizes) || pass != Pass::Forward => Convolver::Burn,
        false => Convolver::Ours(Design::Tiles),
    }
}

fn is_software(device: &Device) -> bool {
    matches!(device, Device::Wgpu(device) if device.kind == WgpuDeviceKind::Cpu)
}

fn is_depthwise(sizes: &Sizes) -> bool {
    sizes.groups > 1 && sizes.inputs == 1
}

fn is_product(sizes: &Sizes) -> bool {
    sizes.kernel == [1; 2] && sizes.stride == [1; 2] && sizes.padding == [0; 2]
}

/// Whether every entry has a number that the shaders can compute.
fn is_numbered(sizes: &Sizes) -> bool {
    let shapes = [sizes.input_shape(), sizes.kernel_shape(), sizes.output_shape()];
    shapes
        .into_iter()
        .all(|shape| shape.into_iter().product::<usize>() < i32::MAX as usize / 2)
}
