//! AffinityNet's loss with its gradient against the released code's way: all pairs' differences as one tensor.

use anyhow::Result;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use super::{OnOutcome, Outcome, compare};
use crate::device::Chosen;
use crate::device::download;
use crate::kernels::{Distance, offsets, pair_affinity};

const CHANNELS: usize = 448;
/// Batch and side: AffinityNet's training on VOC first, then what smaller buffers hold.
const SIZES: [(usize, usize); 3] = [(8, 56), (1, 56), (1, 40)];
const RADIUS: usize = 5;
/// Forward and backward at the size of AffinityNet's training on VOC.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let device = chosen.device.clone().autodiff();
    let bytes = |(batch, side): (usize, usize)| {
        (batch * CHANNELS * offsets(RADIUS).len() * side * side * size_of::<f32>()) as u64
    };
    let limit = crate::device::buffer_limit(chosen).unwrap_or(u64::MAX);
    for size in SIZES {
        if bytes(size) <= limit {
            return on_outcome(one(&device, size, true, String::new())?);
        }
        let note = format!(
            "no plain form: its largest tensor, {:.0} MB, exceeds this device's largest buffer, {:.0} MB",
            bytes(size) as f64 / 1e6,
            limit as f64 / 1e6
        );
        on_outcome(one(&device, size, false, note)?)?;
    }
    Ok(())
}

fn one(device: &Device, (batch, side): (usize, usize), with_plain: bool, note: String) -> Result<Outcome> {
    device.seed(0);
    let shape = [batch, CHANNELS, side, side];
    let features = Tensor::<4>::random(shape, Distribution::Uniform(0.0, 1.0), &device.clone().inner());
    let pass = |affinity: &dyn Fn(Tensor<4>) -> Tensor<4>| -> Result<()> {
        let x = Tensor::<4>::from_inner(features.clone()).require_grad();
        let loss = affinity(x.clone()).log().neg().mean();
        let mut grads = loss.backward();
        if let Some(grad) = x.grad_remove(&mut grads) {
            // One number forces the gradient to be there without timing a large copy.
            download(grad.narrow(0, 0, 1).narrow(1, 0, 1).sum())?;
        }
        Ok(())
    };
    let indices = pairs(side, &device.clone().inner());
    let ours = || {
        pass(&|x| {
            let affinity = pair_affinity(x, RADIUS, Distance::Mean);
            // Pairs that leave the image have affinity 0, whose logarithm is not wanted here.
            affinity.clone() + affinity.inner().equal_elem(0.0).float()
        })
    };
    let plain = || pass(&|x| gathered(x, &indices));
    compare(
        format!("pair-affinity {batch} x {CHANNELS} x {side} x {side}, forward + backward"),
        &device.clone().inner(),
        ours,
        with_plain.then_some(&plain),
        note,
    )
}

/// First and second pixel of every pair inside of the image.
fn pairs(side: usize, device: &Device) -> [Tensor<1, Int>; 2] {
    let mut ends = [Vec::new(), Vec::new()];
    for (dy, dx) in offsets(RADIUS) {
        for i in 0..side * side {
            let (y, x) = ((i / side) as i32 + dy, (i % side) as i32 + dx);
            if (0..side as i32).contains(&y) && (0..side as i32).contains(&x) {
                ends[0].push(i as i32);
                ends[1].push(y * side as i32 + x);
            }
        }
    }
    ends.map(|end| {
        let n = end.len();
        Tensor::from_data(TensorData::new(end, [n]), device)
    })
}

/// exp(-mean |f_i - f_j|) with both ends of every pair gathered: `[B, D, P]` tensors.
fn gathered(x: Tensor<4>, [from, to]: &[Tensor<1, Int>; 2]) -> Tensor<4> {
    let [b, d, h, w] = x.dims();
    let flat = x.reshape([b, d, h * w]);
    let index = |end: &Tensor<1, Int>| Tensor::<1, Int>::from_inner(end.clone());
    let differences = flat.clone().select(2, index(from)) - flat.select(2, index(to));
    let affinity = differences.abs().mean_dim(1).neg().exp();
    let p = affinity.dims()[2];
    affinity.reshape([b, 1, 1, p])
}
