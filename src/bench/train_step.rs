//! A training step of RRM with ResNet38 at full width, as its recipe has it: where the time goes, and the memory with and
//! without gradient checkpointing.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use image::RgbImage;
use ndarray::Array3;

use super::{OnOutcome, Outcome, median, memory};
use crate::crf::DenseCrf;
use crate::data::{self, Batch, Data, DataOptions, Loader, LoaderOptions, Order, ShapesOptions};
use crate::device::{Chosen, download};
use crate::inference::{self, Refine};
use crate::losses::cross_entropy::balanced_cross_entropy;
use crate::losses::multilabel_soft_margin::multilabel_soft_margin;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::models::resize::resize;
use crate::models::{Head, Network};
use crate::progress;
use crate::recipe::{NetworkInput, Part, Recipe};
use crate::stages::joint::dense;
use crate::stages::joint::mining::{Crops, Miner};
use crate::train::{self, Optimizer};

const RECIPE: &str = "rrm-resnet38";
/// Timed steps on a GPU, after one that compiles and tunes the kernels. Elsewhere a step takes too long for more than one.
const STEPS: usize = 3;
/// Crop on software Vulkan, where this one takes the better part of a minute a step and the recipe's has 24 times its pixels.
const SOFTWARE_CROP: u32 = 65;

/// What a step spends its time on, in order.
const PARTS: [&str; 7] = ["data", "forward", "CAM", "CRF", "losses", "backward", "optimizer"];
/// Seconds of each of [`PARTS`].
type Seconds = [f64; PARTS.len()];

/// The step with gradient checkpointing against the step without: batch 4 on a GPU, as in the recipe, 1 elsewhere, and
/// on software Vulkan a smaller crop.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let mut recipe = Recipe::load(RECIPE, &[])?;
    let training = &mut recipe.joint.training;
    // Kernels of a GPU, software or not, are compiled and tuned in a first step.
    let (batch, warm_up, steps) = match &chosen.adapter {
        Some(adapter) if adapter.is_gpu() => (training.batch, 1, STEPS),
        Some(_) => {
            training.augment.crop = SOFTWARE_CROP;
            (1, 1, 1)
        }
        None => (1, 0, 1),
    };
    let bench = Bench::new(recipe, batch, &chosen.device)?;
    let crop = bench.recipe.joint.training.augment.crop;
    let name = format!("train-step {RECIPE}, crop {crop}, batch {batch}");
    let bar = progress::bar(2, "run", &name);
    let outcome = |name: String, measured: &Measured| {
        let seconds = &measured.seconds;
        let total: f64 = seconds.iter().sum();
        let shares = PARTS.iter().zip(seconds);
        let shares = shares.map(|(part, time)| format!("{part} {:.1} %", 100.0 * time / total));
        Outcome {
            name,
            ours_seconds: total,
            plain_seconds: None,
            ratio: None,
            ours_bytes: measured.bytes,
            plain_bytes: None,
            note: format!(
                "{}; {:.0} MB kept for the backward pass",
                shares.collect::<Vec<_>>().join(", "),
                measured.kept as f64 / 1e6
            ),
        }
    };
    let first = outcome(name, &bench.measure(false, warm_up, steps)?);
    bar.inc(1);
    on_outcome(first.clone())?;
    let second = "with gradient checkpointing".into();
    let mut second = outcome(second, &bench.measure(true, warm_up, steps)?);
    bar.finish();
    second.plain_seconds = Some(first.ours_seconds);
    second.ratio = Some(first.ours_seconds / second.ours_seconds);
    second.plain_bytes = Some(first.ours_bytes);
    on_outcome(second)
}

struct Measured {
    seconds: Seconds,
    /// Peak of the whole training.
    bytes: u64,
    /// What a forward pass leaves behind.
    kept: u64,
}

struct Bench {
    recipe: Recipe,
    data: Data,
    network: Network,
    batch: usize,
    device: Device,
}

impl Bench {
    fn new(recipe: Recipe, batch: usize, device: &Device) -> Result<Bench> {
        let shapes = ShapesOptions {
            train: 4 * batch,
            val: 1,
            ..recipe.shapes.clone()
        };
        let data = data::open(&DataOptions::built_in(0, shapes))?;
        let classes = data.classes.len();
        let network = recipe.network(Part::Joint, Head::Joint { classes })?;
        Ok(Bench {
            recipe,
            data,
            network,
            batch,
            device: device.clone(),
        })
    }

    fn input(&self) -> Result<NetworkInput> {
        self.recipe.network_input(self.network.backbone.kind())
    }

    /// Medians of the parts in `steps` steps after those of the warm-up, and the peak memory of a training from its first
    /// parameters to the end of a step.
    fn measure(&self, checkpointing: bool, warm_up: usize, steps: usize) -> Result<Measured> {
        let settings = &self.recipe.joint.training;
        let times: RefCell<Vec<Seconds>> = RefCell::default();
        let kept = Cell::new(0);
        let bytes = memory::peak(&self.device, &|| {
            let mut parameters = self.network.init(0, &self.device)?;
            let (rule, _, rate) = train::rule(&settings.optimizer);
            let mut optimizer = Optimizer::new(rule);
            let mut loader = self.loader(warm_up + steps)?;
            for step in 0..warm_up + steps {
                let mut clock = Clock::new(&self.device);
                let batch = loader.next().context("no batch is left")??;
                clock.lap(0)?;
                self.step(&mut parameters, &batch, checkpointing, &mut clock, |p, t, g| {
                    optimizer.update(p, t, g, rate, |name, role| {
                        train::group(&self.network, &settings.optimizer, name, role)
                    });
                })?;
                kept.set(clock.kept);
                if step >= warm_up {
                    times.borrow_mut().push(clock.seconds);
                }
            }
            Ok(())
        })?;
        let times = times.into_inner();
        let part = |i: usize| median(times.iter().map(|t| t[i]).collect()).unwrap_or(f64::NAN);
        Ok(Measured {
            seconds: std::array::from_fn(part),
            bytes,
            kept: kept.get(),
        })
    }

