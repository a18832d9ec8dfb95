//! `weakseg demo`: the whole program in minutes.

use std::path::PathBuf;

use anyhow::Result;

use super::context::Common;
use super::run::finish;
use crate::device::Choice;
use crate::methods;

/// Arguments of `weakseg demo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Every stage with a few steps each, to see that all of it runs; the results mean nothing
    #[arg(long)]
    smoke: bool,
    /// Run directory [default: runs/demo, or runs/smoke]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Decides everything that is random
    #[arg(long, default_value_t = 0, value_parser = super::context::seed())]
    seed: u64,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Remove what an earlier demo wrote, and start over
    #[arg(long)]
    fresh: bool,
}

/// Runs the demo.
pub fn run(args: Args, json: bool) -> Result<()> {
    let name = if args.smoke { "smoke" } else { "demo" };
    let common = Common {
        out: Some(args.out.unwrap_or_else(|| PathBuf::from("runs").join(name))),
        data: Some("shapes".into()),
        recipe: Some(name.into()),
        seed: Some(args.seed),
        device: args.device,
        fresh: args.fresh,
        ..Common::default()
    };
    let opened = common.open(Some(methods::USUAL.name), Some(name))?;
    methods::run(&opened.context, None)?;
    finish(&opened, json)
}
