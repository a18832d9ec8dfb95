//! `weakseg run` and the commands of single stages.

use anyhow::{Result, ensure};

use super::context::{Common, Opened};
use super::method::MethodParser;
use super::output::{print, print_json};
use super::remaining::{RemainingWork, finished};
use super::shard::ShardArg;
use crate::methods;
use crate::metrics::print_table;
use crate::pipeline::{Context, Stage};
use crate::progress::Whole;
use crate::run::Shard;
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
    shard: ShardArg,
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
pub fn stage(mut args: StageArgs, stage: Stage, json: bool) -> Result<()> {
    if stage.trains().is_none() {
        args.common.shard = args.shard.choose()?;
    } else {
        ensure!(
            !args.shard.is_given(),
            "{} trains one network, which is not shared out: run it once without --shard, and the stages that go image by image with it",
            stage.name()
        );
    }
    ensure!(
        args.common.shard.is_none() || !args.again,
        "--again removes what other shards write: repeat the stage without --shard"
    );
    let opened = args.common.open(args.method.as_deref(), None)?;
    opened.context.run_stage(stage, args.again)?;
    match args.common.shard {
        Some(shard) => part_done(&opened, stage, shard),
        None => finish(&opened, json),
    }
}

/// Says what a part leaves to be done.
pub fn part_done(opened: &Opened, stage: Stage, shard: Shard) -> Result<()> {
    if opened.context.is_current(stage) {
        return Ok(());
    }
    print(format_args!(
        "shard {shard} of {} is done; when all are: weakseg {} --out {} --shard none",
        stage.name(),
        stage.name(),
        opened.context.run.path().display()
    ))
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
