//! Spreading the class activation maps by random walk on AffinityNet's affinities (Sec. 3.3, Eq. 11–12).

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array4, ArrayView3, Axis, s};

use crate::inference::{Trained, batches, download_maps, network_size};
use crate::kernels::{Walk, random_walk};
use crate::maps::{Maps, enlarge, read_maps, with_background, write_maps};
use crate::models::resize::resize;
use crate::pipeline::{Context, Definition, Product, Purpose, Stage};
use crate::progress;

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "propagate",
    folder: "propagate",
    command: Some("Stage 4: spread the maps by random walk"),
    product: Product::Scores,
    follows_objective: false,
    cost: |on| (2.0 + f64::from(on.recipe.propagate.scale.powi(2))) * on.all_images(),
    work: write,
});

/// Writes `propagate/IMAGE.npz` for every training image with class activation maps: the background's score and the
/// tagged classes' after the walk, `[H, W]` each, under their mask values. Images whose file exists are kept.
fn write(context: &Context) -> Result<()> {
    let trained = context.trained(STAGE, Purpose::Affinities)?;
    let maps = context.class_maps(STAGE)?;
    let split = &context.data.train;
    let mut missing = context.missing(maps, |image| context.file(STAGE, image));
    // Neighbours of one size go in one batch, and of as many tags fill it.
    missing.sort_by_cached_key(|&i| (split.size(i).ok(), split.tags(i).len(), i));
    let bar = progress::bar(missing.len() as u64, "image", STAGE.name());
    batches(
        &missing,
        context.recipe.cam.batch,
        1.0,
        &context.device,
        |i| split.image(i),
        |batch| {
            let cams = batch
                .iter()
                .map(|(i, _)| read_maps(&context.file(maps, split.name(*i))))
                .collect::<Result<Vec<Maps>>>()?;
            let scores = trained.batch_or_on_cpu(split, batch, |trained| walked(context, trained, batch, &cams))?;
            for (((i, image), cam), scores) in batch.iter().zip(&cams).zip(scores.outer_iter()) {
                let path = context.file(STAGE, split.name(*i));
                write_maps(&path, &own_rows(scores, &cam.classes, image.dimensions()))?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| log::warn!("{}: skipped: {error:#}", split.source(i)),
    )?;
    bar.finish();
    Ok(())
}

/// Background's and tagged classes' rows, the first of `[R, h, w]`, at the image's size.
fn own_rows(scores: ArrayView3<f32>, classes: &[usize], size: (u32, u32)) -> Maps {
    let classes: Vec<usize> = std::iter::once(0).chain(classes.iter().copied()).collect();
    Maps {
        maps: enlarge(scores.slice(s![..classes.len(), .., ..]).to_owned(), size),
        classes,
    }
}

/// Scores after the walk at the size that the network sees, `[B, R, h, w]`: of every image background and tagged classes,
/// then zeros up to those of the image with most. All other classes' rows would stay zero.
fn walked(context: &Context, trained: &Trained, batch: &[(usize, RgbImage)], cams: &[Maps]) -> Result<Array4<f32>> {
    let (w, h) = network_size(batch[0].1.dimensions(), &trained.input);
    let images = trained.upload(batch.iter().map(|(_, image)| image));
    let grid = [h, w].map(|side| (side as f32 * context.recipe.propagate.scale).round() as usize);
    let images = resize(images, grid);
    let features = trained.network.affinity_net()?.features(&trained.forward(), images);
    let [b, _, small_h, small_w] = features.dims();
    let rows = 1 + cams.iter().map(|cam| cam.classes.len()).max().unwrap_or(0);
    let mut scores = Array4::<f32>::zeros((b, rows, small_h, small_w));
    for (mut scores, cam) in scores.outer_iter_mut().zip(cams) {
        let (mut full, _) = with_background(cam, context.recipe.propagate.alpha);
        if let Some(threshold) = context.recipe.propagate.threshold {
            full.index_axis_mut(Axis(0), 0).fill(threshold);
        }
        for (map, mut row) in full.outer_iter().zip(scores.outer_iter_mut()) {
            for ((y, x), cell) in row.indexed_iter_mut() {
                *cell = mean(map, (y, small_h), (x, small_w));
            }
        }
    }
    let scores = TensorData::new(scores.into_raw_vec_and_offset().0, [b, rows, small_h, small_w]);
    let walk = Walk {
        radius: context.recipe.propagate.radius as usize,
        beta: context.recipe.propagate.beta,
        steps: context.recipe.propagate.steps as usize,
        distance: context.recipe.affinity.distance,
    };
    let out = random_walk(features, Tensor::from_data(scores, &trained.device), walk);
    let out = resize(out, [h as usize, w as usize]);
    download_maps(out)
}

/// Mean of `map` over the cell (y of rows, x of columns): average pooling to any size.
fn mean(map: ndarray::ArrayView2<f32>, (y, rows): (usize, usize), (x, columns): (usize, usize)) -> f32 {
    let (h, w) = map.dim();
    let span = |i: usize, n: usize, side: usize| {
        let low = (i * side / n).min(side - 1);
        low..((i + 1) * side).div_ceil(n).clamp(low + 1, side)
    };
    let cell = map.slice(s![span(y, rows, h), span(x, columns, w)]);
    cell.sum() / cell.len() as f32
}
