//! `weakseg ablate`: the rows of a paper's tables, trained and printed beside the paper's numbers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::context::{Common, Opened};
use super::{print, print_json};
use crate::data::ExtraKind;
use crate::device::Choice;
use crate::methods;
use crate::recipe::Training;
use crate::run::RunDir;
use crate::stages::{Stage, evaluate};
use crate::train;

/// Embedded ablations by method, with the tables that are trained unless others are asked for.
const EMBEDDED: [(&str, &str, &[&str]); 4] = [
    (
        "rrm",
        include_str!("../../assets/ablations/rrm.toml"),
        &["2"],
    ),
    (
        "aalr",
        include_str!("../../assets/ablations/aalr.toml"),
        &["1"],
    ),
    (
        "cian",
        include_str!("../../assets/ablations/cian.toml"),
        &["2"],
    ),
    (
        "mcis",
        include_str!("../../assets/ablations/mcis.toml"),
        &["2", "4"],
    ),
];
/// The built-in data set, whose extra images are generated too.
const BUILT_IN: &str = "shapes";
/// Share of wrong tags among generated web images.
const NOISE: f32 = 0.2;

/// Arguments of `weakseg ablate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// rrm, aalr, cian or mcis
    method: String,
    /// Rows by name, such as cam-ce,reliable-joint, or tables by name, such as 2 [default: the main tables: 2 of rrm, 1
    /// of aalr, 2 of cian, 2 and 4 of mcis]
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Last stage of every row, such as cam where only maps are compared [default: all stages]
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    until: Option<Stage>,
    /// Folder with a run for the shared stages and one for every row [default: runs/ablate-METHOD-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Hyper-parameters, which the rows change
    #[arg(long, default_value = "nano")]
    recipe: String,
    /// Override one hyper-parameter in every row; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Data set, as in `weakseg run`; it needs masks
    #[arg(long, default_value = BUILT_IN)]
    data: String,
    /// Extra images with one tag each, for the rows of mcis that take them [default: generated for the built-in data set]
    #[arg(long, value_name = "DATA")]
    extra_single: Option<String>,
    /// Extra images with noisy tags, likewise [default: generated, a fifth of them with a wrong tag]
    #[arg(long, value_name = "DATA")]
    extra_web: Option<String>,
    /// Decides everything that is random, the built-in data set included
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

fn stage(text: &str) -> Result<Stage, String> {
    Stage::named(text).ok_or_else(|| "there is no such stage".into())
}

#[derive(Deserialize)]
struct Ablation {
    /// The last of the stages that all rows share.
    shared: String,
    row: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// Numbers of the tables in the paper that have it, or the name of one that the paper only speaks of; separated by
    /// commas.
    table: String,
    /// Name of its run.
    name: String,
    /// What the paper calls it.
    title: String,
    /// Method that is run.
    method: String,
    /// Overrides of the recipe.
    set: Vec<String>,
    /// mIoU in the paper, percent; none where it has no such row.
    paper: Option<f64>,
    /// Another row, whose training is this one's too.
    from: Option<From>,
    /// Extra images: single or web.
    extra: Option<String>,
}

/// A row whose stages another one takes over.
#[derive(Clone, Debug, Deserialize)]
struct From {
    /// Its name.
    row: String,
    /// The last of these stages.
    until: String,
}

impl Row {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.table.split(',').any(|table| table == name)
    }
}

/// A row's outcome.
#[derive(Serialize)]
struct Outcome {
    table: String,
    row: String,
    title: String,
    paper: Option<f64>,
    /// mIoU of the class activation maps at their best threshold, percent.
    mean_iou_maps: Option<f64>,
    /// mIoU of the network's own predictions, percent.
    mean_iou: Option<f64>,
    /// The same after the CRF.
    mean_iou_crf: Option<f64>,
    run: PathBuf,
}

