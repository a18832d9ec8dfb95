//! What checks compute on: numbers that are the same on every machine, in memory as they come or transposed.

use anyhow::{Context as _, Result};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::device::download;

/// Invocations that do not fit into the 65,535 workgroups of 256 that one dimension of a launch may have; the last
/// workgroup is not full.
pub const PAST_THE_LIMIT: usize = 65_535 * 256 + 200;

/// `count` values in `low..high`, multiples of 2⁻¹⁶ of the range, all different sequences for different `seed`s.
pub fn values(count: usize, seed: u32, low: f32, high: f32) -> Vec<f32> {
    let mix = |x: u32| (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let stir = |x: u32| {
        let x = mix(x).wrapping_add(seed.wrapping_mul(0x9E37_79B9));
        let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        x ^ (x >> 16)
    };
    let unit = |x: u32| (x >> 16) as f32 / 65_536.0;
    (0..count as u32)
        .map(|i| low + (high - low) * unit(stir(i.wrapping_add(1))))
        .collect()
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row by row.
    Contiguous,
    /// Column by column: the last two dimensions are swapped.
    Transposed,
}

/// A tensor on a device, and its gradient later.
pub struct Input<const D: usize> {
    leaf: Tensor<D>,
    layout: Layout,
}

impl<const D: usize> Input<D> {
    /// Uploads `values` of `shape`; on a device with autodiff, tracked.
    pub fn new(values: &[f32], shape: [usize; D], layout: Layout, device: &Device) -> Input<D> {
        let leaf = Tensor::<D>::from_data(TensorData::new(values.to_vec(), shape), device);
        let leaf = match layout {
            Layout::Contiguous => leaf,
            // Through the host, so that the device's own copying cannot make up for its own mistake.
            Layout::Transposed => {
                let [rows, columns] = [shape[D - 2], shape[D - 1]];
                let transposed: Vec<f32> = values
                    .chunks(rows * columns)
                    .flat_map(|plane| (0..rows * columns).map(|i| plane[i % rows * columns + i / rows]))
                    .collect();
                let mut swapped = shape;
                swapped.swap(D - 2, D - 1);
                Tensor::from_data(TensorData::new(transposed, swapped), device)
            }
        };
        let leaf = if device.is_autodiff() {
            leaf.require_grad()
        } else {
            leaf
        };
        Input { leaf, layout }
    }

    /// The tensor, of the shape that it was made with.
    pub fn tensor(&self) -> Tensor<D> {
        self.turned(self.leaf.clone())
    }

    fn turned(&self, tensor: Tensor<D>) -> Tensor<D> {
        match self.layout {
            Layout::Contiguous => tensor,
            Layout::Transposed => tensor.swap_dims(D - 2, D - 1),
        }
    }

    /// Its gradient, in the order of its values.
    ///
    /// # Errors
    /// Where there is none, or the device gives no result.
    pub fn gradient(&self, gradients: &mut Gradients) -> Result<Vec<f32>> {
        let gradient = self.leaf.grad_remove(gradients);
        download(self.turned(gradient.context("no gradient came back")?))
    }
}

/// The derivatives of Σ `upstream` · `out`.
pub fn backward<const D: usize>(out: &Tensor<D>, upstream: &[f32]) -> Gradients {
    let data = TensorData::new(upstream.to_vec(), out.dims());
    let upstream = Tensor::<D>::from_data(data, &out.device());
    // Of a tensor burn takes the gradients of its sum, and none of the kernels that it would tune for the sum.
    (out.clone() * upstream).backward()
}

/// The shape in words, and how it lies in memory.
pub fn words(shape: &[usize], layout: Layout) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let transposed = match layout {
        Layout::Contiguous => "",
        Layout::Transposed => ", transposed",
    };
    format!("{}{transposed}", sizes.join("x"))
}
