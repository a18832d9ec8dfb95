//! `metrics.json` and `report.html`: what a run came to, for machines and for people.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use image::{GrayImage, RgbImage};
use serde::Serialize;

use super::background::{background, winners};
use super::{Context, Stage, cross, evaluate, predict};
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::metrics::StageScore;
use crate::report::{self, Curve, PictureRow, Report};
use crate::run::files::{read_maps, write_json};
use crate::run::{Maps, metrics_csv};
use crate::train;

/// Rows of pictures in the report from either split.
const ROWS: usize = 12;
/// Height that pictures are scaled to, in pixels.
const HEIGHT: u32 = 192;

/// A run's results, as `metrics.json` holds them.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Method's name.
    pub method: String,
    /// Data set, as given.
    pub data: String,
    /// What `--seed` said.
    pub seed: u64,
    /// Names of the classes, without background.
    pub classes: Vec<String>,
    /// Where it was computed.
    pub device: String,
    /// Images left out with a warning.
    pub skipped: usize,
    /// mIoU and IoU per class in percent, for every stage with truth to compare with.
    pub stages: BTreeMap<String, StageScore>,
    /// Wall-clock seconds of every stage.
    pub seconds: BTreeMap<String, f64>,
    /// Where the page is.
    pub report: PathBuf,
    /// The stages' scores in the pipeline's order.
    #[serde(skip)]
    pub ordered: Vec<(String, StageScore)>,
}

/// Scores every stage, writes `metrics.json` and `report.html`, and returns the results.
pub fn write(context: &Context, method: &str, data: &str) -> Result<Summary> {
    let ordered = evaluate::scores(context)?;
    let summary = Summary {
        method: method.into(),
        data: data.into(),
        seed: context.seed,
        classes: context.data.classes.clone(),
        device: context.device_line.clone(),
        skipped: context.data.skipped,
        stages: ordered.iter().cloned().collect(),
        seconds: context
            .run
            .stages()
            .into_iter()
            .map(|s| (s.name, s.seconds))
            .collect(),
        report: context.run.path().join("report.html"),
        ordered,
    };
    write_json(&context.run.path().join("metrics.json"), &summary)?;
    report::write(&page(context, &summary)?, &summary.report)?;
    Ok(summary)
}

fn page(context: &Context, summary: &Summary) -> Result<Report> {
    let line = |key: &str, value: String| (key.to_string(), value);
    let mut notes = Vec::new();
    if context.data.skipped > 0 {
        notes.push(format!(
            "{} images were left out; log.txt says which and why.",
            context.data.skipped
        ));
    }
    if summary.ordered.is_empty() {
        notes.push("The data set has no masks, so nothing could be scored.".into());
    }
    Ok(Report {
        title: format!("{} on {}", summary.method, summary.data),
        summary: vec![
            line("Training images", context.data.train.len().to_string()),
            line("Validation images", context.data.val.len().to_string()),
            line("Classes", context.classes().to_string()),
            line("Backbone", context.recipe.backbone.name.clone()),
            line("Seed", context.seed.to_string()),
            line(
                "Device",
                context
                    .device_line
                    .trim_start_matches("device: ")
                    .to_string(),
            ),
        ],
        stages: summary.ordered.clone(),
        classes: context.data.classes.clone(),
        curves: curves(context, summary)?,
        columns: [
            "Image",
            "CAM",
            "After the walk",
            "Pseudo-label",
            "Prediction",
            "Truth",
        ]
        .map(String::from)
        .to_vec(),
        rows: rows(context)?,
        timings: context
            .run
            .stages()
            .into_iter()
            .map(|s| (s.name, s.seconds))
            .collect(),
        notes,
    })
}

fn curves(context: &Context, summary: &Summary) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for stage in [
        Stage::Classify,
        Stage::Coattend,
        Stage::Affinity,
        Stage::Joint,
        Stage::Cross,
        Stage::Segment,
    ] {
        let path = context.folder(stage).join(train::METRICS);
        if !path.exists() {
            continue;
        }
        let mut series = metrics_csv::read(&path)?;
        series.retain(|(name, _)| name != "lr" && name != "images_per_second");
        curves.push(Curve {
            title: format!("{}: loss", stage.name()),
            x: "step".into(),
            y: "loss".into(),
            series,
        });
    }
    if let Some((sweep, _)) = evaluate::cams(context)? {
        let points = sweep.curve().into_iter();
        curves.push(Curve {
            title: "CAM: mIoU by background threshold".into(),
            x: "threshold".into(),
            y: "mIoU, %".into(),
            series: vec![(
                "mIoU".into(),
                points.map(|(t, v)| (f64::from(t), 100.0 * v)).collect(),
            )],
        });
    }
    if summary.ordered.len() > 1 {
        let points = summary.ordered.iter().enumerate();
        curves.push(Curve {
            title: format!(
                "mIoU by stage: {}",
                summary
                    .ordered
                    .iter()
                    .map(|(n, _)| n.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            x: "stage".into(),
            y: "mIoU, %".into(),
            series: vec![(
                "mIoU".into(),
                points
                    .map(|(i, (_, s))| (i as f64 + 1.0, s.mean_iou))
                    .collect(),
            )],
        });
    }
    Ok(curves)
}

/// Rows from the training split, and from the validation split where it is another.
fn rows(context: &Context) -> Result<Vec<PictureRow>> {
    let mut rows = Vec::new();
    for i in context.data.train.indices().take(ROWS) {
        rows.push(row(context, &context.data.train, i)?);
    }
    let val = predict::split(context);
    if !context.data.val.is_empty() && !context.data.val_is_train {
        for i in val.indices().take(ROWS) {
            rows.push(row(context, val, i)?);
        }
    }
    Ok(rows)
}

fn row(context: &Context, split: &Split, i: usize) -> Result<PictureRow> {
    let image = split.image(i)?;
    let big = report::to_height(&image, HEIGHT);
    let name = split.name(i);
    let classes = context.classes();
    let painted = |mask: &GrayImage| report::mask(&big, &report::mask_to_height(mask, HEIGHT), 0.6);
    let maps = |stage: Stage| -> Result<Option<Maps>> {
        let path = context.file(stage, name, "npz");
        path.exists().then(|| read_maps(&path)).transpose()
    };
    let label = |path: PathBuf| -> Result<Option<RgbImage>> {
        let mask = path
            .exists()
            .then(|| read_mask(&path, classes, image.dimensions()))
            .transpose()?;
        Ok(mask.map(|mask| painted(&mask)))
    };
    let cam = maps(Stage::Cam)?.map(|maps| {
        let heat = background(maps.maps.view(), 1.0).mapv(|b| 1.0 - b);
        report::heat(&big, &heat)
    });
    let walked = maps(Stage::Propagate)?.map(|maps| {
        let values: Vec<u8> = maps.classes.iter().map(|c| *c as u8).collect();
        painted(&winners(maps.maps.view(), &values))
    });
    let labels = match context.pipeline.contains(&Stage::Cross) {
        true => cross::label_file(context, context.recipe.cian.rounds, name),
        false => context.file(Stage::Label, name, "png"),
    };
    Ok(PictureRow {
        name: name.into(),
        tags: split
            .tags(i)
            .iter()
            .map(|t| context.data.classes[*t].clone())
            .collect(),
        cells: vec![
            Some(image.clone()),
            cam,
            walked,
            label(labels)?,
            label(context.file(Stage::Predict, name, "png"))?,
            split.mask(i)?.map(|mask| painted(&mask)),
        ],
    })
}
