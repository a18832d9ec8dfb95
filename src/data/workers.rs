//! The threads behind the loader: who prepares which sample, and how samples become batches.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, Labels, LoaderOptions, Order};
use super::turns::Turns;
use super::{Augment, Split};

/// How many batches are prepared ahead of the one that is asked for.
const AHEAD: usize = 3;

/// Keeps the order of the images and their augmentation independent of each other under one seed.
const ORDER_KEY: u64 = 0x6f72_6465_7200_0001;

/// What the loader and its threads share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    split: Split,
    classes: usize,
    labels: Option<Labels>,
    augment: Augment,
    pub options: LoaderOptions,
}

#[derive(Default)]
struct State {
    /// The next place in the endless sequence that a worker takes.
    position: usize,
    /// The step that is asked for next.
    step: usize,
    /// Samples of batches that are not complete, in whatever order they arrive.
    partial: BTreeMap<usize, Vec<(usize, Sample)>>,
    ready: BTreeMap<usize, Batch>,
    error: Option<anyhow::Error>,
    stop: bool,
}

struct Sample {
    index: usize,
    image: Vec<f32>,
    label: Option<Vec<i32>>,
}

fn wait<'a>(condition: &Condvar, guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(split: Split, classes: usize, labels: Option<Labels>, augment: Augment, options: LoaderOptions) -> Self {
        let state = State {
            position: options.start * options.batch,
            step: options.start,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            split,
            classes,
            labels,
            augment,
            options,
        }
    }

    /// Waits for the batch of a step, or for the failure of a worker; `None` after a failure was told.
    pub fn wait_for(&self, step: usize) -> Option<Result<Batch>> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.ready.remove(&step) {
                state.step = step + 1;
                self.changed.notify_all();
                return Some(Ok(batch));
            }
            if let Some(error) = state.error.take() {
                return Some(Err(error));
            }
            if state.stop {
                return None;
            }
            state = wait(&self.changed, state);
        }
    }

    /// Makes every worker return when its sample is done.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares samples until all steps are done, the loader stops, or something fails.
    pub fn work(&self) {
        let mut epoch = Epoch::default();
        let mut turns = Turns::default();
        while let Some(position) = self.take_position() {
            let index = match &self.options.order {
                Order::Epochs => epoch.at(position, self.split.len(), self.options.seed),
                Order::Groups { pairs, size } => {
                    let (step, place) = (position / self.options.batch, position % self.options.batch);
                    let groups = self.options.batch / size;
                    let number = (step * groups + place % groups) as u64;
                    turns.group(pairs, number, *size)[place / groups]
                }
            };
            let prepare = || -> Result<()> {
                let sample = self.sample(position, index)?;
                self.deliver(position, sample);
                Ok(())
            };
            let result = catch_unwind(AssertUnwindSafe(prepare)).unwrap_or_else(|_| {
                let source = self.split.source(index);
                Err(anyhow!("preparing {source} failed inside the program"))
            });
            if let Err(error) = result {
                let mut state = self.lock();
                state.error.get_or_insert(error);
                state.stop = true;
            }
            self.changed.notify_all();
        }
    }

    /// Waits until a place in the sequence may be prepared; `None` when there is nothing more to do.
    fn take_position(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let step = state.position / self.options.batch;
            if state.stop || step >= self.options.steps {
                return None;
            }
            if step < state.step + AHEAD {
                state.position += 1;
                return Some(state.position - 1);
            }
            state = wait(&self.changed, state);
        }
    }

    fn sample(&self, position: usize, index: usize) -> Result<Sample> {
        let image = self.split.image(index)?;
        let label = self.labels.as_ref().map(|labels| labels(index)).transpose()?;
        if let Some(label) = label.as_ref().filter(|l| l.dimensions() != image.dimensions()) {
            bail!(
                "the label of {} is {} x {}, but the image is {} x {}; make it again",
                self.split.source(index),
                label.width(),
                label.height(),
                image.width(),
                image.height()
            );
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(position as u64);
        let (image, label) = self.augment.apply(&image, label.as_ref(), &mut rng);
        Ok(Sample { index, image, label })
    }

    fn deliver(&self, position: usize, sample: Sample) {
        let (step, place) = (position / self.options.batch, position % self.options.batch);
        let mut state = self.lock();
        let samples = state.partial.entry(step).or_default();
        samples.push((place, sample));
        if samples.len() < self.options.batch {
            return;
        }
        let mut samples = state.partial.remove(&step).unwrap_or_default();
        // Copying megabytes is not done under the lock.
        drop(state);
        samples.sort_by_key(|(place, _)| *place);
        let batch = self.assemble(step, samples);
        self.lock().ready.insert(step, batch);
    }

    fn assemble(&self, step: usize, samples: Vec<(usize, Sample)>) -> Batch {
        let size = self.augment.crop as usize;
        let mut batch = Batch {
            step,
            indices: Vec::with_capacity(samples.len()),
            size,
            scaling: self.augment.scaling,
            images: Vec::with_capacity(samples.len() * 3 * size * size),
            tags: vec![0.0; samples.len() * self.classes],
            labels: self
                .labels
                .as_ref()
                .map(|_| Vec::with_capacity(samples.len() * size * size)),
        };
        for (row, (_, sample)) in samples.into_iter().enumerate() {
            for &tag in self.split.tags(sample.index).iter().filter(|&&t| t < self.classes) {
                batch.tags[row * self.classes + tag] = 1.0;
            }
            batch.indices.push(sample.index);
            batch.images.extend(sample.image);
            if let (Some(labels), Some(label)) = (&mut batch.labels, sample.label) {
                labels.extend(label);
            }
        }
        batch
    }
}

/// The order of the current epoch.
#[derive(Default)]
struct Epoch {
    number: Option<usize>,
    indices: Vec<usize>,
}

impl Epoch {
    fn at(&mut self, position: usize, length: usize, seed: u64) -> usize {
        let epoch = position / length;
        if self.number != Some(epoch) {
            self.number = Some(epoch);
            self.indices = (0..length).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ ORDER_KEY);
            rng.set_stream(epoch as u64);
            self.indices.shuffle(&mut rng);
        }
        self.indices[position % length]
    }
}
