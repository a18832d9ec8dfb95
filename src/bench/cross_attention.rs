//! Attention between two images against burn's own matmul and softmax.

use anyhow::Result;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Tensor};

use super::{OnOutcome, Outcome, compare};
use crate::device::{Chosen, download};
use crate::kernels::cross_attention;

/// D and V.
const CHANNELS: usize = 512;
/// N and M.
const PIXELS: [usize; 3] = [1024, 4096, 16_384];
/// The largest tensor of the plain form on a CPU, which holds several of its size.
const CPU_LIMIT: u64 = 512 << 20;

/// Forward and backward at all sizes.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let limit = crate::device::buffer_limit(chosen).unwrap_or(CPU_LIMIT);
    let device = chosen.device.clone().autodiff();
    let mut smaller: Option<u64> = None;
    for pixels in PIXELS {
        let bytes = (pixels * pixels * size_of::<f32>()) as u64;
        let mut outcome = one(&device, pixels, bytes <= limit)?;
        let mut notes = Vec::new();
        if let Some(smaller) = smaller {
            let factor = outcome.ours_bytes as f64 / smaller.max(1) as f64;
            notes.push(format!("4 times the pixels, {factor:.2} times the memory"));
        }
        if bytes > limit {
            notes.push(format!(
                "no plain form: its logits, {:.0} MB, exceed what this device is given, {:.0} MB",
                bytes as f64 / 1e6,
                limit as f64 / 1e6
            ));
        }
        outcome.note = notes.join("; ");
        smaller = Some(outcome.ours_bytes);
        on_outcome(outcome)?;
    }
    Ok(())
}

fn one(device: &Device, pixels: usize, with_plain: bool) -> Result<Outcome> {
    device.seed(0);
    // Logits of a few units, as normalised features give.
    let spread = (3.0 / (CHANNELS as f64).sqrt()).sqrt();
    let inputs: [Tensor<3>; 3] = std::array::from_fn(|_| {
        let normal = Distribution::Normal(0.0, spread);
        Tensor::random([1, CHANNELS, pixels], normal, &device.clone().inner())
    });
    let pass = |attend: &dyn Fn([Tensor<3>; 3]) -> Tensor<3>| -> Result<()> {
        let inputs = inputs.clone().map(|x| Tensor::<3>::from_inner(x).require_grad());
        let mut grads = attend(inputs.clone()).sum().backward();
        for input in inputs {
            if let Some(grad) = input.grad_remove(&mut grads) {
                // One number forces the gradient to be there without timing a large copy.
                download(grad.narrow(1, 0, 1).sum())?;
            }
        }
        Ok(())
    };
    let ours = || pass(&|[query, key, value]| cross_attention(query, key, value));
    let plain = || {
        pass(&|[query, key, value]| {
            let weights = softmax(query.transpose().matmul(key), 2);
            value.matmul(weights.transpose())
        })
    };
    compare(
        format!("cross-attention {pixels} x {pixels}, {CHANNELS}, forward + backward"),
        &device.clone().inner(),
        ours,
        with_plain.then_some(&plain),
        String::new(),
    )
}
