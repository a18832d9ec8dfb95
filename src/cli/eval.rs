//! `weakseg eval`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::context::{Common, Opened};
use super::output::{print, print_json};
use super::run::finish;
use crate::data::is_voc;
use crate::device::Choice;
use crate::metrics::{papers, print_table};
use crate::results;

/// Arguments of `weakseg eval`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print what the papers report for PASCAL VOC 2012, class by class, beside the run's predictions
    #[arg(long)]
    paper: bool,
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
    let opened = common.open(None, None)?;
    if args.paper {
        beside_papers(&opened, json)
    } else {
        finish(&opened, json)
    }
}

/// Scores the run again, and prints its predictions' scores with those of the papers.
fn beside_papers(opened: &Opened, json: bool) -> Result<()> {
    let classes = &opened.context.data.classes;
    ensure!(
        is_voc(classes),
        "--paper compares on the twenty classes of PASCAL VOC, but {} has others",
        opened.data
    );
    let summary = results::write(&opened.context, opened.method.name, &opened.data)?;
    let rows = papers::voc2012()?;
    if json {
        let mut value = serde_json::to_value(&summary)?;
        value["papers"] = serde_json::to_value(&rows)?;
        return print_json(&value);
    }
    let measured = summary.ordered.iter();
    let mut columns: Vec<_> = measured
        .filter(|(name, _)| name.starts_with("segment"))
        .cloned()
        .collect();
    let mut legend = String::new();
    for (i, row) in rows.iter().enumerate() {
        let number = format!("[{}]", i + 1);
        legend += &format!("{number} {row}\n");
        columns.push((number, row.score(classes)));
    }
    print(format_args!("{}{legend}", print_table(&columns, classes)))?;
    print(format_args!("report: {}", summary.report.display()))
}
