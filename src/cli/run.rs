//! `weakseg run` and the commands of single stages.

use anyhow::Result;

use super::context::{Common, Opened};
use super::method::MethodParser;
use super::output::{print, print_json};
use super::remaining::{RemainingWork, finished};
use crate::methods;
use crate::metrics::print_table;
use crate::pipeline::{Context, Stage};
use crate::progress::Whole;
use crate::{results, train};

/// Steps of the classifier from which on the time is estimated first.
const LONG: usize = 50;

/// Arguments of `weakseg run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Stages and losses, as a paper has them [default: affinitynet]
    #[arg(long, value_parser = MethodParser)]
    method: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of a single stage.
#[derive(clap::Args, Debug)]
pub struct StageArgs {
    /// Method whose stage this is [default: affinitynet]
    #[arg(long, value_parser = MethodParser)]
    method: Option<String>,
    /// Repeat the stage where it is finished; the later ones then count as unfinished
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs all stages.
pub fn run(args: Args, json: bool) -> Result<()> {
    let opened = args.common.open(args.method.as_deref(), None)?;
    let context = &opened.context;
    for line in context.data.inspect()?.lines() {
        log::info!("{line}");
    }
    if !context.recipe.needs.is_empty() {
        log::info!("the recipe needs {}", context.recipe.needs);
    }
    context.fetch_weights()?;
    let whole = is_long(context).then(|| begin(&opened)).transpose()?;
    methods::run(context, None)?;
    drop(whole);
    finish(&opened, json)
}

/// Whether it is worth a few steps to know how long it will take.
fn is_long(context: &Context) -> bool {
    train::steps(&context.recipe.classify, context.data.train.len()) >= LONG
}

/// Says how long all that is left to do will take, and starts its progress.
fn begin(opened: &Opened) -> Result<Whole> {
    let context = &opened.context;
    let kept = finished(context.run.path());
    let mut remaining = RemainingWork::new(context.load()?);
    remaining.add(("", &kept), opened.method, &context.recipe, None);
    remaining.begin("all stages", "run", opened)
}

/// Runs one stage.
pub fn stage(args: StageArgs, stage: Stage, json: bool) -> Result<()> {
    let opened = args.common.open(args.method.as_deref(), None)?;
    opened.context.run_stage(stage, args.again)?;
    finish(&opened, json)
}

/// Scores the run, writes its metrics and report, and prints the table or the JSON.
pub fn finish(opened: &Opened, json: bool) -> Result<()> {
    let summary = results::write(&opened.context, opened.method.name, &opened.data)?;
    if json {
        return print_json(&summary);
    }
    if !summary.ordered.is_empty() {
        print(print_table(&summary.ordered, &summary.classes))?;
    }
    print(format_args!("report: {}", summary.report.display()))
}
