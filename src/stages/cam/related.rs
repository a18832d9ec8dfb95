//! Localization maps of the training images from the co-attention with related images (MCIS Sec. 3.2).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::Tensor;
use image::RgbImage;

use super::coattentive::{CoAttentive, Reference, at_scale};
use super::file;
use super::plan::{Job, Plan};
use crate::inference::{Trained, batches, passes};
use crate::models::heads::co_attention::Form;
use crate::pipeline::Context;
use crate::progress;

/// Features of the images that later ones attend to, dropped after their last use.
#[derive(Default)]
struct Features {
    /// By image: `[1, D, h, w]` at each of the recipe's scales.
    kept: HashMap<usize, Vec<Tensor<4>>>,
    /// How many images are still to attend to each.
    uses: HashMap<usize, usize>,
}

impl Features {
    /// An image's references that could be read.
    fn of<'a>(&self, references: &'a BTreeMap<usize, Vec<usize>>) -> Vec<Reference<'a>> {
        let kept = |(image, tags): (&usize, &'a Vec<usize>)| {
            let features = self.kept.get(image)?.clone();
            Some(Reference {
                image: *image,
                features,
                tags,
            })
        };
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
/// The features of a reference are computed once, at each of the recipe's scales, however many images attend to them: an
/// image looks at others at its own scale. At any time about `2 related + 1` references per class are kept.
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
    let maps = CoAttentive { context, trained, form };
    let path = |i: usize| path(split.name(i));
    let is_missing = |i: usize| !path(i).exists();
    let jobs = plan.jobs(is_missing);
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
                let levels = settings.scales.iter().map(|scale| {
                    let images = at_scale(&images, *scale);
                    trained.network.levels(&trained.forward(), images).high
                });
                let levels: Vec<Tensor<4>> = levels.collect();
                for (place, (job, _)) in read.iter().enumerate() {
                    let one = levels.iter().map(|level| level.clone().narrow(0, place, 1));
                    features.borrow_mut().kept.insert(job.image(), one.collect());
                }
            }
            for (job, image) in batch {
                // A batch that the device had no memory for comes again in parts.
                if let Job::Query(i) = *job
                    && is_missing(i)
                {
                    let references = &plan.references[i];
                    let related = features.borrow().of(references);
                    let maps = maps.of(i, image, &related).with_context(|| split.source(i))?;
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