    fn loader(&self, steps: usize) -> Result<Loader> {
        let training = &self.recipe.joint.training;
        Loader::new(
            self.data.train.clone(),
            self.data.classes.len(),
            None,
            train::augment(training, self.input()?),
            LoaderOptions {
                batch: self.batch,
                steps,
                start: 0,
                seed: 0,
                order: Order::Epochs,
                workers: std::thread::available_parallelism().map_or(2, |n| n.get()),
            },
        )
    }

    fn step(
        &self,
        parameters: &mut Parameters,
        batch: &Batch,
        checkpointing: bool,
        clock: &mut Clock,
        update: impl FnOnce(&mut Parameters, &Parameters, &mut Gradients),
    ) -> Result<()> {
        let (settings, network) = (&self.recipe.joint, &self.network);
        let images = self.data.train.len();
        let trains = |name: &str, role| train::trains_in(&settings.training, images, network, name, role);
        let tracked = parameters.track(trains);
        let f = Forward::new(&tracked, Mode::Frozen(Some(0))).checkpointing(checkpointing);
        let images = train::images(batch, &self.device.clone().autodiff());
        let before = memory::in_use(&self.device);
        let out = network.joint()?.outputs(&f, images.clone());
        let probability = download(sigmoid(out.logits.clone().inner()))?;
        clock.lap(1)?;
        clock.kept = memory::in_use(&self.device).saturating_sub(before);

        let classes = self.data.classes.len();
        let pixels = batch.indices.len() * batch.size * batch.size;
        let crops = Crops {
            batch,
            images: batch.crops(),
            inside: vec![true; pixels],
        };
        let miner = Miner {
            settings,
            crf: settings.crf.build(),
            device: self.device.clone(),
            classes,
        };
        let mined = miner.mine(network, &f.constants(), images.inner(), &crops, &probability)?;
        clock.lap(2)?;
        self.refine(batch, &crops.images, miner.crf.as_ref())?;
        clock.split()?;

        let tags = TensorData::new(batch.tags.clone(), [batch.indices.len(), classes]);
        let tags = Tensor::from_data(tags, &out.logits.device());
        let scores = resize(out.scores, [batch.size; 2]);
        let energy = dense::energy(&settings.energy, scores.clone(), &mined, &crops)?;
        let total = multilabel_soft_margin(out.logits, tags)
            + balanced_cross_entropy(scores, &mined.labels).total
            + energy * settings.energy.weight;
        let loss = download(total.clone().inner())?;
        if !loss.iter().all(|loss| loss.is_finite()) {
            bail!("the loss of a step is {loss:?}: the device does not compute what it should");
        }
        clock.lap(4)?;

        let mut grads = total.backward();
        f.finish_backward(&mut grads);
        clock.lap(5)?;
        update(parameters, &tracked, &mut grads);
        clock.lap(6)
    }

    /// The CRF of the paper's rule for every crop, on scores that say nothing: what it costs does not depend on them.
    fn refine(&self, batch: &Batch, images: &[RgbImage], crf: Option<&DenseCrf>) -> Result<()> {
        let numbers: Vec<usize> = (0..images.len()).collect();
        let classes = self.data.classes.len();
        inference::map(&self.device, &numbers, |&i| {
            let tags = &batch.tags[i * classes..(i + 1) * classes];
            let labels = 1 + tags.iter().filter(|tag| **tag > 0.5).count();
            let scores = Array3::from_elem((labels, batch.size, batch.size), 1.0);
            Refine::new(crf, || Ok(images[i].clone()), &self.device)?.apply(scores)
        })?;
        Ok(())
    }
}

/// What a step takes: time since the last lap, on whichever part it is booked, and memory.
struct Clock<'a> {
    device: &'a Device,
    last: Instant,
    seconds: Seconds,
    /// Bytes that the forward pass left behind.
    kept: u64,
}

impl Clock<'_> {
    fn new(device: &Device) -> Clock<'_> {
        Clock {
            device,
            last: Instant::now(),
            seconds: [0.0; PARTS.len()],
            kept: 0,
        }
    }

    fn lap(&mut self, part: usize) -> Result<()> {
        self.device.sync().context("waiting for the device to finish")?;
        self.seconds[part] += self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        Ok(())
    }

    /// Books the time since the last lap on the CRF, and takes it from the CAM, whose lap had it in already.
    fn split(&mut self) -> Result<()> {
        self.lap(3)?;
        self.seconds[3] = self.seconds[3].min(self.seconds[2]);
        self.seconds[2] -= self.seconds[3];
        Ok(())
    }
}
