//! Class activation maps of the training images (AffinityNet Sec. 3.1, Eq. 1).

use anyhow::{Result, ensure};
use image::RgbImage;
use ndarray::{Array3, ArrayView3, Axis};

use super::inference::{batches, download_maps, enlarge, multi_scale, passes, upload};
use super::{Context, Stage, classify, coattend};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::progress;
use crate::run::Maps;
use crate::run::files::write_maps;
use crate::train;

/// Writes `cam/IMAGE.npz` for every training image: one array `[H, W]` in [0, 1] per tagged class, under its mask
/// value. Images whose file exists are kept.
pub fn write(context: &Context) -> Result<()> {
    let has_coattention = context.pipeline.contains(&Stage::Coattend);
    if has_coattention && context.recipe.mcis.related > 0 {
        return coattend::localize::write(context);
    }
    let (network, stage) = if has_coattention {
        (coattend::network(context)?, Stage::Coattend)
    } else {
        (classify::network(context)?, Stage::Classify)
    };
    let checkpoint = context.folder(stage).join(train::CHECKPOINT);
    let parameters = train::load(&network, &checkpoint, &context.device)?;
    let split = &context.data.train;
    let missing: Vec<usize> = (0..split.len())
        .filter(|&i| !context.file(Stage::Cam, split.name(i), "npz").exists())
        .collect();
    let bar = progress::bar(missing.len() as u64, "image", "cam");
    batches(
        &missing,
        context.recipe.cam.batch,
        passes(&context.recipe.cam.scales, context.recipe.cam.flip),
        &context.device,
        |i| split.image(i),
        |batch| {
            let maps = maps(context, &network, &parameters, batch)?;
            for ((i, image), maps) in batch.iter().zip(maps.outer_iter()) {
                save(context, *i, image, maps)?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| log::warn!("{}: skipped: {error:#}", split.source(i)),
    )?;
    bar.finish();
    ensure!(
        (0..split.len()).any(|i| context.file(Stage::Cam, split.name(i), "npz").exists()),
        "no training image could be read: see the warnings above"
    );
    Ok(())
}

/// Raw maps of all classes at the size that the network sees: `[B, C, h, w]`, at least 0.
fn maps(
    context: &Context,
    network: &Network,
    parameters: &Parameters,
    batch: &[(usize, RgbImage)],
) -> Result<ndarray::Array4<f32>> {
    let settings = &context.recipe.cam;
    let images = upload(
        batch.iter().map(|(_, image)| image),
        &context.input(network)?,
        &context.device,
    );
    let classifier = network.classifier()?;
    let maps = multi_scale(images, &settings.scales, settings.flip, |x| {
        classifier.maps(&Forward::new(parameters, Mode::Inference), x)
    });
    download_maps(maps)
}

/// Writes the tagged classes' maps of training image `i`, from those of all classes `[C, h, w]`, at least 0.
pub fn save(context: &Context, i: usize, image: &RgbImage, maps: ArrayView3<f32>) -> Result<()> {
    let split = &context.data.train;
    let mut maps = maps.select(Axis(0), split.tags(i));
    if context.recipe.cam.square_root {
        maps.mapv_inplace(f32::sqrt);
    }
    let maps = enlarge(maps, image.dimensions());
    let path = context.file(Stage::Cam, split.name(i), "npz");
    write_maps(&path, &normalise(maps, split.tags(i)))
}

/// The tagged classes' maps `[K, H, W]`, each divided by its maximum (Eq. 1); a class that fires nowhere stays 0.
fn normalise(mut maps: Array3<f32>, tags: &[usize]) -> Maps {
    for mut map in maps.outer_iter_mut() {
        let largest = map.fold(0.0f32, |m, v| m.max(*v));
        if largest > 0.0 {
            map /= largest;
        }
    }
    Maps {
        classes: tags.iter().map(|t| t + 1).collect(),
        maps,
    }
}
