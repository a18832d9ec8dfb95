//! Inference of ResNet38 at full width, the papers' largest network: the CPU device against PyTorch on the same cores,
//! and the GPU, or software Vulkan where there is none.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::pytorch::{PyTorch, Script, note, threads};
use super::{OnOutcome, Outcome, PAIRS, memory, seconds};
use crate::device::{Choice, Chosen, choose};
use crate::kernels::{Convolver, convolve_by};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::progress;

/// AffinityNet's classifier, whose class activation maps are computed.
const NETWORK: &str = "resnet38_cls";
/// Those of VOC.
const CLASSES: usize = 20;
/// A photograph of VOC.
const HEIGHT: usize = 375;
const WIDTH: usize = 500;

/// One image, the passes of either side in turn.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    on_outcome(against_pytorch()?)?;
    // The one that was asked for, else what the kernels run on without a GPU.
    let other = match &chosen.adapter {
        Some(_) => Some(chosen.clone()),
        None => choose(Choice::Vulkan).ok(),
    };
    match other {
        Some(other) => on_outcome(alone(&other)?),
        None => Ok(()),
    }
}

struct Ours {
    network: Network,
    parameters: Parameters,
    image: Tensor<4>,
}

impl Ours {
    fn new(device: &Device) -> Result<Ours> {
        let network = Network::named(NETWORK, 1, CLASSES)?;
        Ok(Ours {
            network,
            parameters: network.init(0, device)?,
            image: Tensor::zeros([1, 3, HEIGHT, WIDTH], device),
        })
    }

    fn pass(&self) -> Result<()> {
        let f = Forward::new(&self.parameters, Mode::Inference);
        self.network.infer(&f, self.image.clone())
    }
}

fn against_pytorch() -> Result<Outcome> {
    let device = Device::flex();
    let name = format!("inference {NETWORK} {WIDTH} x {HEIGHT}, CPU");
    let bar = progress::bar(2 + 2 * PAIRS as u64, "run", &name);
    let ours = Ours::new(&device)?;
    let ours_bytes = memory::peak(&device, &|| ours.pass())?;
    bar.inc(1);
    let script = Script {
        name: "resnet38.py",
        text: include_str!("resnet38.py"),
        arguments: vec![HEIGHT, WIDTH, CLASSES, threads()],
    };
    let mut python = PyTorch::start(&script, ours.network.declare().count())?;
    bar.inc(1);
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        times.push(seconds(&|| ours.pass())?);
        bar.inc(1);
        if let Some(python) = &mut python {
            theirs.push(python.turn("")?);
        }
        bar.inc(1);
    }
    bar.finish();
    let note = note(python.as_ref());
    Ok(Outcome::of(name, times, theirs, ours_bytes, note))
}

/// Ours against burn's convolutions: a pass of either to compile and tune the kernels, then those that count, one in
/// software, where a pass takes minutes.
fn alone(chosen: &Chosen) -> Result<Outcome> {
    let what = chosen.adapter.as_ref().map_or("", |adapter| &adapter.name);
    let name = format!("inference {NETWORK} {WIDTH} x {HEIGHT}");
    let runs = if chosen.adapter.as_ref().is_some_and(|a| a.is_gpu()) {
        PAIRS
    } else {
        1
    };
    let bar = progress::bar(2 + 2 * runs as u64, "run", &format!("{name}, {what}"));
    let ours = Ours::new(&chosen.device)?;
    let plain = || convolve_by(Convolver::Burn, || ours.pass());
    let ours_bytes = memory::peak(&chosen.device, &|| ours.pass())?;
    bar.inc(1);
    let plain_bytes = memory::peak(&chosen.device, &plain)?;
    bar.inc(1);
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        times.push(seconds(&|| ours.pass())?);
        bar.inc(1);
        theirs.push(seconds(&plain)?);
        bar.inc(1);
    }
    bar.finish();
    let note = format!("on {what}, against burn's convolutions");
    Ok(Outcome {
        plain_bytes: Some(plain_bytes),
        ..Outcome::of(name, times, theirs, ours_bytes, note)
    })
}
