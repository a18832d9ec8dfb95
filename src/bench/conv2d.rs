//! Every distinct dense convolution of the networks at the sizes that they train at, forward, and forward with both
//! gradients, ours against burn's in turn.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};

use super::{OnOutcome, Outcome, PAIRS, median, memory};
use crate::device::{Chosen, download};
use crate::kernels::{Convolver, conv2d, convolve_by};
use crate::models::Convolution;
use crate::models::Network;
use crate::progress;

/// A network, the side of the crops that its recipe trains on, and images of a step.
const NETWORKS: [(&str, usize, usize); 4] = [
    ("resnet38_cls", 448, 8),
    ("vgg16_largefov_cls", 321, 8),
    ("deeplab_resnet50", 321, 8),
    ("efficientnet_lite0_cls", 224, 16),
];
/// Side of the crops in software, one image a step.
const SOFTWARE: usize = 161;
/// Pairs there, where burn's way takes seconds.
const SOFTWARE_PAIRS: usize = 2;
const CLASSES: usize = 20;

/// What is timed of a convolution.
const PASSES: [(&str, bool); 2] = [("forward", false), ("forward + backward", true)];

/// Every network, in a quick run the first alone, with the geometric mean of either pass.
pub fn run(chosen: &Chosen, quick: bool, on_outcome: OnOutcome) -> Result<()> {
    let is_software = chosen.adapter.as_ref().is_some_and(|a| !a.is_gpu());
    let networks = if quick { &NETWORKS[..1] } else { &NETWORKS };
    for (name, side, batch) in networks {
        let (side, batch) = match (is_software, quick) {
            (true, _) => (SOFTWARE, 1),
            (_, true) => (*side, 1),
            _ => (*side, *batch),
        };
        let pairs = if is_software || quick { SOFTWARE_PAIRS } else { PAIRS };
        let convolutions = Network::named(name, 1, CLASSES)?.convolutions(side, side)?;
        let bar = progress::bar((2 * convolutions.len()) as u64, "layers", name);
        let mut ratios = [Vec::new(), Vec::new()];
        for convolution in &convolutions {
            let layer = Layer::new(convolution, batch, &chosen.device);
            for ((pass, backward), ratios) in PASSES.iter().zip(&mut ratios) {
                let outcome = layer.compare(name, pass, *backward, pairs)?;
                ratios.extend(outcome.ratio);
                on_outcome(outcome)?;
                bar.inc(1);
            }
            chosen.device.memory_cleanup();
        }
        bar.finish();
        for ((pass, _), ratios) in PASSES.iter().zip(&ratios) {
            on_outcome(mean(name, pass, ratios))?;
        }
    }
    Ok(())
}

/// The geometric mean of all shapes, in the place of a ratio.
fn mean(name: &str, pass: &str, ratios: &[f64]) -> Outcome {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    Outcome {
        ratio: Some((logarithms / ratios.len().max(1) as f64).exp()),
        ..Outcome::of(
            format!("conv {name}, {pass}, geometric mean"),
            Vec::new(),
            Vec::new(),
            0,
            format!("{} shapes, the least {least:.2} x", ratios.len()),
        )
    }
}

struct Layer {
    convolution: Convolution,
    input: Tensor<4>,
    kernel: Tensor<4>,
    device: Device,
}

impl Layer {
    fn new(convolution: &Convolution, batch: usize, device: &Device) -> Layer {
        let tracked = device.clone().autodiff();
        let tensor = |shape: [usize; 4]| {
            let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
            let values: Vec<f32> = (0..shape.into_iter().product()).map(value).collect();
            Tensor::<4>::from_data(TensorData::new(values, shape), &tracked)
        };
        let [c, h, w] = convolution.input;
        Layer {
            convolution: *convolution,
            input: tensor([batch, c, h, w]),
            kernel: tensor(convolution.kernel),
            device: device.clone(),
        }
    }

    fn compare(&self, network: &str, pass: &str, backward: bool, pairs: usize) -> Result<Outcome> {
        let ours = || self.pass(backward);
        let plain = || convolve_by(Convolver::Burn, || self.pass(backward));
        let ours_bytes = memory::peak(&self.device, &ours)?;
        let plain_bytes = memory::peak(&self.device, &plain)?;
        let (mut times, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            times.push(time(&ours)?);
            theirs.push(time(&plain)?);
        }
        // Of few runs beside other work the least says most.
        let least = |times: Vec<f64>| match pairs < PAIRS {
            true => vec![times.into_iter().fold(f64::INFINITY, f64::min)],
            false => times,
        };
        let Convolution { input, kernel, sliding } = self.convolution;
        let ([_, h, w], [o, c, k, l]) = (input, kernel);
        let name = format!(
            "conv {network} {k} x {l}, {c} to {o}, {h} x {w}, stride {}, dilation {}, {pass}",
            sliding.stride[0], sliding.dilation[0]
        );
        let (times, theirs) = (least(times), least(theirs));
        let note = median(times.clone()).map_or(String::new(), |seconds| {
            let [_, _, out_h, out_w] = self.out();
            let products = self.input.dims()[0] * o * c * k * l * out_h * out_w;
            let passes = if backward { 3.0 } else { 1.0 };
            format!("{:.1} GFLOP/s", 2.0 * passes * products as f64 / seconds / 1e9)
        });
        Ok(Outcome {
            plain_bytes: Some(plain_bytes),
            ..Outcome::of(name, times, theirs, ours_bytes, note)
        })
    }

    fn out(&self) -> [usize; 4] {
        let Convolution { input, kernel, sliding } = self.convolution;
        let side = |i: usize| {
            let reach = sliding.dilation[i] * (kernel[2 + i] - 1) + 1;
            (input[1 + i] + 2 * sliding.padding[i] - reach) / sliding.stride[i] + 1
        };
        [self.input.dims()[0], kernel[0], side(0), side(1)]
    }

    fn pass(&self, backward: bool) -> Result<()> {
        let sliding = self.convolution.sliding;
        let first = |x: Tensor<4>| download(x.slice([0..1, 0..1, 0..1, 0..1]));
        if !backward {
            let (input, kernel) = (self.input.clone().inner(), self.kernel.clone().inner());
            first(conv2d(input, kernel, None, sliding))?;
            return Ok(());
        }
        let input = self.input.clone().require_grad();
        let kernel = self.kernel.clone().require_grad();
        let grads = conv2d(input.clone(), kernel.clone(), None, sliding).sum().backward();
        let missing = "a gradient that is not there";
        first(input.grad(&grads).context(missing)?)?;
        first(kernel.grad(&grads).context(missing)?)?;
        Ok(())
    }
}

/// Seconds of a run.
fn time(work: &impl Fn() -> Result<()>) -> Result<f64> {
    let clock = Instant::now();
    work()?;
    Ok(clock.elapsed().as_secs_f64())
}
