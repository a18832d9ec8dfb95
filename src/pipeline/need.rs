//! What memory a stage needs, about, against what there is: said before hours are spent.

use burn::tensor::Device;

use super::stage::{Context, Product, Stage, Trains};
use crate::device::host::{self, Available};
use crate::inference::{crf_bytes, network_size, passes, together};
use crate::recipe::Crf;

/// Images whose sizes are looked at, for the largest of them.
const LOOKED_AT: usize = 256;
/// Bytes that the program takes beside a stage's own: code, threads, images that are decoded, what the allocator keeps.
/// Measured as what remains of the most that the process held where its batches are made smaller: 104 MB with the
/// built-in data set, 212 MB with VOC's photographs.
const BASE: f64 = 150e6;

/// What a stage needs at its peak, about, beyond what there is already.
#[derive(Clone, Debug, PartialEq)]
struct Need {
    bytes: f64,
    /// What of.
    of: String,
    /// What to do about it, where there is so much memory.
    remedy: String,
}

impl Context {
    /// A warning where `stage` needs more memory than there is, with the remedy. Of the CPU alone: a device does not tell
    /// what it has left, and what it has no memory for is repeated with less.
    pub(super) fn short_of_memory(&self, stage: Stage) -> Option<String> {
        if self.device != Device::flex() {
            return None;
        }
        let available = host::available()?;
        let need = self.need(stage, available.bytes as f64)?;
        warning(stage.name(), &need, available)
    }

    /// `None` where nothing is known of the stage.
    fn need(&self, stage: Stage, available: f64) -> Option<Need> {
        match stage.product() {
            Product::Network(trains) => self.training_need(stage, trains, available),
            Product::ClassMaps => {
                let cam = &self.recipe.cam;
                let passes = passes(&cam.scales, cam.flip);
                self.pass_need(stage, f64::from(passes), passes, "cam.scales")
            }
            Product::Scores => {
                let scale = f64::from(self.recipe.propagate.scale);
                self.pass_need(stage, scale * scale, 1.0, "propagate.scale")
            }
            Product::Labels => self.crf_need(&self.recipe.label.crf),
            // An image that there is no memory for is worked on in parts.
            Product::Masks => None,
        }
    }

    fn training_need(&self, stage: Stage, trains: Trains, available: f64) -> Option<Need> {
        let network = self.network(stage).ok()?;
        let training = self.recipe.training(trains.part);
        let crop = f64::from(training.augment.crop);
        let images = self.data.train.len();
        let bytes = |batch: usize, checkpointing: bool| {
            let pixels = batch as f64 * crop * crop;
            // Three batches are prepared ahead.
            let ahead = 4.0 * 12.0 * pixels;
            let of_head = training.is_of_head(images);
            ahead
                + match of_head {
                    true => pixels * network.inference_bytes() + 16.0 * network.declare().count() as f64,
                    false => network.training_bytes(pixels, checkpointing),
                }
        };
        let section = trains.part.training_section();
        let fits = (1..training.batch)
            .rev()
            .find(|batch| bytes(*batch, training.checkpointing) + BASE <= available);
        let smaller = match fits {
            Some(batch) => format!("a smaller batch (--set {section}.batch={batch})"),
            None => format!("a smaller batch and crop (--set {section}.batch=1, --set {section}.augment.crop=SIDE)"),
        };
        let remedy = match training.checkpointing || training.is_of_head(images) {
            true => smaller,
            false => format!(
                "gradient checkpointing (--set {section}.checkpointing=true: {}) or {smaller}",
                gigabytes(bytes(training.batch, true))
            ),
        };
        Some(Need {
            bytes: bytes(training.batch, training.checkpointing),
            of: format!("a step on {} crops of {crop} x {crop}", training.batch),
            remedy,
        })
    }

    /// Of a network that passes over every pixel of an image so many times at once, on batches that take it for
    /// `counted` times.
    fn pass_need(&self, stage: Stage, passes: f64, counted: f32, key: &str) -> Option<Need> {
        let before = super::last_network(
            self.before(stage),
            match stage.product() {
                Product::Scores => super::Purpose::Affinities,
                _ => super::Purpose::ClassMaps,
            },
        )?;
        let network = self.network(before).ok()?;
        let input = self.input(&network).ok()?;
        let (name, size) = self.largest()?;
        let seen = network_size(size, &input);
        let area = |(w, h): (u32, u32)| f64::from(w) * f64::from(h);
        let maps = 4.0 * 4.0 * self.classes() as f64 * area(seen) + 4.0 * 4.0 * area(size);
        let images = together(self.recipe.cam.batch, counted, size).min(self.data.train.len());
        let of_batch = match images {
            0 | 1 => String::new(),
            images => format!("{images} images like "),
        };
        let smaller_batch = if images > 1 { ", --set cam.batch=1" } else { "" };
        Some(Need {
            bytes: images as f64 * (passes * area(seen) * network.inference_bytes() + maps),
            of: format!("{of_batch}{name} of {} x {} pixels", size.0, size.1),
            remedy: format!(
                "smaller images for the network (--set input.max_side=SIDE in a run of its own){smaller_batch} or a smaller {key}"
            ),
        })
    }

    fn crf_need(&self, crf: &Crf) -> Option<Need> {
        crf.build()?;
        let (name, size) = self.largest()?;
        // Background and two classes; as many images side by side as there are threads for them.
        let side_by_side = rayon::current_num_threads().min(self.data.train.len());
        Some(Need {
            bytes: (side_by_side as u64 * crf_bytes(size, 3)) as f64,
            of: format!("the dense CRF on images like {name} of {} x {} pixels", size.0, size.1),
            remedy: "smaller images, fewer side by side (RAYON_NUM_THREADS=1) or --set label.crf.preset=none".into(),
        })
    }

    /// The largest of the training images that are looked at, and its size.
    fn largest(&self) -> Option<(String, (u32, u32))> {
        let split = &self.data.train;
        let step = (split.len() / LOOKED_AT).max(1);
        let sizes = split.indices().step_by(step);
        let sizes = sizes.filter_map(|i| Some((i, split.size(i).ok()?)));
        let (i, size) = sizes.max_by_key(|(_, (w, h))| u64::from(*w) * u64::from(*h))?;
        Some((split.source(i), size))
    }
}

fn warning(stage: &str, need: &Need, available: Available) -> Option<String> {
    let bytes = need.bytes + BASE;
    (bytes > available.bytes as f64).then(|| {
        format!(
            "stage {stage} needs about {} of memory for {}, and {} {}: it may end for want of memory; take {}",
            gigabytes(bytes),
            need.of,
            available.bound.words(),
            gigabytes(available.bytes as f64),
            need.remedy
        )
    })
}

fn gigabytes(bytes: f64) -> String {
    match bytes < 1e9 {
        true => format!("{:.0} MB", (bytes / 1e6).max(1.0)),
        false => format!("{:.1} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::host::Bound;

    #[test]
    fn a_stage_that_needs_more_than_there_is_is_warned_of() {
        let need = Need {
            bytes: 2.4e9,
            of: "a step on 16 crops of 321 x 321".into(),
            remedy: "a smaller batch (--set classify.batch=4)".into(),
        };
        let of = |bytes| Available {
            bytes,
            bound: Bound::Container,
        };
        assert_eq!(warning("classify", &need, of(4_000_000_000)), None);
        let told = warning("classify", &need, of(1_000_000_000)).unwrap();
        for part in [
            "stage classify needs about 2.5 GB",
            "16 crops",
            "the container's limit leaves 1.0 GB",
            "--set classify.batch=4",
        ] {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
    }
}
