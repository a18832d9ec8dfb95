//! `weakseg compare`: every method on one data set and seed, method beside method.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::context::{Common, Opened};
use super::every_run::EveryRunArgs;
use super::method::MethodParser;
use super::output::{print, print_json};
use super::remaining::{RemainingWork, finished};
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::files::write_json;
use crate::methods::{self, METHODS, Method};
use crate::metrics::StageScore;
use crate::pipeline::{Product, Stage};
use crate::progress::Whole;
use crate::report::{self, PictureRow, Report};
use crate::results::{self, NETWORK, NETWORK_CRF};
use crate::run::RunDir;
use crate::stages;

/// Rows of pictures on the page.
const ROWS: usize = 16;
/// Height that pictures are scaled to, in pixels.
const HEIGHT: u32 = 192;
const NO_METHOD: &str = "no method to compare: name some with --methods";

/// Arguments of `weakseg compare`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Methods to compare [default: all; supervised only where the training images have masks]
    #[arg(long, value_delimiter = ',', value_parser = MethodParser)]
    methods: Vec<String>,
    /// Folder with a run for every method, compare.json and compare.html [default: runs/compare-DATA-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// folder: another folder of the same form with images to validate on
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,
    #[command(flatten)]
    runs: EveryRunArgs,
}

/// What a method came to.
#[derive(Serialize)]
struct MethodResult {
    method: &'static str,
    /// mIoU in percent by stage, in the names of `metrics.json`.
    mean_iou: BTreeMap<String, f64>,
    /// Wall-clock seconds of all its stages, without those that it took over from the first method.
    seconds: f64,
    run: PathBuf,
    /// Where its masks of the predicted images are.
    #[serde(skip)]
    masks: Option<PathBuf>,
    /// Score of the masks that it ends with.
    #[serde(skip)]
    last: Option<StageScore>,
}

/// Runs the methods that are not finished, writes the page, and prints the table.
pub fn run(args: Args, json: bool) -> Result<()> {
    let named = args.methods.iter().map(|name| methods::named(name));
    let named: Vec<&Method> = named.collect::<Result<_>>()?;
    let name = Path::new(&args.runs.data).file_name().unwrap_or_default();
    let default = format!("compare-{}-{}", name.to_string_lossy(), args.runs.seed);
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(default));
    let mut compared: Vec<&Method> = match named.is_empty() {
        true => METHODS.iter().collect(),
        false => named,
    };
    let first = compared.first().context(NO_METHOD)?;
    let first = open(&args, &out, first)?;
    let train = &first.context.data.train;
    if args.methods.is_empty() && !train.indices().any(|i| train.has_mask(i)) {
        let left_out = compared.extract_if(.., |method| method.needs_masks());
        for method in left_out {
            log::info!("{} is left out: the training images have no masks", method.name);
        }
    }
    let _whole = begin(&args, &out, &first, &compared)?;
    let mut done: Vec<(RunDir, &Method)> = Vec::new();
    let mut outcomes: Vec<MethodResult> = Vec::new();
    let mut last = Some(first);
    for (i, method) in compared.iter().enumerate() {
        log::info!("method {} of {}: {}", i + 1, compared.len(), method.name);
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
        methods::run(context, None)?;
        let summary = results::write(context, method.name, &opened.data)?;
        let masks = context.last(|product| matches!(product, Product::Masks));
        outcomes.push(MethodResult {
            method: method.name,
            mean_iou: summary
                .ordered
                .iter()
                .map(|(stage, score)| (stage.clone(), score.mean_iou))
                .collect(),
            seconds: summary.seconds.values().sum(),
            run: context.run.path().to_path_buf(),
            masks: masks.map(|stage| context.folder(stage)),
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

fn open(args: &Args, out: &Path, method: &Method) -> Result<Opened> {
    Common {
        val: args.val.clone(),
        ..args.runs.run(out.join(method.name), &[])
    }
    .open(Some(method.name), None)
}

/// Says how long all that is left to do will take, and starts its progress.
fn begin(args: &Args, out: &Path, first: &Opened, compared: &[&Method]) -> Result<Whole> {
    let mut remaining = RemainingWork::new(first.context.load()?);
    let recipe = args.runs.recipe(&[])?;
    for (i, method) in compared.iter().enumerate() {
        let mut kept = finished(&out.join(method.name));
        for other in &compared[..i] {
            kept.extend(methods::common(other, method));
        }
        remaining.add((method.name, &kept), method, &recipe, None);
    }
    remaining.begin(&format!("{} methods", compared.len()), "compare", first)
}

/// The names of the scores, in order, with the heads of their columns.
fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    let head = |stage: Stage| match stage.product() {
        Product::ClassMaps => Some((stage.name(), "maps")),
        Product::Scores => Some((stage.name(), "walk")),
        Product::Labels => Some((stage.name(), "labels")),
        Product::Network(_) | Product::Masks => None,
    };
    let stages = stages::ALL.into_iter().filter_map(head);
    stages.chain([(NETWORK, "masks"), (NETWORK_CRF, "+CRF")])
}

fn table(outcomes: &[MethodResult]) -> String {
    let heads: String = columns().map(|(_, head)| format!(" {head:>6}")).collect();
    let mut text = format!("{:<14}{heads} minutes\n", "mIoU");
    for outcome in outcomes {
        text += &format!("{:<14}", outcome.method);
        for (stage, _) in columns() {
            let score = outcome.mean_iou.get(stage);
            let score = score.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
            text += &format!(" {score:>6}");
        }
        text += &format!(" {:>7.1}\n", outcome.seconds / 60.0);
    }
    text
}

/// The page: a bar per method, and a column per method in the pictures.
fn page(args: &Args, last: &Opened, outcomes: &[MethodResult]) -> Result<Report> {
    let context = &last.context;
    let split = context.predicted_split();
    let fact = |name: &str, text: String| (name.to_string(), text);
    let heads = ["Image", "Truth"].into_iter();
    let methods = outcomes.iter().map(|o| o.method);
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
            .filter_map(|o| Some((o.method.to_string(), o.last.clone()?)))
            .collect(),
        classes: context.data.classes.clone(),
        columns: heads.chain(methods).map(String::from).collect(),
        rows: rows.collect::<Result<_>>()?,
        timings: outcomes.iter().map(|o| (o.method.to_string(), o.seconds)).collect(),
        notes: vec!["Methods that begin with the same stages share them: their time is counted once.".into()],
        ..Report::default()
    })
}

fn row(count: usize, classes: &[String], split: &Split, i: usize, outcomes: &[MethodResult]) -> Result<PictureRow> {
    let image = split.image(i)?;
    let big = report::to_height(&image, HEIGHT);
    let painted = |mask: &image::GrayImage| report::mask(&big, &report::mask_to_height(mask, HEIGHT), 0.6);
    let mut cells = vec![Some(image.clone()), split.mask(i)?.map(|mask| painted(&mask))];
    for outcome in outcomes {
        let file = format!("{}.png", split.name(i));
        let path = outcome.masks.as_ref().map(|folder| folder.join(file));
        let mask = path
            .filter(|path| path.exists())
            .map(|path| read_mask(&path, count, image.dimensions()))
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
