//! Training batches, prepared ahead by worker threads in a fixed order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow, bail};
use image::GrayImage;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Augment, Split};

/// How many batches are prepared ahead of the one that is asked for.
const AHEAD: usize = 3;

/// Keeps the order of the images and their augmentation independent of each other under one seed.
const ORDER_KEY: u64 = 0x6f72_6465_7200_0001;

/// Images of one training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step, from 0.
    pub step: usize,
    /// Which images of the split these are, `[B]`.
    pub indices: Vec<usize>,
    /// Side S of the square crops, in pixels.
    pub size: usize,
    /// Normalised images, `[B, 3, S, S]`.
    pub images: Vec<f32>,
    /// 1 where the image has the tag, else 0, `[B, C]`.
    pub tags: Vec<f32>,
    /// Labels `[B, S, S]`: 0 = background, c + 1 = class c, 255 = ignore; `None` where no source of labels was given.
    pub labels: Option<Vec<i32>>,
}

/// Gives the label map of an image, of the image's size.
pub type Labels = Arc<dyn Fn(usize) -> Result<GrayImage> + Send + Sync>;

/// How many batches of what size.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Steps of the whole training.
    pub steps: usize,
    /// The first step to produce; others than 0 resume a training.
    pub start: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Number of threads; 0 means 1.
    pub workers: usize,
}

/// An iterator over the batches of steps `start` to `steps - 1`.
///
/// The images of the endless sequence of epochs, each in an order of its own, are dealt out to batches, so that every
/// batch is full. Batch k depends on the seed and k only: neither on the number of workers nor on `start`. A failure
/// ends the iteration with one `Err`. Dropping the loader stops its threads.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

