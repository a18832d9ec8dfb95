//! `weakseg compare`: every method on one data set and seed, method beside method.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::context::{Common, Opened};
use super::several::{Left, Several, finished};
use super::{print, print_json};
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::methods;
use crate::metrics::StageScore;
use crate::progress::Whole;
use crate::report::{self, PictureRow, Report};
use crate::run::RunDir;
use crate::run::files::write_json;
use crate::stages::{Stage, predict, summary};

/// Rows of pictures on the page.
const ROWS: usize = 16;
/// Height that pictures are scaled to, in pixels.
const HEIGHT: u32 = 192;
const SUPERVISED: &str = "supervised";
const NO_METHOD: &str = "no method to compare: name some with --methods";

/// Arguments of `weakseg compare`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Methods to compare [default: all; supervised only where the training images have masks]
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// Folder with a run for every method, compare.json and compare.html [default: runs/compare-DATA-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// folder: another folder of the same form with images to validate on
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,
    #[command(flatten)]
    runs: Several,
}

/// What a method came to.
#[derive(Serialize)]
struct Outcome {
    method: String,
    /// mIoU in percent by stage, in the names of `metrics.json`.
    mean_iou: BTreeMap<String, f64>,
    /// Wall-clock seconds of all its stages, without those that it took over from the first method.
    seconds: f64,
    run: PathBuf,
    /// Score of the masks that it ends with.
    #[serde(skip)]
    last: Option<StageScore>,
}

/// Runs the methods that are not finished, writes the page, and prints the table.
pub fn run(args: Args, json: bool) -> Result<()> {
    for method in &args.methods {
        methods::pipeline(method)?;
    }
    let name = Path::new(&args.runs.data).file_name().unwrap_or_default();
    let default = format!("compare-{}-{}", name.to_string_lossy(), args.runs.seed);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(default));
    let mut names: Vec<&str> = match args.methods.is_empty() {
        true => methods::NAMES.to_vec(),
        false => args.methods.iter().map(String::as_str).collect(),
    };
    let first = names.first().context(NO_METHOD)?;
    let first = open(&args, &out, first)?;
    let train = &first.context.data.train;
    if args.methods.is_empty() && !train.indices().any(|i| train.has_mask(i)) {
        log::info!("{SUPERVISED} is left out: the training images have no masks");
        names.retain(|name| *name != SUPERVISED);
    }
    let _whole = begin(&args, &out, &first, &names)?;
    let mut done: Vec<(RunDir, &str)> = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut last = Some(first);
    for (i, method) in names.iter().enumerate() {
        log::info!("method {} of {}: {method}", i + 1, names.len());
        if i > 0 {
            // One data set in memory at a time.
            drop(last.take());
        }
        let opened = match last.take() {
            Some(first) => first,
            None => open(&args, &out, method)?,
        };
        let context = &opened.context;
        for (run, other) in &done {
            methods::share((run, other), (context, method), None)?;
        }
        methods::run(context, method)?;
        let summary = summary::write(context, method, &opened.data)?;
        outcomes.push(Outcome {
            method: (*method).into(),
            mean_iou: summary
                .ordered
                .iter()
                .map(|(stage, score)| (stage.clone(), score.mean_iou))
                .collect(),
            seconds: summary.seconds.values().sum(),
            run: context.run.path().to_path_buf(),
            last: summary.ordered.last().map(|(_, score)| score.clone()),
        });
        done.push((RunDir::read(context.run.path())?, method));
        last = Some(opened);
    }
    let last = last.context(NO_METHOD)?;
    write_json(&out.join("compare.json"), &outcomes)?;
    let path = out.join("compare.html");
    report::write(&page(&args, &last, &outcomes)?, &path)?;
    if json {
        return print_json(&outcomes);
    }
    print(format_args!("{}page: {}", table(&outcomes), path.display()))
}

fn open(args: &Args, out: &Path, method: &str) -> Result<Opened> {
    Common {
        val: args.val.clone(),
        ..args.runs.run(out.join(method), &[])
    }
    .open(Some(method), None)
}

