//! `weakseg ablate`: the rows of a paper's tables, trained and printed beside the paper's numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::context::{Common, Opened};
use super::{print, print_json};
use crate::device::Choice;
use crate::methods;
use crate::stages::{Stage, evaluate};
use crate::train;

/// Embedded ablations by method.
const EMBEDDED: [(&str, &str); 2] = [
    ("rrm", include_str!("../../assets/ablations/rrm.toml")),
    ("aalr", include_str!("../../assets/ablations/aalr.toml")),
];

/// Arguments of `weakseg ablate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// rrm or aalr
    method: String,
    /// Rows by name, such as cam-ce,reliable-joint, or tables by number, such as 2 [default: the main table: 2 of rrm,
    /// 1 of aalr]
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Folder with a run for the shared classifier and one for every row [default: runs/ablate-METHOD-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Hyper-parameters, which the rows change
    #[arg(long, default_value = "nano")]
    recipe: String,
    /// Override one hyper-parameter in every row; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Data set, as in `weakseg run`; it needs masks
    #[arg(long, default_value = "shapes")]
    data: String,
    /// Decides everything that is random, the built-in data set included
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

#[derive(Deserialize)]
struct Ablation {
    row: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    /// Number of the table in the paper.
    table: u32,
    /// Name of its run.
    name: String,
    /// What the paper calls it.
    title: String,
    /// Method that is run.
    method: String,
    /// Overrides of the recipe.
    set: Vec<String>,
    /// mIoU in the paper, percent.
    paper: f64,
}

/// A row's outcome.
#[derive(Serialize)]
struct Outcome {
    table: u32,
    row: String,
    title: String,
    paper: f64,
    /// mIoU of the network's own predictions, percent.
    mean_iou: Option<f64>,
    /// The same after the CRF.
    mean_iou_crf: Option<f64>,
    run: PathBuf,
}

/// Trains the rows that are not finished, and prints the table.
pub fn run(args: Args, json: bool) -> Result<()> {
    let rows = rows(&args)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(format!("ablate-{}-{}", args.method, args.seed)));
    let classifier = out.join("classifier");
    let base = open(&args, &classifier, &rows[0].method, &[])?;
    let clock = Instant::now();
    let pipeline = methods::pipeline(&base.method)?;
    base.context.stage(pipeline, Stage::Classify, false)?;
    tell(&base, &rows, clock.elapsed().as_secs_f64());
    let mut outcomes = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        log::info!("row {} of {}: {}", i + 1, rows.len(), row.title);
        let opened = open(&args, &out.join(&row.name), &row.method, &row.set)?;
        share(&base, &opened)?;
        methods::run(&opened.context, &opened.method)?;
        let scores = evaluate::scores(&opened.context)?;
        let mean = |name: &str| {
            let found = scores.iter().find(|(n, _)| n == name);
            found.map(|(_, score)| score.mean_iou)
        };
        outcomes.push(Outcome {
            table: row.table,
            row: row.name.clone(),
            title: row.title.clone(),
            paper: row.paper,
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

/// The rows that are asked for.
fn rows(args: &Args) -> Result<Vec<Row>> {
    let Some((_, text)) = EMBEDDED.iter().find(|(name, _)| *name == args.method) else {
        let known = EMBEDDED.map(|(name, _)| name).join(" or ");
        bail!("no ablation of {:?}: use {known}", args.method);
    };
    let ablation: Ablation = toml::from_str(text).context("assets/ablations")?;
    let main = if args.method == "rrm" { "2" } else { "1" };
    let wanted: Vec<&str> = match args.rows.is_empty() {
        true => vec![main],
        false => args.rows.iter().map(String::as_str).collect(),
    };
    for name in &wanted {
        let is_known = |row: &Row| row.name == *name || row.table.to_string() == *name;
        if !ablation.row.iter().any(is_known) {
            let known: Vec<&str> = ablation.row.iter().map(|row| row.name.as_str()).collect();
            bail!(
                "--rows {name}: there is no such row: use {}",
                known.join(", ")
            );
        }
    }
    let is_wanted = |row: &Row| {
        wanted
            .iter()
            .any(|w| row.name == *w || row.table.to_string() == *w)
    };
    Ok(ablation.row.into_iter().filter(is_wanted).collect())
}

fn open(args: &Args, out: &Path, method: &str, set: &[String]) -> Result<Opened> {
    Common {
        out: Some(out.to_path_buf()),
        data: Some(args.data.clone()),
        seed: Some(args.seed),
        recipe: Some(args.recipe.clone()),
        set: args.set.iter().chain(set).cloned().collect(),
        device: args.device,
        ..Common::default()
    }
    .open(Some(method), "nano")
}

/// Says how long the rows will take, from the classifier's own training.
fn tell(base: &Opened, rows: &[Row], seconds: f64) {
    let context = &base.context;
    let images = context.data.train.len();
    let recorded = context.run.stages();
    let classify = recorded.iter().find(|stage| stage.name == "classify");
    let seconds = classify.map_or(seconds, |stage| stage.seconds);
    let per_step = seconds / train::steps(&context.recipe.classify, images).max(1) as f64;
    // A joint step is a classifier's, and a pass without gradient at every scale with a CRF on each image.
    let joint = &context.recipe.joint;
    let share: f32 = joint.scales.iter().map(|s| 0.4 * s * s).sum();
    let step = per_step * f64::from(1.5 + share);
    let total = step * train::steps(&joint.training, images) as f64 * rows.len() as f64;
    log::info!(
        "{} rows after the shared classifier: about {:.0} minutes",
        rows.len(),
        (total / 60.0).ceil()
    );
}

/// Gives a row's run the shared classifier, unless it has it.
fn share(base: &Opened, row: &Opened) -> Result<()> {
    let name = Stage::Classify.name();
    if row.context.is_current(Stage::Classify) {
        return Ok(());
    }
    let print = base.context.run.stages();
    let print = print.iter().find(|stage| stage.name == name);
    let print = print.map_or_else(String::new, |stage| stage.fingerprint.clone());
    row.context.run.begin_stage(name, &print)?;
    let (from, to) = (
        base.context.folder(Stage::Classify),
        row.context.folder(Stage::Classify),
    );
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(&from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target)
            .with_context(|| format!("cannot copy the classifier to {}", target.display()))?;
    }
    row.context.run.finish_stage(name, 0.0)?;
    ensure!(
        row.context.is_current(Stage::Classify),
        "the classifier in {} is not that of {}: remove the folder, or choose another --out",
        to.display(),
        from.display()
    );
    Ok(())
}

/// The outcomes as aligned text.
fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes
        .iter()
        .map(|o| o.title.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!(
        "{:<7}{:<width$}  {:>6} {:>6} {:>6}\n",
        "table", "row", "paper", "mIoU", "+CRF"
    );
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
    for o in outcomes {
        text += &format!(
            "{:<7}{:<width$}  {:>6.1} {:>6} {:>6}\n",
            o.table,
            o.title,
            o.paper,
            number(o.mean_iou),
            number(o.mean_iou_crf)
        );
    }
    text + "paper: VOC 2012 val; mIoU: the validation images of this data set"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn every_row_changes_the_recipe_as_it_says() {
        for (name, text) in EMBEDDED {
            let ablation: Ablation = toml::from_str(text).unwrap();
            let mut names: Vec<_> = ablation.row.iter().map(|row| row.name.clone()).collect();
            for row in &ablation.row {
                Recipe::load("nano", &row.set).unwrap();
                methods::pipeline(&row.method).unwrap();
                assert!((30.0..80.0).contains(&row.paper), "{name} {}", row.name);
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), ablation.row.len(), "{name}");
        }
    }
}