impl Loader {
    /// Starts the workers.
    ///
    /// # Errors
    /// An empty split, a batch or crop of no size, an augmentation range that is empty, or no thread to be had.
    pub fn new(
        split: Split,
        classes: usize,
        labels: Option<Labels>,
        augment: Augment,
        options: LoaderOptions,
    ) -> Result<Self> {
        if split.is_empty() {
            bail!("there are no images to train on");
        }
        if options.batch == 0 || augment.crop == 0 {
            bail!(
                "batch and crop are {} and {}; both have to be at least 1",
                options.batch,
                augment.crop
            );
        }
        if let Some((low, high)) = augment
            .long_side
            .filter(|(low, high)| *low == 0 || low > high)
        {
            bail!(
                "long_side is {low} to {high}; give two lengths of at least 1, the smaller first"
            );
        }
        let next = options.start;
        let workers = options.workers.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                position: options.start * options.batch,
                step: options.start,
                ..State::default()
            }),
            changed: Condvar::new(),
            split,
            classes,
            labels,
            augment,
            options,
        });
        let mut loader = Self {
            shared,
            threads: Vec::new(),
            next,
        };
        for number in 0..workers {
            let shared = Arc::clone(&loader.shared);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || shared.work())
                .map_err(|e| anyhow!("cannot start a loader thread: {e}; use fewer workers"))?;
            loader.threads.push(thread);
        }
        Ok(loader)
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.shared.options.steps {
            return None;
        }
        let mut state = self.shared.lock();
        let result = loop {
            if let Some(batch) = state.ready.remove(&self.next) {
                state.step = self.next + 1;
                break Ok(batch);
            }
            if let Some(error) = state.error.take() {
                break Err(error);
            }
            if state.stop {
                return None;
            }
            state = wait(&self.shared.changed, state);
        };
        drop(state);
        self.shared.changed.notify_all();
        self.next = match result {
            Ok(_) => self.next + 1,
            Err(_) => self.shared.options.steps,
        };
        Some(result)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A worker's panic was already reported as an error of the iterator.
            let _ = thread.join();
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    split: Split,
    classes: usize,
    labels: Option<Labels>,
    augment: Augment,
    options: LoaderOptions,
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
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut order = Order::default();
        while let Some(position) = self.take_position() {
            let index = order.at(position, self.split.len(), self.options.seed);
            let sample = catch_unwind(AssertUnwindSafe(|| self.sample(position, index)))
                .unwrap_or_else(|_| {
                    Err(anyhow!(
                        "preparing {} failed inside the program",
                        self.split.source(index)
                    ))
                });
            match sample {
                Ok(sample) => self.deliver(position, sample),
                Err(error) => {
                    let mut state = self.lock();
                    state.error.get_or_insert(error);
                    state.stop = true;
                }
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
        let label = self
            .labels
            .as_ref()
            .map(|labels| labels(index))
            .transpose()?;
        if let Some(label) = label
            .as_ref()
            .filter(|l| l.dimensions() != image.dimensions())
        {
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
        Ok(Sample {
            index,
            image,
            label,
        })
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
            images: Vec::with_capacity(samples.len() * 3 * size * size),
            tags: vec![0.0; samples.len() * self.classes],
            labels: self
                .labels
                .as_ref()
                .map(|_| Vec::with_capacity(samples.len() * size * size)),
        };
        for (row, (_, sample)) in samples.into_iter().enumerate() {
            for &tag in self
                .split
                .tags(sample.index)
                .iter()
                .filter(|&&t| t < self.classes)
            {
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
struct Order {
    epoch: Option<usize>,
    indices: Vec<usize>,
}

impl Order {
    fn at(&mut self, position: usize, length: usize, seed: u64) -> usize {
        let epoch = position / length;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.indices = (0..length).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ ORDER_KEY);
            rng.set_stream(epoch as u64);
            self.indices.shuffle(&mut rng);
        }
        self.indices[position % length]
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::{Item, Pixels};
    use super::*;
    use image::{Luma, Rgb, RgbImage};

    fn split(count: usize) -> Split {
        let item = |i: usize| Item {
            name: format!("{i}"),
            tags: vec![i % 3],
            pixels: Pixels::Memory {
                image: Arc::new(RgbImage::from_fn(9, 7, |x, y| {
                    Rgb([(x * 20) as u8, (y * 30) as u8, i as u8])
                })),
                mask: Arc::new(GrayImage::from_pixel(9, 7, Luma([i as u8]))),
                source: format!("picture {i}"),
            },
        };
        Split::new((0..count).map(item).collect(), 3)
    }

    fn augment() -> Augment {
        Augment {
            long_side: Some((6, 12)),
            crop: 8,
            shift: 2,
            flip: true,
            jitter: [0.2; 4],
            mean: [0.5; 3],
            std: [0.25; 3],
        }
    }

    fn options(batch: usize, workers: usize, start: usize) -> LoaderOptions {
        LoaderOptions {
            batch,
            steps: 9,
            start,
            seed: 5,
            workers,
        }
    }

    fn batches(count: usize, options: LoaderOptions) -> Vec<Batch> {
        let images = split(count);
        let truth = images.clone();
        let labels: Labels = Arc::new(move |i| Ok(truth.mask(i)?.unwrap()));
        let loader = Loader::new(images, 3, Some(labels), augment(), options).unwrap();
        loader.map(Result::unwrap).collect()
    }

    #[test]
    fn batches_depend_on_neither_workers_nor_start() {
        let all = batches(5, options(4, 1, 0));
        assert_eq!(all, batches(5, options(4, 3, 0)));
        assert_eq!(all[6..], batches(5, options(4, 2, 6)));
        assert_eq!(
            all.iter().map(|b| b.step).collect::<Vec<_>>(),
            (0..9).collect::<Vec<_>>()
        );
        assert_ne!(all[0].images, all[5].images);
    }

    #[test]
    fn every_epoch_holds_every_image_and_batches_are_full() {
        for count in [2, 5, 12] {
            let all = batches(count, options(4, 2, 0));
            assert!(
                all.iter()
                    .all(|b| b.indices.len() == 4 && b.images.len() == 4 * 3 * 64)
            );
            let sequence: Vec<_> = all.iter().flat_map(|b| b.indices.clone()).collect();
            for epoch in sequence.chunks_exact(count) {
                let mut epoch = epoch.to_vec();
                epoch.sort();
                assert_eq!(epoch, (0..count).collect::<Vec<_>>());
            }
            for batch in &all {
                let labels = batch.labels.as_ref().unwrap();
                for (row, &index) in batch.indices.iter().enumerate() {
                    let expected: Vec<_> = (0..3).map(|c| f32::from(c == index % 3)).collect();
                    assert_eq!(batch.tags[row * 3..row * 3 + 3], expected);
                    let label = &labels[row * 64..row * 64 + 64];
                    assert!(label.iter().all(|&v| v == 255 || v == index as i32));
                }
            }
        }
    }

    #[test]
    fn errors_and_panics_surface_once() {
        let fails: Labels = Arc::new(|_| bail!("the label is gone"));
        let wrong: Labels = Arc::new(|_| Ok(GrayImage::new(1, 1)));
        let panics: Labels = Arc::new(|_| panic!("expected in this test"));
        for (labels, expected) in [
            (fails, "is gone"),
            (wrong, "is 1 x 1"),
            (panics, "preparing picture"),
        ] {
            let mut loader =
                Loader::new(split(4), 3, Some(labels), augment(), options(2, 2, 0)).unwrap();
            let error = loader.next().unwrap().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(loader.next().is_none());
        }
    }

    #[test]
    fn dropping_early_stops_and_nonsense_is_refused() {
        let mut options = options(2, 4, 0);
        options.steps = usize::MAX / 4;
        let mut loader = Loader::new(split(4), 3, None, augment(), options.clone()).unwrap();
        assert!(loader.next().unwrap().unwrap().labels.is_none());
        drop(loader);
        assert!(Loader::new(split(0), 3, None, augment(), options.clone()).is_err());
        let narrow = Augment {
            long_side: Some((5, 4)),
            ..augment()
        };
        assert!(Loader::new(split(4), 3, None, narrow, options.clone()).is_err());
        options.batch = 0;
        assert!(Loader::new(split(4), 3, None, augment(), options).is_err());
    }
}
