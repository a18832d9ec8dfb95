//! Pseudo-labels: the class with the highest score per pixel (Sec. 3.4).

use anyhow::Result;
use image::GrayImage;

use super::background::winners;
use super::refine::{Refine, each};
use super::{Context, Stage};
use crate::data::decode::write_mask;
use crate::run::Maps;
use crate::run::files::read_maps;

/// Writes `labels/IMAGE.png` for every image that was propagated, after the recipe's dense CRF.
pub fn write(context: &Context) -> Result<()> {
    let split = &context.data.train;
    let present: Vec<usize> = (0..split.len())
        .filter(|&i| {
            context
                .file(Stage::Propagate, split.name(i), "npz")
                .exists()
        })
        .collect();
    let settings = &context.recipe.label;
    let crf = settings.crf.build();
    each(context, &present, "label", |i| {
        let mut scores = read_maps(&context.file(Stage::Propagate, split.name(i), "npz"))?;
        let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
        scores.maps = refine.apply(scores.maps)?;
        let label = label(&scores, settings.ignore_below);
        write_mask(context.file(Stage::Label, split.name(i), "png"), &label)
    })
}

/// The mask value with the highest score; 255 where that score is below `ignore_below`.
pub fn label(scores: &Maps, ignore_below: f32) -> GrayImage {
    let values: Vec<u8> = scores.classes.iter().map(|c| *c as u8).collect();
    let mut label = winners(scores.maps.view(), &values);
    if ignore_below > 0.0 {
        for (x, y, pixel) in label.enumerate_pixels_mut() {
            let here = scores.maps.slice(ndarray::s![.., y as usize, x as usize]);
            if here.iter().all(|score| *score < ignore_below) {
                pixel.0 = [255];
            }
        }
    }
    label
}
