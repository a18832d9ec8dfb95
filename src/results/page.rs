//! The page of a run: scores, curves and pictures of what every stage made of an image.

use anyhow::Result;
use image::{GrayImage, RgbImage};

use super::scores::Scored;
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::maps::{background, read_maps};
use crate::pipeline::{Context, Product, Purpose, Stage};
use crate::report::{self, Curve, PictureRow, Report};
use crate::run::metrics_csv;
use crate::train;

/// Rows of pictures in the report from either split.
const ROWS: usize = 12;
/// Height that pictures are scaled to, in pixels.
const HEIGHT: u32 = 192;

/// The page of a run called `title`, whose stages are worth `scored`.
///
/// # Errors
/// Where a file of the run cannot be read.
pub fn page(context: &Context, title: String, scored: &Scored) -> Result<Report> {
    let scores = &scored.scores;
    let line = |key: &str, value: String| (key.to_string(), value);
    let mut notes = Vec::new();
    if context.data.skipped > 0 {
        notes.push(format!(
            "{} images were left out; log.txt says which and why.",
            context.data.skipped
        ));
    }
    if scores.is_empty() {
        notes.push("The data set has no masks, so nothing could be scored.".into());
    }
    let mut summary = vec![
        line("Training images", context.data.train.len().to_string()),
        line("Validation images", context.data.val.len().to_string()),
        line("Classes", context.classes().to_string()),
        line("Backbone", context.recipe.backbone.name.clone()),
        line("Seed", context.seed.to_string()),
        line("Device", context.device_line.trim_start_matches("device: ").to_string()),
    ];
    let corrected = context.corrected().len();
    if corrected > 0 {
        let of = format!("{corrected} of {}", context.data.train.len());
        summary.push(line("Corrected labels", of));
        notes.push(format!(
            "{corrected} pseudo-labels were corrected by hand; scores of labels and networks have them in."
        ));
    }
    Ok(Report {
        title,
        summary,
        stages: scores.to_vec(),
        classes: context.data.classes.clone(),
        curves: curves(context, scored)?,
        columns: ["Image", "CAM", "After the walk", "Pseudo-label", "Prediction", "Truth"]
            .map(String::from)
            .to_vec(),
        rows: rows(context)?,
        timings: context.run.stages().into_iter().map(|s| (s.name, s.seconds)).collect(),
        notes,
    })
}

fn curves(context: &Context, Scored { scores, sweep }: &Scored) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    let trained = context.pipeline.iter().filter(|s| s.trains().is_some());
    for stage in trained.copied() {
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
    if let Some(sweep) = sweep {
        let points = sweep.curve().into_iter();
        curves.push(Curve {
            title: "CAM: mIoU by background threshold".into(),
            x: "threshold".into(),
            y: "mIoU, %".into(),
            series: vec![("mIoU".into(), points.map(|(t, v)| (f64::from(t), 100.0 * v)).collect())],
        });
    }
    if scores.len() > 1 {
        let points = scores.iter().enumerate();
        curves.push(Curve {
            title: format!(
                "mIoU by stage: {}",
                scores.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
            ),
            x: "stage".into(),
            y: "mIoU, %".into(),
            series: vec![(
                "mIoU".into(),
                points.map(|(i, (_, s))| (i as f64 + 1.0, s.mean_iou)).collect(),
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
    let val = context.predicted_split();
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
    let file = |stage: Option<Stage>| {
        let path = stage.map(|stage| context.file(stage, name));
        path.filter(|path| path.exists())
    };
    let maps = |stage| file(stage).map(|path| read_maps(&path)).transpose();
    let label = |stage| -> Result<Option<RgbImage>> {
        let mask = file(stage)
            .map(|path| read_mask(&path, classes, image.dimensions()))
            .transpose()?;
        Ok(mask.map(|mask| painted(&mask)))
    };
    let cam = maps(class_maps(context))?.map(|maps| {
        let heat = background(maps.maps.view(), 1.0).mapv(|b| 1.0 - b);
        report::heat(&big, &heat)
    });
    let scores = context.last(|p| matches!(p, Product::Scores));
    let walked = maps(scores)?.map(|maps| painted(&maps.winners()));
    let masks = context.last(|p| matches!(p, Product::Masks));
    Ok(PictureRow {
        name: name.into(),
        tags: split.tags(i).iter().map(|t| context.data.classes[*t].clone()).collect(),
        cells: vec![
            Some(image.clone()),
            cam,
            walked,
            label(context.last(gives_labels))?,
            label(masks)?,
            split.mask(i)?.map(|mask| painted(&mask)),
        ],
    })
}

/// The stage whose class maps the page shows.
fn class_maps(context: &Context) -> Option<Stage> {
    context.last(|product| matches!(product, Product::ClassMaps))
}

/// Whether the segmentation network learns from labels that come with this product.
fn gives_labels(product: Product) -> bool {
    match product {
        Product::Labels => true,
        Product::Network(trains) => trains.keeps_labels && trains.purpose == Purpose::Masks,
        _ => false,
    }
}
