//! `weakseg doctor`.

use anyhow::{Result, bail};

use crate::device::{self, Choice};
use crate::doctor;

/// Arguments of `weakseg doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to look at: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// Checks an adapter.
pub fn run(args: Args, json: bool) -> Result<()> {
    let chosen = device::choose_hastily(args.device)?;
    log::info!("{chosen}");
    // A panic inside of a check is that check's outcome, and in the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let report = doctor::run(&chosen);
    std::panic::set_hook(hook);
    if json {
        super::print_json(&report)?;
    } else {
        super::print(report.table())?;
    }
    if !report.fit {
        bail!("these checks failed: {}", report.failed().join(", "));
    }
    Ok(())
}
