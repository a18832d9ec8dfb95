//! The labels that AffinityNet learns from: what the class activation maps are sure of (Sec. 3.2.1).

use std::path::PathBuf;

use anyhow::Result;

use super::background::confident;
use super::refine::{Refine, each};
use super::{Context, Stage};
use crate::data::decode::write_mask;
use crate::run::files::read_maps;

/// The label file of one image: in `affinity/labels/`.
pub fn file(context: &Context, image: &str) -> PathBuf {
    context
        .folder(Stage::Affinity)
        .join("labels")
        .join(format!("{image}.png"))
}

/// Writes a label map for every image with a class activation map. Images whose file exists are kept.
pub fn write(context: &Context) -> Result<()> {
    let split = &context.data.train;
    let settings = &context.recipe.affinity;
    let missing: Vec<usize> = (0..split.len())
        .filter(|&i| context.file(Stage::Cam, split.name(i), "npz").exists())
        .filter(|&i| !file(context, split.name(i)).exists())
        .collect();
    let crf = settings.crf.build();
    each(context, &missing, "affinity labels", |i| {
        let maps = read_maps(&context.file(Stage::Cam, split.name(i), "npz"))?;
        let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
        let label = confident(
            &maps,
            settings.alpha_low,
            settings.alpha_high,
            settings.min_foreground,
            |scores| refine.apply(scores),
        )?;
        write_mask(file(context, split.name(i)), &label)
    })
}
