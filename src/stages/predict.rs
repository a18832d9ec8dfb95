//! Predicting masks with the trained segmentation network.

use anyhow::{Result, ensure};
use image::RgbImage;

use crate::data::decode::write_mask;
use crate::inference::{Predictor, batches, passes};
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Workload};
use crate::progress;

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "predict",
    folder: "predictions",
    // `weakseg predict` takes any images too.
    command: None,
    product: Product::Masks,
    follows_objective: false,
    // As a quarter as many images.
    cost: |on| {
        let settings = &on.recipe.predict;
        0.25 * (1.0 + Workload::passes(&settings.scales, settings.flip)) * on.all_images()
    },
    work: write,
});

/// Writes `predictions/IMAGE.png` for every image that the method predicts, and with a CRF the network's own masks
/// beside it.
fn write(context: &Context) -> Result<()> {
    let settings = &context.recipe.predict;
    let predictor = Predictor {
        trained: context.trained(STAGE, Purpose::Masks)?,
        settings,
    };
    let split = context.predicted_split();
    let file = |i: usize| context.file(STAGE, split.name(i));
    let own = context.own(split);
    let missing: Vec<usize> = own.clone().filter(|&i| !file(i).exists()).collect();
    let refines = settings.crf.build().is_some();
    let bar = progress::bar(missing.len() as u64, "image", STAGE.name());
    let mut failed = 0;
    batches(
        &missing,
        settings.batch,
        passes(&settings.scales, settings.flip),
        &context.device,
        |i| split.image(i),
        |batch| {
            let images: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
            let tags: Vec<&[usize]> = batch.iter().map(|(i, _)| split.tags(*i)).collect();
            let tags = settings.use_tags.then_some(tags.as_slice());
            let predictions = predictor.masks(&images, tags, &settings.crf)?;
            for ((i, _), prediction) in batch.iter().zip(predictions) {
                if refines {
                    write_mask(context.network_mask(STAGE, split.name(*i)), &prediction.network)?;
                }
                write_mask(file(*i), &prediction.mask)?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| {
            failed += 1;
            log::warn!("{}: skipped: {error:#}", split.source(i));
        },
    )?;
    bar.finish();
    ensure!(
        own.is_empty() || failed < own.len(),
        "no image could be read: see the warnings above"
    );
    Ok(())
}
