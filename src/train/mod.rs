//! The training loop that all networks share: batches in, checkpoints and `metrics.csv` out, resumable at any step.

mod labels;
mod optimizer;
mod schedule;
#[cfg(test)]
mod tests;
mod weight_file;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

pub use labels::{labels, sample};
pub use optimizer::{Group, Optimizer, Rule};
pub use schedule::Schedule;
pub use weight_file::WeightFile;

use crate::data::{Augment, Batch, Labels, Loader, LoaderOptions, Order, Split};
use crate::device::download;
use crate::device::fault::{self, Fault};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::heads::affinity;
use crate::models::params::{Parameters, Role, Value, belongs};
use crate::progress;
use crate::recipe::{NetworkInput, Optimizer as OptimizerSettings, Training};
use crate::run::{MetricsLog, TrainingState};

/// Losses of one step by name; the first is the one to go down, the others are parts of it to watch.
pub type Losses = Vec<(&'static str, Tensor<1>)>;

/// The file that a training leaves in its stage's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The losses and rates of every step.
pub const METRICS: &str = "metrics.csv";

/// One training: what is trained, on what, and how.
pub struct Fit<'a> {
    /// Name for the progress bar.
    pub label: &'a str,
    /// The stage's folder.
    pub folder: &'a Path,
    /// The network to train.
    pub network: Network,
    /// Where it starts; ignored where the folder holds a checkpoint.
    pub initial: Parameters,
    /// Hyper-parameters.
    pub training: &'a Training,
    /// How images go into the network.
    pub input: NetworkInput,
    /// Images and tags.
    pub split: &'a Split,
    /// Number of classes, without background.
    pub classes: usize,
    /// Label maps, for the stages that have them.
    pub labels: Option<Labels>,
    /// Which images batches are of.
    pub order: Order,
    /// Decides order, augmentation and dropout.
    pub seed: u64,
    /// Where to compute, without autodiff.
    pub device: &'a Device,
}

/// How a training's learning rate and decay apply to a parameter by its name and role. Under SGD the group norms of
/// AffinityNet's head, though fresh, learn at the rate of pretrained layers and their scales decay as kernels do, as in
/// its released code.
pub fn group(network: &Network, settings: &OptimizerSettings, name: &str, role: Role) -> Group {
    let decays = role == Role::Kernel;
    match settings {
        OptimizerSettings::Adamw {
            weight_decay,
            fresh_lr_factor,
            ..
        } => Group {
            rate: if network.is_head(name) { *fresh_lr_factor } else { 1.0 },
            decay: if decays { *weight_decay } else { 0.0 },
        },
        OptimizerSettings::Sgd {
            weight_decay,
            bias_lr_factor,
            fresh_lr_factor,
            ..
        } => {
            let is_group_norm = affinity::NORMS.iter().any(|norm| belongs(name, norm));
            let decays = decays || (is_group_norm && role == Role::Scale);
            let rate = match network.is_head(name) && !is_group_norm {
                true => *fresh_lr_factor,
                false => 1.0,
            };
            Group {
                rate: rate * if decays { 1.0 } else { *bias_lr_factor },
                decay: if decays { *weight_decay } else { 0.0 },
            }
        }
    }
}

/// Whether a parameter trains: frozen levels, and batch norm of a pretrained backbone, do not.
pub fn trains(network: &Network, name: &str, role: Role) -> bool {
    network.backbone.from_scratch() || network.is_head(name) || !(network.backbone.is_frozen(name) || role.is_norm())
}

/// Whether a parameter trains in this training over `images` images: as [`trains`], where the recipe says neither that
/// the whole network nor that the head alone does.
pub fn trains_in(training: &Training, images: usize, network: &Network, name: &str, role: Role) -> bool {
    let whole = training.whole && !role.is_norm();
    (whole || trains(network, name, role)) && (!training.is_of_head(images) || network.is_head(name))
}

/// The schedule of a training's learning rate.
fn schedule(training: &Training) -> Schedule {
    match training.optimizer {
        OptimizerSettings::Sgd {
            tenth_every: Some(every),
            ..
        } => Schedule::Tenths {
            every: every / training.epochs,
        },
        _ => rule(&training.optimizer).1,
    }
}

/// The update rule and smooth schedule that a recipe asks for, and the peak learning rate.
pub fn rule(settings: &OptimizerSettings) -> (Rule, Schedule, f32) {
    match *settings {
        OptimizerSettings::Adamw {
            lr,
            beta1,
            beta2,
            warmup,
            ..
        } => (Rule::AdamW { beta1, beta2 }, Schedule::OneCycle { rise: warmup }, lr),
        OptimizerSettings::Sgd {
            lr,
            momentum,
            nesterov,
            power,
            ..
        } => (Rule::Sgd { momentum, nesterov }, Schedule::Poly { power }, lr),
    }
}

/// Steps of a training over `images` images.
pub fn steps(training: &Training, images: usize) -> usize {
    let samples = training.epochs as f64 * images as f64;
    let steps = (samples / training.batch.max(1) as f64).round() as usize;
    steps.max(training.least_steps).max(1)
}

