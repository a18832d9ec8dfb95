//! Training batches, prepared ahead by worker threads in a fixed order.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow, bail};

use super::batch::{Batch, Labels, LoaderOptions, Order};
use super::workers::Shared;
use super::{Augment, Split};

/// An iterator over the batches of steps `start` to `steps - 1`.
///
/// Every batch is full, of images in the [`Order`] that is asked for. Batch k depends on the seed and k only: neither
/// on the number of workers nor on `start`. A failure ends the iteration with one `Err`. Dropping the loader stops its
/// threads.
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
        if let Order::Groups { size, .. } = options.order
            && (size == 0 || !options.batch.is_multiple_of(size))
        {
            bail!(
                "batches of {} images do not divide into groups of {size}; use a multiple",
                options.batch
            );
        }
        if let Some((low, high)) = augment.long_side.filter(|(low, high)| *low == 0 || low > high) {
            bail!("long_side is {low} to {high}; give two lengths of at least 1, the smaller first");
        }
        let next = options.start;
        let workers = options.workers.max(1);
        let shared = Arc::new(Shared::new(split, classes, labels, augment, options));
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
        let result = self.shared.wait_for(self.next)?;
        self.next = match result {
            Ok(_) => self.next + 1,
            Err(_) => self.shared.options.steps,
        };
        Some(result)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A worker's panic was already reported as an error of the iterator.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::{Item, Pixels};
    use super::*;
    use crate::data::{Pairs, Scaling};
    use image::{GrayImage, Luma, Rgb, RgbImage};

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
            max_side: 8,
            long_side: Some((6, 12)),
            squash: false,
            crop: 8,
            shift: 2,
            flip: true,
            jitter: [0.2; 4],
            scaling: Scaling {
                bgr: false,
                mean: [0.5; 3],
                std: [0.25; 3],
            },
        }
    }

    fn options(batch: usize, workers: usize, start: usize) -> LoaderOptions {
        LoaderOptions {
            batch,
            steps: 9,
            start,
            seed: 5,
            workers,
            order: Order::Epochs,
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
            assert!(all.iter().all(|b| b.indices.len() == 4 && b.images.len() == 4 * 3 * 64));
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
    fn groups_lie_side_by_side_and_depend_on_neither_workers_nor_start() {
        let images = split(9);
        let tags = images.indices().map(|i| images.tags(i));
        let pairs = Arc::new(Pairs::new(tags, crate::data::Relation::Common, 5).unwrap());
        let grouped = |workers, start| {
            let options = LoaderOptions {
                order: Order::Groups {
                    pairs: Arc::clone(&pairs),
                    size: 3,
                },
                ..options(6, workers, start)
            };
            batches(9, options)
        };
        let all = grouped(1, 0);
        for batch in &all {
            for group in 0..2 {
                let members = [0, 2, 4].map(|place| batch.indices[place + group]);
                let number = (batch.step * 2 + group) as u64;
                assert_eq!(members.to_vec(), pairs.balanced(number, 3));
                assert!(members.iter().all(|i| i % 3 == members[0] % 3));
            }
        }
        assert_eq!(all[4..], grouped(3, 4));
        let options = LoaderOptions {
            order: Order::Groups { pairs, size: 3 },
            ..options(4, 1, 0)
        };
        let error = Loader::new(images, 3, None, augment(), options).err();
        assert!(error.unwrap().to_string().contains("groups of 3"));
    }

    #[test]
    fn errors_and_panics_surface_once() {
        let fails: Labels = Arc::new(|_| bail!("the label is gone"));
        let wrong: Labels = Arc::new(|_| Ok(GrayImage::new(1, 1)));
        let panics: Labels = Arc::new(|_| panic!("expected in this test"));
        for (labels, expected) in [(fails, "is gone"), (wrong, "is 1 x 1"), (panics, "preparing picture")] {
            let mut loader = Loader::new(split(4), 3, Some(labels), augment(), options(2, 2, 0)).unwrap();
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