/// Says how long all that is left to do will take, and starts its progress.
fn begin(args: &Args, out: &Path, first: &Opened, names: &[&str]) -> Result<Whole> {
    let mut left = Left::new(first.context.load()?);
    let recipe = args.runs.recipe(&[])?;
    for (i, method) in names.iter().enumerate() {
        let mut kept = finished(&out.join(method));
        for other in &names[..i] {
            kept.extend(methods::common(other, method)?);
        }
        left.add((method, &kept), method, &recipe, None)?;
    }
    left.begin(&format!("{} methods", names.len()), "compare", first)
}

/// The stages that are scored, with the heads of their columns.
const COLUMNS: [(&str, &str); 5] = [
    ("cam", "maps"),
    ("propagate", "walk"),
    ("label", "labels"),
    ("segment", "masks"),
    ("segment_crf", "+CRF"),
];

fn table(outcomes: &[Outcome]) -> String {
    let heads: String = COLUMNS
        .iter()
        .map(|(_, head)| format!(" {head:>6}"))
        .collect();
    let mut text = format!("{:<14}{heads} minutes\n", "mIoU");
    for outcome in outcomes {
        text += &format!("{:<14}", outcome.method);
        for (stage, _) in COLUMNS {
            let score = outcome.mean_iou.get(stage);
            let score = score.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
            text += &format!(" {score:>6}");
        }
        text += &format!(" {:>7.1}\n", outcome.seconds / 60.0);
    }
    text
}

/// The page: a bar per method, and a column per method in the pictures.
fn page(args: &Args, last: &Opened, outcomes: &[Outcome]) -> Result<Report> {
    let context = &last.context;
    let split = predict::split(context);
    let fact = |name: &str, text: String| (name.to_string(), text);
    let heads = ["Image", "Truth"].into_iter();
    let methods = outcomes.iter().map(|o| o.method.as_str());
    let rows = split
        .indices()
        .take(ROWS)
        .map(|i| row(context.classes(), &context.data.classes, split, i, outcomes));
    Ok(Report {
        title: format!("Methods on {}", args.runs.data),
        summary: vec![
            fact("Training images", context.data.train.len().to_string()),
            fact("Validation images", context.data.val.len().to_string()),
            fact("Recipe", args.runs.recipe_name().into()),
            fact("Backbone", context.recipe.backbone.name.clone()),
            fact("Seed", args.runs.seed.to_string()),
        ],
        stages: outcomes
            .iter()
            .filter_map(|o| Some((o.method.clone(), o.last.clone()?)))
            .collect(),
        classes: context.data.classes.clone(),
        columns: heads.chain(methods).map(String::from).collect(),
        rows: rows.collect::<Result<_>>()?,
        timings: outcomes
            .iter()
            .map(|o| (o.method.clone(), o.seconds))
            .collect(),
        notes: vec![
            "Methods that begin with the same stages share them: their time is counted once."
                .into(),
        ],
        ..Report::default()
    })
}

fn row(
    count: usize,
    classes: &[String],
    split: &Split,
    i: usize,
    outcomes: &[Outcome],
) -> Result<PictureRow> {
    let image = split.image(i)?;
    let big = report::to_height(&image, HEIGHT);
    let painted =
        |mask: &image::GrayImage| report::mask(&big, &report::mask_to_height(mask, HEIGHT), 0.6);
    let mut cells = vec![
        Some(image.clone()),
        split.mask(i)?.map(|mask| painted(&mask)),
    ];
    for outcome in outcomes {
        let folder = RunDir::read(&outcome.run)?.folder(Stage::Predict.name());
        let path = folder.join(format!("{}.png", split.name(i)));
        let mask = path
            .exists()
            .then(|| read_mask(&path, count, image.dimensions()))
            .transpose()?;
        cells.push(mask.map(|mask| painted(&mask)));
    }
    let named = |tag: &usize| classes.get(*tag).cloned();
    Ok(PictureRow {
        name: split.name(i).into(),
        tags: split.tags(i).iter().filter_map(named).collect(),
        cells,
    })
}
