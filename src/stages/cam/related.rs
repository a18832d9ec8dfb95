//! Localization maps of the training images from the co-attention with related images (MCIS Sec. 3.2).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use ndarray::Axis;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::file;
use crate::inference::{Trained, batches, download_maps, multi_scale, passes};
use crate::models::heads::cam;
use crate::models::heads::co_attention::{Form, Origin, Pairing, first};
use crate::pipeline::Context;
use crate::progress;
use crate::recipe::LocalizationMaps;

/// Something to read an image for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// Its features, which others attend to.
    Reference(usize),
    /// Its localization map.
    Query(usize),
}

impl Job {
    fn image(self) -> usize {
        match self {
            Job::Reference(i) | Job::Query(i) => i,
        }
    }
}

/// Which images each image's maps are made with, in an order in which a reference is not needed for long.
struct Plan {
    /// All images, as the seed says: neighbours in a folder are often alike.
    order: Vec<usize>,
    /// By image: its references, each with the tags that it is one for.
    references: Vec<BTreeMap<usize, Vec<usize>>>,
}

impl Plan {
    /// For every tag of every image, the `related` images nearest to it in the order that have the tag too; the image
    /// itself where there is no other.
    fn new(tags: &[&[usize]], related: usize, seed: u64) -> Plan {
        let mut order: Vec<usize> = (0..tags.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut by_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &image in &order {
            for &tag in tags[image] {
                by_class.entry(tag).or_default().push(image);
            }
        }
        let mut references = vec![BTreeMap::<usize, Vec<usize>>::new(); tags.len()];
        for (class, images) in by_class {
            let window = (related + 1).min(images.len());
            for (place, &image) in images.iter().enumerate() {
                let start = place.min(images.len() - window);
                let others = images[start..start + window]
                    .iter()
                    .filter(|other| **other != image || window == 1);
                for &other in others {
                    references[image].entry(other).or_default().push(class);
                }
            }
        }
        Plan { order, references }
    }

    /// What to read for the maps of the images that `is_missing`, of those in these `places` of the order: every reference
    /// once, before its first use.
    fn jobs(&self, places: Range<usize>, is_missing: impl Fn(usize) -> bool) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut is_read = vec![false; self.order.len()];
        for &image in self.order[places].iter().filter(|i| is_missing(**i)) {
            for &reference in self.references[image].keys() {
                if !std::mem::replace(&mut is_read[reference], true) {
                    jobs.push(Job::Reference(reference));
                }
            }
            jobs.push(Job::Query(image));
        }
        jobs
    }
}

/// Features of the images that later ones attend to, dropped after their last use.
#[derive(Default)]
struct Features {
    /// `[1, D, h, w]` each.
    kept: HashMap<usize, Tensor<4>>,
    /// How many images are still to attend to each.
    uses: HashMap<usize, usize>,
}

impl Features {
    /// An image's references that could be read, with their features and the tags that they are references for.
    fn of<'a>(&self, references: &'a BTreeMap<usize, Vec<usize>>) -> Vec<(usize, Tensor<4>, &'a [usize])> {
        let kept =
            |(image, tags): (&usize, &'a Vec<usize>)| Some((*image, self.kept.get(image)?.clone(), tags.as_slice()));
        references.iter().filter_map(kept).collect()
    }

    /// One image needs its references no more; what no other image needs goes.
    fn release(&mut self, references: &BTreeMap<usize, Vec<usize>>) {
        for image in references.keys() {
            if let Some(left) = self.uses.get_mut(image) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.kept.remove(image);
                }
            }
        }
    }
}

/// Writes the `path` of every training image's name from `mcis.related` related images per class, in the form that
/// [`file::write`] gives it, under a bar called `label`. Images whose file exists are kept.
///
/// The features of a reference are computed once, at the size that the network sees, however many images attend to
/// them; those of a query at the recipe's scales. At any time about `2 related + 1` references per class are kept.
///
/// # Errors
/// Where the device fails, or a file cannot be written.
pub fn write(
    context: &Context,
    trained: &Trained,
    form: Form,
    label: &str,
    path: impl Fn(&str) -> PathBuf,
) -> Result<()> {
    let split = &context.data.train;
    let settings = &context.recipe.cam;
    let tags: Vec<&[usize]> = split.indices().map(|i| split.tags(i)).collect();
    let plan = Plan::new(&tags, context.recipe.coattend.related, context.seed);
    let path = |i: usize| path(split.name(i));
    let is_missing = |i: usize| !path(i).exists();
    let jobs = plan.jobs(context.own(split), is_missing);
    let mut features = Features::default();
    let queries = jobs.iter().filter_map(|job| match job {
        Job::Query(i) => Some(*i),
        Job::Reference(_) => None,
    });
    let bar = progress::bar(queries.clone().count() as u64, "image", label);
    for reference in queries.flat_map(|i| plan.references[i].keys()) {
        *features.uses.entry(*reference).or_insert(0) += 1;
    }
    let features = RefCell::new(features);
    batches(
        &jobs,
        settings.batch,
        passes(&settings.scales, settings.flip),
        &context.device,
        |job| split.image(job.image()),
        |batch| {
            let is_reference = |(job, _): &&(Job, RgbImage)| matches!(job, Job::Reference(_));
            let read: Vec<_> = batch.iter().filter(is_reference).collect();
            if !read.is_empty() {
                let images = trained.upload(read.iter().map(|(_, image)| image));
                let levels = trained.network.levels(&trained.forward(), images).high;
                for (place, (job, _)) in read.iter().enumerate() {
                    let one = levels.clone().narrow(0, place, 1);
                    features.borrow_mut().kept.insert(job.image(), one);
                }
            }
            for (job, image) in batch {
                // A batch that the device had no memory for comes again in parts.
                if let Job::Query(i) = *job
                    && is_missing(i)
                {
                    let references = &plan.references[i];
                    let related = features.borrow().of(references);
                    let maps = maps(context, trained, form, (i, image), &related)?;
                    file::write(&path(i), maps.view(), tags[i], image)?;
                    features.borrow_mut().release(references);
                    bar.inc(1);
                }
            }
            Ok(())
        },
        |job, error| {
            if let Job::Query(i) = job {
                features.borrow_mut().release(&plan.references[i]);
                log::warn!("{}: skipped: {error:#}", split.source(i));
            }
        },
    )?;
    bar.finish();
    Ok(())
}

