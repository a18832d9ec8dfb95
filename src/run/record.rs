//! `run.json`: which stages are finished, how long they took, how many warnings they gave.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::progress::timestamp;

/// The content of `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of weakseg that began the run.
    pub version: String,
    /// When the run began, RFC 3339 in UTC.
    pub created: String,
    /// When this file was last written, RFC 3339 in UTC.
    pub updated: String,
    /// Stages in the order in which they were begun.
    pub stages: Vec<StageRecord>,
}

/// One stage in `run.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StageRecord {
    /// The stage's name, as on the command line.
    pub name: String,
    /// What its results depend on.
    pub fingerprint: String,
    /// Whether it came to its end.
    pub finished: bool,
    /// Seconds that it took; where it was killed and continued, those of the last part.
    pub seconds: f64,
    /// Warnings logged meanwhile.
    pub warnings: u64,
    /// The process's count of warnings when the stage began.
    #[serde(skip)]
    pub(super) warnings_before: u64,
}

impl StageRecord {
    pub(super) fn new(name: &str, fingerprint: &str) -> Self {
        Self {
            name: name.to_owned(),
            fingerprint: fingerprint.to_owned(),
            ..Self::default()
        }
    }
}

impl Record {
    pub(super) fn new() -> Self {
        let now = timestamp(SystemTime::now());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created: now.clone(),
            updated: now,
            stages: Vec::new(),
        }
    }

    /// `None` where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let file = path.display();
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.with_context(|| format!("cannot read {file}"))?,
        };
        let record = serde_json::from_slice(&text).map_err(|error| {
            anyhow!("{file} is damaged ({error}): delete it to run every stage again, nothing else is lost")
        })?;
        Ok(Some(record))
    }

    pub(super) fn write(&mut self, path: &Path) -> Result<()> {
        self.updated = timestamp(SystemTime::now());
        files::write_json(path, self)
    }

    /// The record of `stage`, added at the end where there is none.
    pub(super) fn stage(&mut self, stage: &str) -> &mut StageRecord {
        let index = self.stages.iter().position(|s| s.name == stage);
        let index = index.unwrap_or_else(|| {
            self.stages.push(StageRecord::new(stage, ""));
            self.stages.len() - 1
        });
        &mut self.stages[index]
    }
}
