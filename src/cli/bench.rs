//! `weakseg bench`, which `cargo xtask bench` calls.

use anyhow::Result;

use crate::bench;
use crate::device::{self, Choice};

/// Arguments of `weakseg bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to time [default: everything]
    name: Option<String>,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// Runs the benchmarks.
pub fn run(args: Args, json: bool) -> Result<()> {
    let chosen = device::choose(args.device)?;
    let results = bench::run(args.name.as_deref(), &chosen)?;
    if json {
        return super::print_json(&results);
    }
    super::print(bench::table(&results, &chosen))
}
