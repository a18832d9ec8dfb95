//! Pair affinity on a device: the shaders `pair_affinity.wgsl` and `pair_affinity_backward.wgsl`.

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, KernelSource, into_contiguous};

use super::{PairAffinity, PairAffinityBackward};
use crate::kernels::launch::{self, Source, shader};
use crate::kernels::neighbourhood::{self, offsets};

shader!(Forward, "pair_affinity");
shader!(Backward, "pair_affinity_backward");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [Forward::sources(), Backward::sources()].concat()
}

impl PairAffinity for CubeBackend {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        forward(Forward, launch::MAX_WORKGROUPS, features, radius, scale)
    }
}

impl PairAffinityBackward for CubeBackend {
    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self> {
        backward(features, slope, radius)
    }
}

/// The affinities by a kernel for grids of at most `most` workgroups along x.
fn forward<K: KernelSource>(kernel: K, most: u32, features: CubeTensor, radius: usize, scale: f32) -> CubeTensor {
    let features = into_contiguous(features);
    let [b, d, h, w] = features.meta.shape().dims();
    let offsets = offsets(radius);
    let k = offsets.len();
    let out = launch::empty_like(&features, [b, k, h, w]);
    let n = b * k * h * w;
    let parameters = launch::parameters(&features, n, &[d as u32, h as u32, w as u32, k as u32, scale.to_bits()]);
    let buffers = vec![
        features.handle.clone(),
        out.handle.clone(),
        neighbourhood::upload(&features, &offsets),
        parameters,
    ];
    let grid = launch::grid(n, most);
    launch::run_groups(&features, kernel, launch::WORKGROUP, grid, buffers);
    out
}

fn backward(features: CubeTensor, slope: CubeTensor, radius: usize) -> CubeTensor {
    let (features, slope) = (into_contiguous(features), into_contiguous(slope));
    let [b, d, h, w] = features.meta.shape().dims();
    let offsets = offsets(radius);
    let k = offsets.len();
    let out = launch::empty_like(&features, [b, d, h, w]);
    let n = b * d * h * w;
    let buffers = vec![
        features.handle.clone(),
        slope.handle.clone(),
        out.handle.clone(),
        neighbourhood::upload(&features, &offsets),
    ];
    let sizes = [d as u32, h as u32, w as u32, k as u32];
    launch::run_with(&features, Backward, n, buffers, &sizes);
    out
}

#[cfg(test)]
mod tests {
    use burn::backend::DispatchDevice;
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::TensorData;

    use super::*;
    use crate::device::{Choice, choose};
    use crate::kernels::launch::Folded;

    #[test]
    fn a_launch_past_the_limit_is_folded_and_gives_the_same_bits() {
        let device = choose(Choice::Vulkan).unwrap().device;
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("{device:?} has no kernels");
        };
        let values: Vec<f32> = (0..3 * 20 * 21).map(|i| (i as f32).sin()).collect();
        let features = || {
            let data = TensorData::new(values.clone(), [1, 3, 20, 21]);
            CubeBackend::float_from_data(data, device)
        };
        let bits = |tensor: CubeTensor| {
            let data = pollster::block_on(CubeBackend::float_into_data(tensor)).unwrap();
            data.try_to_vec::<f32>().unwrap()
        };
        let whole = bits(forward(Forward, launch::MAX_WORKGROUPS, features(), 5, 0.5));
        // 34 · 420 pairs are 56 workgroups: in whole rows, and with one that is cut short.
        for most in [7, 9, 55] {
            let folded = forward(Folded(Forward, most), most, features(), 5, 0.5);
            assert_eq!(bits(folded), whole, "at most {most} workgroups");
        }
    }
}
