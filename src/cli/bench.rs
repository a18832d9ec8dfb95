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
    /// Fewer sizes and runs, where a benchmark has many: conv
    #[arg(long)]
    quick: bool,
}

/// Runs the benchmarks.
pub fn run(args: Args, json: bool) -> Result<()> {
    let chosen = device::choose(args.device)?;
    let name = args.name.as_deref();
    if json {
        let mut outcomes = Vec::new();
        bench::run(name, args.quick, &chosen, &mut |outcome| {
            outcomes.push(outcome);
            Ok(())
        })?;
        return super::output::print_json(&outcomes);
    }
    super::output::print(bench::head(&chosen))?;
    bench::run(name, args.quick, &chosen, &mut |outcome| {
        super::output::print(bench::line(&outcome))
    })
}
