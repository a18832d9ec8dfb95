//! The arguments of `weakseg ablate`.

use std::path::PathBuf;

use crate::cli::every_run::EveryRunArgs;
use crate::pipeline::Stage;
use crate::stages;

/// Arguments of `weakseg ablate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// rrm, aalr, cian or mcis
    pub method: String,
    /// Rows by name, such as cam-ce,reliable-joint, or tables by name, such as 2 [default: the main tables: 2 of rrm, 1
    /// of aalr, 2 of cian, 2 and 4 of mcis]
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Last stage of every row, such as cam where only maps are compared [default: all stages]
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    pub until: Option<Stage>,
    /// Folder with a run for the shared stages and one for every row [default: runs/ablate-METHOD-SEED]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Extra images with one tag each, for the rows of mcis that take them [default: generated for the built-in data
    /// set]
    #[arg(long, value_name = "DATA")]
    pub extra_single: Option<String>,
    /// Extra images with noisy tags, likewise [default: generated, a fifth of them with a wrong tag]
    #[arg(long, value_name = "DATA")]
    pub extra_web: Option<String>,
    #[command(flatten)]
    pub runs: EveryRunArgs,
}

fn stage(text: &str) -> Result<Stage, String> {
    stages::named(text).ok_or_else(|| "there is no such stage".into())
}
