//! `weakseg import`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use image::GrayImage;
use rayon::prelude::*;

use super::export::{format, need, open};
use super::output::{print, print_json};
use crate::annotations::contour::Regions;
use crate::annotations::format::Format;
use crate::data::corrected::{Corrected, Mask};
use crate::data::decode::{read_mask, write_mask};
use crate::export::is_within;
use crate::pipeline::{Context, Product, Stage};
use crate::progress;

/// Names that are listed one by one.
const NAMED: usize = 3;

/// Arguments of `weakseg import`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Folder with the corrected annotations, or a COCO JSON
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// What it holds, where that cannot be told: coco, yolo, labelme, cvat, voc or hf
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// What `weakseg export` was given: labels that lack such parts alone are not corrected
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    min_area: u64,
    /// Where the run's data set is now, if it was moved
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
}

/// Takes over the labels that differ from the run's.
pub fn run(args: Args, json: bool) -> Result<()> {
    ensure!(
        !is_within(&args.from, &args.run),
        "{} lies in the run directory {}: give the folder that the corrected labels are in",
        args.from.display(),
        args.run.display()
    );
    let opened = open(&args.run, args.data.clone())?;
    let (context, method) = (&opened.context, opened.method);
    let stage = context.last(|product| matches!(product, Product::Labels)).with_context(|| {
        format!(
            "the method {} has no stage that makes labels for a later one to learn from: import into a run of affinitynet, rrm-two-step or mcis",
            method.name
        )
    })?;
    need(context, stage, method.name)?;
    let corrected = Corrected::open(&args.from, args.format, &context.data.classes)?;
    for note in &corrected.notes {
        log::warn!("{note}");
    }
    let split = &context.data.train;
    let known: Vec<(usize, &Mask)> = split
        .indices()
        .filter_map(|i| Some((i, corrected.masks.get(split.name(i))?)))
        .collect();
    let is_stranger = |name: &&String| !split.indices().any(|i| split.name(i) == name.as_str());
    let strangers: Vec<&String> = match known.len() == corrected.masks.len() {
        true => Vec::new(),
        false => corrected.masks.keys().filter(is_stranger).collect(),
    };
    ensure!(
        !known.is_empty(),
        "none of the {} masks in {} is called as a training image of the run ({}, ...)",
        corrected.masks.len(),
        args.from.display(),
        split.name(0)
    );
    if !strangers.is_empty() {
        log::warn!(
            "{} masks are of no training image of the run: {}",
            strangers.len(),
            named(&strangers)
        );
    }
    // All are looked at before the first is taken over.
    let bar = progress::bar(known.len() as u64, "image", "import");
    let reader = Reader {
        context,
        stage,
        corrected: &corrected,
        min_area: args.min_area,
    };
    let compared: Vec<Result<bool>> = known
        .par_iter()
        .map(|(i, mask)| -> Result<bool> {
            let differs = reader.read(*i, mask)?.is_some();
            bar.inc(1);
            Ok(differs)
        })
        .collect();
    let compared: Vec<bool> = compared.into_iter().collect::<Result<_>>()?;
    bar.finish();
    let others: Vec<(usize, &Mask)> = known
        .iter()
        .zip(&compared)
        .filter(|(_, differs)| **differs)
        .map(|(k, _)| *k)
        .collect();
    let stale = match others.is_empty() {
        true => Vec::new(),
        false => take_over(&reader, &others, method.stages)?,
    };
    let names: Vec<&str> = others.iter().map(|(i, _)| split.name(*i)).collect();
    let same = known.len() - others.len();
    if json {
        return print_json(&serde_json::json!({
            "format": corrected.format.name(), "corrected": names, "same": same, "not_in_run": strangers,
            "stale": stale, "corrected_in_all": context.corrected().len(),
        }));
    }
    print(format_args!(
        "{} labels corrected, {same} the same as the run's own, {} corrected in all",
        names.len(),
        context.corrected().len()
    ))?;
    if !stale.is_empty() {
        print(format_args!(
            "stale, to be run again with `weakseg run --out {}`: {}",
            args.run.display(),
            stale.join(", ")
        ))?;
    }
    Ok(())
}

/// Reads masks that come back, beside the run's own.
struct Reader<'a> {
    context: &'a Context,
    stage: Stage,
    corrected: &'a Corrected,
    min_area: u64,
}

impl Reader<'_> {
    /// The mask of a training image; `None` where the run's own label says the same.
    fn read(&self, i: usize, mask: &Mask) -> Result<Option<GrayImage>> {
        let (context, split) = (self.context, &self.context.data.train);
        let size = split.size(i)?;
        let image = split.files(i).map(|(image, _)| image);
        let mut new = self.corrected.read(mask, size, image, &context.data.classes)?;
        let path = context.file(self.stage, split.name(i));
        if !path.exists() {
            return Ok(Some(new));
        }
        let own = read_mask(path, context.classes(), size)?;
        if !self.corrected.format.keeps_ignored() {
            // What the format could not hold is still to be ignored, where nothing was drawn over it.
            for (new, own) in new.iter_mut().zip(own.iter()) {
                if *own == 255 && *new == 0 {
                    *new = 255;
                }
            }
        }
        let mut exported = own.clone();
        Regions::of(&own, size.0, size.1).drop_small(self.min_area, &mut exported);
        Ok((new != own && new != exported).then_some(new))
    }
}

/// Writes labels over the run's own, and returns the stages that are stale for it.
fn take_over(reader: &Reader, others: &[(usize, &Mask)], stages: &[Stage]) -> Result<Vec<&'static str>> {
    let (context, stage) = (reader.context, reader.stage);
    let split = &context.data.train;
    let after = stages.iter().skip_while(|s| **s != stage).skip(1);
    let after: Vec<&'static str> = after.map(|s| s.name()).collect();
    let stale = context.run.forget(&after)?;
    context.run.reopen_stage(stage.name())?;
    others.par_iter().try_for_each(|(i, mask)| -> Result<()> {
        let name = split.name(*i);
        if let Some(label) = reader.read(*i, mask)? {
            write_mask(context.run.corrected(name), &label)?;
            write_mask(context.file(stage, name), &label)?;
        }
        Ok(())
    })?;
    context.run.finish_stage(stage.name(), 0.0)?;
    Ok(stale)
}

fn named(names: &[&String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