/// An image's localization maps `[C, h, w]`, at least 0, for the tags that it has references for: the mean over these
/// of the class maps of its co-attentive features. Without any, from the image alone.
fn maps(
    context: &Context,
    trained: &Trained,
    form: Form,
    (image, pixels): (usize, &RgbImage),
    related: &[(usize, Tensor<4>, &[usize])],
) -> Result<ndarray::Array3<f32>> {
    let settings = &context.recipe.coattend;
    let split = &context.data.train;
    let classes = context.classes();
    let mut counts = vec![0.0f32; classes];
    for tag in related.iter().flat_map(|(_, _, tags)| *tags) {
        counts[*tag] += 1.0;
    }
    let network = &trained.network;
    let x = trained.upload(std::iter::once(pixels));
    let scales = &context.recipe.cam;
    let maps = multi_scale(x, &scales.scales, scales.flip, |x| {
        let f = trained.forward();
        let own = network.levels(&f, x).high;
        let b = own.dims()[0];
        let mut sum: Option<Tensor<4>> = None;
        for (reference, features, tags) in related {
            let pairing = Pairing {
                form,
                temperature: settings.temperature,
                origins: vec![Origin::of([image, *reference].map(|i| split.is_extra(i)))],
            };
            let [_, d, h, w] = features.dims();
            let other = features.clone().expand([b, d, h, w]);
            let side = first(&f, network.backbone, own.clone(), other, &pairing);
            let map = match settings.maps {
                LocalizationMaps::Common => side.common_map,
                LocalizationMaps::Both => (side.common_map + side.exclusive_map) / 2.0,
            };
            let mut share = vec![0.0f32; classes];
            for tag in *tags {
                share[*tag] = 1.0 / counts[*tag];
            }
            let share = TensorData::new(share, [1, classes, 1, 1]);
            let part = map * Tensor::from_data(share, &context.device);
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
        match sum {
            Some(sum) => sum.clamp_min(0.0),
            None => cam::maps(&f, network.backbone, own),
        }
    });
    let maps = download_maps(maps)?;
    Ok(maps.index_axis_move(Axis(0), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_shares_the_tag_and_is_read_once() {
        let tags: Vec<Vec<usize>> = (0..60)
            .map(|i| match i % 7 {
                0 => vec![0, 1],
                3 => vec![],
                n if i < 50 => vec![n % 3],
                _ => vec![2],
            })
            .chain([vec![8]])
            .collect();
        let tags: Vec<&[usize]> = tags.iter().map(Vec::as_slice).collect();
        let plan = Plan::new(&tags, 3, 1);
        for (image, references) in plan.references.iter().enumerate() {
            for tag in tags[image] {
                let having = references.iter().filter(|(_, for_tags)| for_tags.contains(tag));
                assert_eq!(having.count(), if *tag == 8 { 1 } else { 3 });
            }
            for (reference, for_tags) in references {
                assert!(for_tags.iter().all(|tag| tags[*reference].contains(tag)));
                assert_eq!(*reference == image, tags[image] == [8]);
            }
        }
        let jobs = plan.jobs(0..plan.order.len(), |i| i % 2 == 0);
        let mut read: Vec<usize> = Vec::new();
        for job in &jobs {
            match job {
                Job::Reference(i) => {
                    assert!(!read.contains(i));
                    read.push(*i);
                }
                Job::Query(i) => assert!(plan.references[*i].keys().all(|r| read.contains(r))),
            }
        }
        let queries = jobs.iter().filter(|job| matches!(job, Job::Query(_)));
        assert_eq!(queries.count(), 31);
    }
}