/// Trains the rows that are not finished, and prints the table.
pub fn run(args: Args, json: bool) -> Result<()> {
    let (ablation, rows) = rows(&args)?;
    let shared = known(&ablation.shared)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(format!("ablate-{}-{}", args.method, args.seed)));
    let base = open(
        &args,
        &out.join("classifier"),
        &ablation.row[0].method,
        &[],
        None,
    )?;
    methods::run_until(&base.context, &base.method, Some(shared))?;
    tell(&base, &rows);
    let mut outcomes = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        log::info!("row {} of {}: {}", i + 1, rows.len(), row.title);
        if let Some(from) = &row.from {
            let other = ablation.row.iter().find(|other| other.name == from.row);
            let other = other.with_context(|| format!("no row {}", from.row))?;
            prepare(&args, &out, &base, shared, other, Some(known(&from.until)?))?;
        }
        let opened = prepare(&args, &out, &base, shared, row, args.until)?;
        let scores = evaluate::scores(&opened.context)?;
        let mean = |name: &str| {
            let found = scores.iter().find(|(n, _)| n == name);
            found.map(|(_, score)| score.mean_iou)
        };
        outcomes.push(Outcome {
            table: row.table.clone(),
            row: row.name.clone(),
            title: row.title.clone(),
            paper: row.paper,
            mean_iou_maps: mean("cam"),
            mean_iou: mean("segment"),
            mean_iou_crf: mean("segment_crf"),
            run: opened.context.run.path().to_path_buf(),
        });
    }
    if json {
        return print_json(&outcomes);
    }
    print(table(&outcomes))
}

/// A row's run with its stages finished up to `until`: the first ones are those of the base, or of another row.
fn prepare(
    args: &Args,
    out: &Path,
    base: &Opened,
    shared: Stage,
    row: &Row,
    until: Option<Stage>,
) -> Result<Opened> {
    let opened = open(
        args,
        &out.join(&row.name),
        &row.method,
        &row.set,
        row.extra.as_deref(),
    )?;
    // Extra images change the classifier.
    if row.extra.is_none() {
        let from = (&base.context.run, base.method.as_str());
        methods::share(from, (&opened.context, &opened.method), Some(shared))?;
    }
    if let Some(from) = &row.from {
        let other = RunDir::read(&out.join(&from.row))?;
        let until = known(&from.until)?;
        methods::share(
            (&other, &row.method),
            (&opened.context, &opened.method),
            Some(until),
        )?;
    }
    methods::run_until(&opened.context, &opened.method, until)?;
    Ok(opened)
}

fn known(stage: &str) -> Result<Stage> {
    Stage::named(stage).with_context(|| format!("assets/ablations: there is no stage {stage}"))
}

/// The ablation, and the rows of it that are asked for.
fn rows(args: &Args) -> Result<(Ablation, Vec<Row>)> {
    let Some((_, text, main)) = EMBEDDED.iter().find(|(name, ..)| *name == args.method) else {
        let known = EMBEDDED.map(|(name, ..)| name).join(", ");
        bail!("no ablation of {:?}: use one of {known}", args.method);
    };
    let ablation: Ablation = toml::from_str(text).context("assets/ablations")?;
    let wanted: Vec<&str> = match args.rows.is_empty() {
        true => main.to_vec(),
        false => args.rows.iter().map(String::as_str).collect(),
    };
    for name in &wanted {
        if !ablation.row.iter().any(|row| row.is_called(name)) {
            let known: Vec<&str> = ablation.row.iter().map(|row| row.name.as_str()).collect();
            bail!(
                "--rows {name}: there is no such row: use {}",
                known.join(", ")
            );
        }
    }
    let rows = ablation.row.iter();
    let rows = rows.filter(|row| wanted.iter().any(|name| row.is_called(name)));
    let rows = rows.cloned().collect();
    Ok((ablation, rows))
}

fn open(
    args: &Args,
    out: &Path,
    method: &str,
    set: &[String],
    extra: Option<&str>,
) -> Result<Opened> {
    let mut common = Common {
        out: Some(out.to_path_buf()),
        data: Some(args.data.clone()),
        seed: Some(args.seed),
        recipe: Some(args.recipe.clone()),
        set: args.set.iter().chain(set).cloned().collect(),
        device: args.device,
        ..Common::default()
    };
    if let Some(name) = extra {
        let (kind, data) = match name {
            "single" => (ExtraKind::Single, &args.extra_single),
            _ => (ExtraKind::Web, &args.extra_web),
        };
        let is_generated = data.is_none() && args.data == BUILT_IN;
        ensure!(
            is_generated || data.is_some(),
            "this row takes extra images: name their data set with --extra-{name}"
        );
        common.extra = Some(data.clone().unwrap_or_else(|| BUILT_IN.into()));
        common.extra_kind = Some(kind);
        if is_generated && kind == ExtraKind::Web {
            common.extra_noise = Some(NOISE);
        }
    }
    common.open(Some(method), "nano")
}

