//! AffinityNet's loss with its gradient against the released code's way: all pairs' differences as one tensor.

use anyhow::Result;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use super::{Outcome, compare};
use crate::device::Chosen;
use crate::device::download;
use crate::kernels::{Distance, offsets, pair_affinity};

const CHANNELS: usize = 448;
const SIDE: usize = 56;
const RADIUS: usize = 5;
/// What WebGPU promises for one buffer; the plain form's largest tensor has to fit where the device says no more.
const SOFTWARE_BUFFER: u64 = 128 << 20;

/// Forward and backward at the size of AffinityNet's training on VOC.
pub fn run(chosen: &Chosen) -> Result<Vec<Outcome>> {
    let device = chosen.device.clone().autodiff();
    let bytes = |batch: usize| (batch * CHANNELS * offsets(RADIUS).len() * SIDE * SIDE * 4) as u64;
    let limit = crate::device::buffer_limit(chosen)
        .unwrap_or(u64::MAX)
        .max(SOFTWARE_BUFFER);
    let mut outcomes = Vec::new();
    if bytes(8) <= limit {
        outcomes.push(one(&device, 8, true, String::new())?);
    } else {
        let note = format!(
            "the plain form's largest tensor, {:.0} MB, exceeds this device's largest buffer, {:.0} MB",
            bytes(8) as f64 / 1e6,
            limit as f64 / 1e6
        );
        outcomes.push(one(&device, 8, false, note)?);
        if bytes(1) <= limit {
            outcomes.push(one(&device, 1, true, String::new())?);
        }
    }
    Ok(outcomes)
}

fn one(device: &Device, batch: usize, with_plain: bool, note: String) -> Result<Outcome> {
    device.seed(0);
    let shape = [batch, CHANNELS, SIDE, SIDE];
    let features = Tensor::<4>::random(
        shape,
        Distribution::Uniform(0.0, 1.0),
        &device.clone().inner(),
    );
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
    let indices = pairs(&device.clone().inner());
    let ours = || {
        pass(&|x| {
            let affinity = pair_affinity(x, RADIUS, Distance::Mean);
            // Pairs that leave the image have affinity 0, whose logarithm is not wanted here.
            affinity.clone() + affinity.inner().equal_elem(0.0).float()
        })
    };
    let plain = || pass(&|x| gathered(x, &indices));
    compare(
        format!("pair-affinity {batch} x {CHANNELS} x {SIDE} x {SIDE}, forward + backward"),
        &device.clone().inner(),
        ours,
        with_plain.then_some(&plain),
        note,
    )
}

/// First and second pixel of every pair inside of the image.
fn pairs(device: &Device) -> [Tensor<1, Int>; 2] {
    let mut ends = [Vec::new(), Vec::new()];
    for (dy, dx) in offsets(RADIUS) {
        for i in 0..SIDE * SIDE {
            let (y, x) = ((i / SIDE) as i32 + dy, (i % SIDE) as i32 + dx);
            if (0..SIDE as i32).contains(&y) && (0..SIDE as i32).contains(&x) {
                ends[0].push(i as i32);
                ends[1].push(y * SIDE as i32 + x);
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
