//! `metrics.json` and `report.html`: what a run came to, for machines and for people.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::page::page;
use super::scores::{mean_gamma, scored};
use crate::files::write_json;
use crate::metrics::StageScore;
use crate::pipeline::Context;
use crate::report;

/// A run's results, as `metrics.json` holds them.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Method's name.
    pub method: String,
    /// Data set, as given.
    pub data: String,
    /// What `--seed` said.
    pub seed: u64,
    /// Names of the classes, without background.
    pub classes: Vec<String>,
    /// Where it was computed.
    pub device: String,
    /// Images left out with a warning.
    pub skipped: usize,
    /// Training images whose label somebody has corrected.
    pub corrected: usize,
    /// mIoU and IoU per class in percent, for every stage with truth to compare with.
    pub stages: BTreeMap<String, StageScore>,
    /// The mean |gamma| of CIAN's messages after training: 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_gamma: Option<f64>,
    /// Wall-clock seconds of every stage.
    pub seconds: BTreeMap<String, f64>,
    /// Where the page is.
    pub report: PathBuf,
    /// The stages' scores in the pipeline's order.
    #[serde(skip)]
    pub ordered: Vec<(String, StageScore)>,
}

/// Scores every stage, writes `metrics.json` and `report.html`, and returns the results.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn write(context: &Context, method: &str, data: &str) -> Result<Summary> {
    let scored = scored(context)?;
    let summary = Summary {
        method: method.into(),
        data: data.into(),
        seed: context.seed,
        classes: context.data.classes.clone(),
        device: context.device_line.clone(),
        skipped: context.data.skipped,
        corrected: context.corrected().len(),
        stages: scored.scores.iter().cloned().collect(),
        mean_gamma: mean_gamma(context)?,
        seconds: context.run.stages().into_iter().map(|s| (s.name, s.seconds)).collect(),
        report: context.run.path().join("report.html"),
        ordered: scored.scores.clone(),
    };
    write_json(&context.run.path().join("metrics.json"), &summary)?;
    let title = format!("{method} on {data}");
    let page = page(context, title, &scored)?;
    report::write(&page, &summary.report)?;
    Ok(summary)
}
