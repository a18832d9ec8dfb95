//! EfficientNet-Lite0 as the recipe `photos` has it, on the device that was asked for: inference of a photograph of VOC and a
//! training step of the classifier, on the CPU against PyTorch on the same cores.

use std::cell::RefCell;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};

use super::pytorch::{PyTorch, Script, note, threads};
use super::{OnOutcome, Outcome, PAIRS, memory, seconds};
use crate::device::{Chosen, download};
use crate::losses::multilabel_soft_margin::multilabel_soft_margin;
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::progress;
use crate::recipe::Recipe;
use crate::train::{self, Optimizer};

const NETWORK: &str = "efficientnet_lite0_cls";
const CLASSES: usize = 6;
const HEIGHT: usize = 375;
const WIDTH: usize = 500;
const BATCH: usize = 16;
const CROP: usize = 224;

/// Inference, then a training step, the runs of either side in turn.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let ours = Ours::new(&chosen.device)?;
    let script = Script {
        name: "lite0.py",
        text: include_str!("lite0.py"),
        arguments: vec![CLASSES, threads(), HEIGHT, WIDTH, BATCH, CROP],
    };
    let mut python = match chosen.adapter {
        Some(_) => None,
        None => PyTorch::start(&script, ours.network.declare().count())?,
    };
    let inference = format!("lite0 inference {WIDTH} x {HEIGHT}");
    on_outcome(turns(inference, "inference", chosen, &mut python, || ours.inference())?)?;
    let step = format!("lite0 training step, {BATCH} of {CROP} x {CROP}");
    on_outcome(turns(step, "step", chosen, &mut python, || ours.step())?)
}

fn turns(
    name: String,
    what: &str,
    chosen: &Chosen,
    python: &mut Option<PyTorch>,
    ours: impl Fn() -> Result<()>,
) -> Result<Outcome> {
    let bar = progress::bar(1 + 2 * PAIRS as u64, "run", &name);
    let bytes = memory::peak(&chosen.device, &ours)?;
    bar.inc(1);
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        times.push(seconds(&ours)?);
        bar.inc(1);
        if let Some(python) = python {
            theirs.push(python.turn(what)?);
        }
        bar.inc(1);
    }
    bar.finish();
    let note = match &chosen.adapter {
        Some(adapter) => format!("on {}", adapter.name),
        None => note(python.as_ref()),
    };
    Ok(Outcome::of(name, times, theirs, bytes, note))
}

struct Ours {
    recipe: Recipe,
    network: Network,
    parameters: RefCell<(Parameters, Optimizer)>,
    device: Device,
}

impl Ours {
    fn new(device: &Device) -> Result<Ours> {
        let recipe = Recipe::load("photos", &[])?;
        let network = Network::named(NETWORK, 1, CLASSES)?;
        let (rule, _, _) = train::rule(&recipe.classify.optimizer);
        let parameters = (network.init(0, device)?, Optimizer::new(rule));
        Ok(Ours {
            recipe,
            network,
            parameters: RefCell::new(parameters),
            device: device.clone(),
        })
    }

    fn inference(&self) -> Result<()> {
        let state = self.parameters.borrow();
        let image = Tensor::zeros([1, 3, HEIGHT, WIDTH], &self.device);
        self.network.infer(&Forward::new(&state.0, Mode::Inference), image)
    }

    fn step(&self) -> Result<()> {
        let mut state = self.parameters.borrow_mut();
        let (parameters, optimizer) = &mut *state;
        let tracked = parameters.track(|name, role| train::trains(&self.network, name, role));
        let device = self.device.clone().autodiff();
        let pixel = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
        let images = (0..BATCH * 3 * CROP * CROP).map(pixel).collect::<Vec<_>>();
        let images = Tensor::from_data(TensorData::new(images, [BATCH, 3, CROP, CROP]), &device);
        let tag = |i: usize| f32::from(u8::from(i.is_multiple_of(3)));
        let tags = (0..BATCH * CLASSES).map(tag).collect::<Vec<_>>();
        let tags = Tensor::from_data(TensorData::new(tags, [BATCH, CLASSES]), &device);
        let forward = Forward::new(&tracked, Mode::Frozen(Some(1)));
        let loss = multilabel_soft_margin(self.network.classifier()?.logits(&forward, images), tags);
        let mut grads = loss.backward();
        download(loss.inner())?;
        let settings = &self.recipe.classify.optimizer;
        optimizer.update(parameters, &tracked, &mut grads, 1e-3, |name, role| {
            train::group(&self.network, settings, name, role)
        });
        self.device.sync().context("waiting for the device to finish")
    }
}
