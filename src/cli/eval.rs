//! `weakseg eval`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::context::Common;
use super::run::finish;
use crate::device::Choice;

/// Arguments of `weakseg eval`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Scores the run again.
pub fn run(args: Args, json: bool) -> Result<()> {
    ensure!(
        args.out.join("config.toml").exists(),
        "{} is not a run directory: give the --out of an earlier run",
        args.out.display()
    );
    let common = Common {
        out: Some(args.out),
        device: Choice::Cpu,
        ..Common::default()
    };
    finish(&common.open(None, "nano")?, json)
}