/// Says how long the rows will take, from the classifier's own training.
fn tell(base: &Opened, rows: &[Row]) {
    let context = &base.context;
    let recipe = &context.recipe;
    let images = context.data.train.len();
    let recorded = context.run.stages();
    let classify = recorded.iter().find(|stage| stage.name == "classify");
    let seconds = classify.map_or(0.0, |stage| stage.seconds);
    let steps = |training: &Training| train::steps(training, images) as f64;
    let per_step = seconds / steps(&recipe.classify).max(1.0);
    // A joint step is a classifier's, and a pass without gradient at every scale with a CRF on each image.
    let share: f32 = recipe.joint.scales.iter().map(|s| 0.4 * s * s).sum();
    let scales: f32 = recipe.cam.scales.iter().map(|s| s * s).sum();
    let passes = f64::from(scales) * if recipe.cam.flip { 2.0 } else { 1.0 };
    let of = |stage: &Stage| match stage {
        Stage::Joint => f64::from(1.5 + share) * steps(&recipe.joint.training),
        Stage::Cross => 1.5 * steps(&recipe.cian.training),
        Stage::Coattend => 1.5 * steps(&recipe.mcis.training),
        // A pass is about a third of a step; those of the co-attention attend to several images.
        Stage::Cam => passes * images as f64 / recipe.classify.batch.max(1) as f64,
        Stage::Segment => 1.5 * steps(&recipe.segment),
        _ => 0.0,
    };
    let has = |stage: &Stage| {
        recorded
            .iter()
            .any(|r| r.name == stage.name() && r.finished)
    };
    let row = |row: &Row| -> f64 {
        let pipeline = methods::pipeline(&row.method).unwrap_or_default();
        pipeline.iter().filter(|s| !has(s)).map(of).sum()
    };
    let total = per_step * rows.iter().map(row).sum::<f64>();
    log::info!(
        "{} rows after the shared {}: about {:.0} minutes",
        rows.len(),
        recorded
            .last()
            .map_or("stages", |stage| stage.name.as_str()),
        (total / 60.0).ceil()
    );
}

/// The outcomes as aligned text.
fn table(outcomes: &[Outcome]) -> String {
    let width = |of: fn(&Outcome) -> &str| outcomes.iter().map(|o| of(o).chars().count()).max();
    let title = width(|o| &o.title).unwrap_or(0);
    let number = width(|o| &o.table).unwrap_or(0).max("table".len()) + 2;
    let has_maps = outcomes.iter().any(|o| o.mean_iou_maps.is_some());
    let maps = |text: &str| match has_maps {
        true => format!(" {text:>6}"),
        false => String::new(),
    };
    let mut text = format!(
        "{:<number$}{:<title$}  {:>6}{} {:>6} {:>6}\n",
        "table",
        "row",
        "paper",
        maps("maps"),
        "mIoU",
        "+CRF"
    );
    let score = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
    for o in outcomes {
        text += &format!(
            "{:<number$}{:<title$}  {:>6}{} {:>6} {:>6}\n",
            o.table,
            o.title,
            score(o.paper),
            maps(&score(o.mean_iou_maps)),
            score(o.mean_iou),
            score(o.mean_iou_crf)
        );
    }
    text + "paper: VOC 2012 val; mIoU: the validation images of this data set"
        + if has_maps {
            "; maps: its training images, at the best threshold"
        } else {
            ""
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn every_row_changes_the_recipe_as_it_says() {
        for (name, text, main) in EMBEDDED {
            let ablation: Ablation = toml::from_str(text).unwrap();
            known(&ablation.shared).unwrap();
            for table in main {
                assert!(
                    ablation.row.iter().any(|row| row.is_called(table)),
                    "{name}"
                );
            }
            let mut names: Vec<_> = ablation.row.iter().map(|row| row.name.clone()).collect();
            for row in &ablation.row {
                Recipe::load("nano", &row.set).unwrap();
                methods::pipeline(&row.method).unwrap();
                let paper = row.paper.unwrap_or(50.0);
                assert!((30.0..80.0).contains(&paper), "{name} {}", row.name);
                if let Some(from) = &row.from {
                    known(&from.until).unwrap();
                    let other = ablation.row.iter().find(|other| other.name == from.row);
                    // What is taken over must not be what the row changes.
                    let other = other.unwrap();
                    assert!(other.from.is_none() && other.method == row.method);
                }
                assert!(
                    ["single", "web"].map(Some).contains(&row.extra.as_deref())
                        || row.extra.is_none()
                );
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), ablation.row.len(), "{name}");
        }
    }
}
