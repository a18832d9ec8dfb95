//! `weakseg ablate`: the rows of a paper's tables, trained and printed beside the paper's numbers.

mod args;
mod estimate;
mod rows;
mod table;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::context::BUILT_IN;
use super::context::Opened;
use super::output::{print, print_json};
use crate::data::ExtraKind;
use crate::methods::{self, Method};
use crate::pipeline::{Product, Stage};
use crate::results::{self, NETWORK, NETWORK_CRF};
use crate::run::RunDir;
pub use args::Args;
use rows::{Row, known, rows};
use table::{RowResult, table};

/// Share of wrong tags among generated web images.
const NOISE: f32 = 0.2;

/// Trains the rows that are not finished, and prints the table.
pub fn run(args: Args, json: bool) -> Result<()> {
    let (ablation, rows) = rows(&args.method, &args.rows)?;
    let shared = known(&ablation.shared)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(format!("ablate-{}-{}", args.method, args.runs.seed)));
    let base = open(
        &args,
        &out.join("classifier"),
        methods::named(&ablation.row[0].method)?,
        &[],
        None,
    )?;
    let _whole = estimate::begin(&args, &out, &base, shared, &rows, &ablation.row)?;
    methods::run(&base.context, Some(shared))?;
    let mut outcomes = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        log::info!("row {} of {}: {}", i + 1, rows.len(), row.title);
        if let Some(from) = &row.from {
            let other = ablation.row.iter().find(|other| other.name == from.row);
            let other = other.with_context(|| format!("no row {}", from.row))?;
            prepare(&args, &out, &base, shared, other, Some(known(&from.until)?))?;
        }
        let opened = prepare(&args, &out, &base, shared, row, args.until)?;
        let scores = results::scores(&opened.context)?;
        let mean = |name: &str| {
            let found = scores.iter().find(|(n, _)| n == name);
            found.map(|(_, score)| score.mean_iou)
        };
        let maps = opened.context.last(|product| matches!(product, Product::ClassMaps));
        outcomes.push(RowResult {
            table: row.table.clone(),
            row: row.name.clone(),
            title: row.title.clone(),
            paper: ablation.paper(row, &opened.context.recipe.backbone.name),
            mean_iou_maps: maps.and_then(|stage| mean(stage.name())),
            mean_iou: mean(NETWORK),
            mean_iou_crf: mean(NETWORK_CRF),
            mean_gamma: results::mean_gamma(&opened.context)?,
            run: opened.context.run.path().to_path_buf(),
        });
    }
    if json {
        return print_json(&outcomes);
    }
    print(table(&outcomes))
}

/// A row's run with its stages finished up to `until`: the first ones are those of the base, or of another row.
fn prepare(args: &Args, out: &Path, base: &Opened, shared: Stage, row: &Row, until: Option<Stage>) -> Result<Opened> {
    let opened = open(
        args,
        &out.join(&row.name),
        methods::named(&row.method)?,
        &row.set,
        row.extra.as_deref(),
    )?;
    // Extra images change the classifier.
    if row.extra.is_none() {
        let from = (&base.context.run, base.method);
        methods::share(from, (&opened.context, opened.method), Some(shared))?;
    }
    if let Some(from) = &row.from {
        let other = RunDir::read(&out.join(&from.row))?;
        let until = known(&from.until)?;
        methods::share((&other, opened.method), (&opened.context, opened.method), Some(until))?;
    }
    methods::run(&opened.context, until)?;
    Ok(opened)
}

fn open(args: &Args, out: &Path, method: &Method, set: &[String], extra: Option<&str>) -> Result<Opened> {
    let mut common = args.runs.run(out.to_path_buf(), set);
    if let Some(name) = extra {
        let (kind, data) = match name {
            "single" => (ExtraKind::Single, &args.extra_single),
            _ => (ExtraKind::Web, &args.extra_web),
        };
        let is_generated = data.is_none() && args.runs.data == BUILT_IN;
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
    common.open(Some(method.name), None)
}
