//! `weakseg doctor`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::device::{self, Choice};
use crate::doctor;
use crate::files::write_bytes;
use crate::kernels;

/// Arguments of `weakseg doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to look at: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Also launches of millions of invocations and every network of the papers; on software Vulkan, where that takes half
    /// an hour, any network
    #[arg(long)]
    full: bool,
    /// Check nothing, but write all kernels to this folder as the driver gets them: WGSL for a bug report
    #[arg(long, value_name = "DIR", conflicts_with_all = ["device", "full"])]
    shaders: Option<PathBuf>,
}

/// Checks an adapter.
pub fn run(args: Args, json: bool) -> Result<()> {
    if let Some(folder) = &args.shaders {
        return write_shaders(folder);
    }
    let chosen = device::choose_hastily(args.device)?;
    log::info!("{chosen}");
    // A panic inside of a check is that check's outcome, and in the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let report = doctor::run(&chosen, args.full);
    std::panic::set_hook(hook);
    if json {
        super::output::print_json(&report)?;
    } else {
        super::output::print(report.table())?;
    }
    if !report.fit {
        bail!("these checks failed: {}", report.failed().join(", "));
    }
    Ok(())
}

/// Writes `NAME.wgsl` for every source that a launcher can choose.
fn write_shaders(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made: give another folder", folder.display()))?;
    let sources = kernels::sources();
    for source in &sources {
        let path = folder.join(format!("{}.wgsl", source.name));
        write_bytes(&path, source.text.as_bytes())?;
    }
    log::info!("{} shaders in {}", sources.len(), folder.display());
    Ok(())
}