/// The first step after `share` of all `steps`, in [0, 1]: where a loss joins that needs a head that knows something.
pub fn step_after(share: f32, steps: usize) -> usize {
    (share * steps as f32).round() as usize
}

impl Fit<'_> {
    /// Trains until the last step, going on from the folder's checkpoint if there is one, and returns the trained
    /// parameters. `loss` gets one forward pass, the images `[B, 3, S, S]` and their batch.
    ///
    /// # Errors
    /// A batch that cannot be read, a file that cannot be written, a checkpoint that does not fit, or a loss that is
    /// not a number: with the step and the loss's name.
    pub fn run(self, loss: impl Fn(&Network, &Forward, Tensor<4>, &Batch) -> Result<Losses>) -> Result<Parameters> {
        let total = steps(self.training, self.split.len());
        let (rule, _, peak) = rule(&self.training.optimizer);
        let schedule = schedule(self.training);
        let mut parameters = self.initial.clone();
        let mut optimizer = Optimizer::new(rule);
        let path = self.folder.join(CHECKPOINT);
        let start = if path.exists() {
            let checkpoint = TrainingState::load(&path)?;
            checkpoint.expect(&path, &self.network.architecture())?;
            restore_parameters(&mut parameters, &checkpoint, self.device)?;
            let step = checkpoint_step(&checkpoint, &path)?;
            optimizer.restore(step, &checkpoint.tensors, self.device)?;
            step
        } else {
            0
        };
        ensure!(
            start <= total,
            "{} is at step {start}, past this recipe's {total}: start over with --fresh",
            path.display()
        );
        if start == total {
            return Ok(parameters);
        }
        let loader = Loader::new(
            self.split.clone(),
            self.classes,
            self.labels.clone(),
            augment(self.training, self.input),
            LoaderOptions {
                batch: self.training.batch,
                steps: total,
                start,
                seed: self.seed,
                workers: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 16)),
                order: self.order.clone(),
            },
        )?;
        let bar = progress::bar(total as u64, "step", self.label);
        bar.set(start as u64);
        let mut log: Option<MetricsLog> = None;
        let mut checkpointing = self.training.checkpointing;
        for batch in loader {
            let batch = batch?;
            let clock = Instant::now();
            let rate = peak * schedule.factor(batch.step, total);
            let attempt = |checkpointing| fault::caught(|| self.pass(&parameters, &batch, checkpointing, &loss));
            let pass = match attempt(checkpointing) {
                Err(error) if !checkpointing && Fault::in_error(&error) == Some(Fault::Full) => {
                    log::warn!(
                        "{}: the device has no memory for step {}: going on with gradient checkpointing, which takes less memory and more time",
                        self.label,
                        batch.step
                    );
                    checkpointing = true;
                    self.device.memory_cleanup();
                    attempt(true)?
                }
                done => done?,
            };
            for (name, value) in &pass.losses {
                ensure!(
                    value.is_finite(),
                    "{}: the loss {name:?} became {value} at step {}: start over with a lower learning rate (--set, another --out); {}",
                    self.label,
                    batch.step,
                    if path.exists() {
                        format!("the last good state is in {}", path.display())
                    } else {
                        "no state had been saved".into()
                    }
                );
            }
            let Pass {
                tracked,
                mut grads,
                statistics,
                losses,
            } = pass;
            for (name, value) in statistics {
                if let Some(p) = parameters.0.get_mut(&name) {
                    p.value = Value::Vector(value);
                }
            }
            optimizer.update(&mut parameters, &tracked, &mut grads, rate, |name, role| {
                group(&self.network, &self.training.optimizer, name, role)
            });
            let log = match &mut log {
                Some(log) => log,
                None => {
                    let columns: Vec<&str> = losses
                        .iter()
                        .map(|(name, _)| *name)
                        .chain(["lr", "images_per_second"])
                        .collect();
                    log.insert(MetricsLog::open(&self.folder.join(METRICS), &columns, start as u64)?)
                }
            };
            let speed = self.training.batch as f32 / clock.elapsed().as_secs_f32();
            let values = losses.iter().map(|(_, value)| *value);
            let row: Vec<f32> = values.chain([rate, speed]).collect();
            log.append(batch.step as u64, &row)?;
            bar.message(&format!("loss {:.4}", row[0]));
            bar.inc(1);
            let done = batch.step + 1;
            if done == total || done % self.training.checkpoint_every.max(1) == 0 {
                save(&path, &self.network, &parameters, &optimizer, done)?;
            }
        }
        bar.finish();
        Ok(parameters)
    }

    /// A step up to its gradients. Nothing has changed where it fails.
    fn pass(
        &self,
        parameters: &Parameters,
        batch: &Batch,
        checkpointing: bool,
        loss: &impl Fn(&Network, &Forward, Tensor<4>, &Batch) -> Result<Losses>,
    ) -> Result<Pass> {
        let tracked =
            parameters.track(|name, role| trains_in(self.training, self.split.len(), &self.network, name, role));
        let dropout = Some(self.seed ^ (batch.step as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mode = if self.network.backbone.from_scratch() {
            // A network trained from scratch for minutes underfits: dropout would only cost it.
            Mode::Train(None)
        } else {
            Mode::Frozen(dropout)
        };
        let forward = Forward::new(&tracked, mode).checkpointing(checkpointing);
        let images = images(batch, &self.device.clone().autodiff());
        let losses = loss(&self.network, &forward, images, batch)?;
        let Some((_, objective)) = losses.first() else {
            bail!(
                "{}: no loss to train on: this is a bug in weakseg, please report it",
                self.label
            );
        };
        let mut grads = objective.backward();
        forward.finish_backward(&mut grads);
        let statistics = forward.into_statistics();
        let losses = read_losses(&losses)?;
        // What a device had no memory for may come to light here only.
        self.device.sync().context("waiting for the device to finish")?;
        Ok(Pass {
            tracked,
            grads,
            statistics,
            losses,
        })
    }
}

/// What a step has computed before it changes anything.
struct Pass {
    /// The parameters that [`Self::grads`] belong to.
    tracked: Parameters,
    grads: Gradients,
    /// New running statistics by parameter name.
    statistics: Vec<(String, Tensor<1>)>,
    losses: Vec<(&'static str, f32)>,
}

/// The batch's images `[B, 3, S, S]`, normalised, on `device`.
pub fn images(batch: &Batch, device: &Device) -> Tensor<4> {
    let shape = [batch.indices.len(), 3, batch.size, batch.size];
    Tensor::from_data(TensorData::new(batch.normalised(), shape), device)
}

/// A recipe's augmentation.
pub(crate) fn augment(training: &Training, input: NetworkInput) -> Augment {
    let settings = &training.augment;
    Augment {
        long_side: settings.long_side.map(|[low, high]| (low, high)),
        squash: settings.squash,
        crop: settings.crop,
        shift: settings.shift,
        flip: settings.flip,
        jitter: settings.jitter,
        max_side: input.max_side,
        scaling: input.scaling,
    }
}

fn read_losses(losses: &Losses) -> Result<Vec<(&'static str, f32)>> {
    let parts = losses.iter().map(|(_, t)| t.clone().inner()).collect();
    let values = download(Tensor::cat(parts, 0))?;
    Ok(losses.iter().map(|(name, _)| *name).zip(values).collect())
}

fn save(path: &Path, network: &Network, parameters: &Parameters, optimizer: &Optimizer, step: usize) -> Result<()> {
    let mut tensors = optimizer.state()?;
    for (name, p) in &parameters.0 {
        tensors.insert(name.clone(), (p.value.shape(), p.value.to_vec()?));
    }
    let meta = [
        ("architecture".to_string(), network.architecture()),
        ("step".to_string(), step.to_string()),
    ];
    TrainingState {
        tensors,
        meta: meta.into_iter().collect(),
    }
    .save(path)
}

fn checkpoint_step(checkpoint: &TrainingState, path: &Path) -> Result<usize> {
    checkpoint
        .meta
        .get("step")
        .and_then(|s| s.parse().ok())
        .with_context(|| {
            format!(
                "{} does not say at which step it was written: start over with --fresh",
                path.display()
            )
        })
}

/// Fills the values of `parameters` from a checkpoint of the same network.
fn restore_parameters(parameters: &mut Parameters, checkpoint: &TrainingState, device: &Device) -> Result<()> {
    for (name, p) in &mut parameters.0 {
        let Some((shape, values)) = checkpoint.tensors.get(name) else {
            bail!("the checkpoint has no {name}: it is of another network");
        };
        ensure!(
            *shape == p.value.shape(),
            "the checkpoint's {name} is {shape:?}, the network's {:?}: it is of another network",
            p.value.shape()
        );
        p.value = Value::from_slice(values, shape, device)?;
    }
    Ok(())
}

/// Parameters of `network` from the checkpoint at `path`.
///
/// # Errors
/// One line that names the file where it is missing, truncated, or of another architecture.
pub fn load(network: &Network, path: &Path, device: &Device) -> Result<Parameters> {
    ensure!(
        path.exists(),
        "{} does not exist: run the stage that trains this network, with --again where it is finished",
        path.display()
    );
    let checkpoint = TrainingState::load(path)?;
    checkpoint.expect(path, &network.architecture())?;
    let mut parameters = network.init(0, device)?;
    restore_parameters(&mut parameters, &checkpoint, device).with_context(|| format!("{}", path.display()))?;
    Ok(parameters)
}

/// Takes over every parameter of `from` that `parameters` has with the same name and shape; returns how many.
pub fn warm_start(parameters: &mut Parameters, from: &Parameters) -> usize {
    let mut taken = 0;
    for (name, p) in &mut parameters.0 {
        if let Some(other) = from.0.get(name)
            && other.value.shape() == p.value.shape()
        {
            p.value = other.value.clone();
            taken += 1;
        }
    }
    taken
}
