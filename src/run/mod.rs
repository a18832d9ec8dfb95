//! The run directory: what a run was asked for, how far it came, and one folder of files for each stage.

mod clean;
mod inputs;
pub mod metrics_csv;
mod record;
mod stage_files;
mod training_state;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use toml::{Table, Value};

pub use inputs::{Changed, Inputs, Role};
pub use metrics_csv::MetricsLog;
pub use record::{Record, StageRecord};
pub use stage_files::StageFiles;
pub use training_state::{Tensors, TrainingState};

use crate::files;
use crate::progress;

const CONFIG: &str = "config.toml";
/// The files that a run has read.
const INPUTS: &str = "inputs.json";

/// What to do with a run directory that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Go on where it stopped; the configuration must be the one it was made with.
    Resume,
    /// Remove what earlier runs wrote, and nothing else, and start over.
    Fresh,
}

/// One run directory, `runs/NAME`. It stays locked against other processes until this is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    config: Table,
    record: Mutex<Record>,
    /// What `inputs.json` holds: beside `run.json`, which is written often, because it has a line for every image.
    inputs: Mutex<Option<Inputs>>,
    /// `None` where it was opened for reading. Dropping the file frees the lock.
    lock: Option<File>,
}

impl RunDir {
    /// Opens or makes the run directory `path` for a run with `config`, a snapshot of everything that decides the
    /// results and nothing that does not (no thread counts, no output paths). `stages` are all that may have written
    /// there, whatever the method: what a killed run has left of their files, and with [`Mode::Fresh`] all of them, is
    /// removed.
    ///
    /// # Errors
    /// One line where `path` is not a run directory but holds files, is in use by another process, was made with
    /// another configuration (the first five differing keys are listed), or cannot be written.
    pub fn open(path: &Path, config: &impl Serialize, mode: Mode, stages: &[StageFiles]) -> Result<Self> {
        let config = Table::try_from(config).context("the configuration cannot be saved as TOML")?;
        fs::create_dir_all(path).map_err(|e| files::write_error(path, &e.into()))?;
        let config_path = path.join(CONFIG);
        let known = config_path.exists();
        ensure!(
            known || clean::is_empty(path)?,
            "{} is not a run directory (it holds files but no {CONFIG}): choose another --out",
            path.display()
        );
        let lock = Some(lock(path)?);
        clean::remove_unfinished(path, stages)?;
        if known && mode == Mode::Resume {
            let old = read_config(&config_path)?;
            let differences = differences(&old, &config);
            ensure!(
                differences.is_empty(),
                "{} was made with another configuration ({}): use another --out, or --fresh to start over",
                path.display(),
                list(&differences)
            );
        } else {
            if known {
                clean::remove_written(path, stages)?;
            }
            files::write_toml(&config_path, &config)?;
        }
        let record = Record::read(&path.join("run.json"))?.unwrap_or_else(Record::new);
        let version = env!("CARGO_PKG_VERSION");
        if record.version != version {
            log::warn!(
                "{} was begun by weakseg {}, this is {version}: --fresh makes sure that all of it comes from one version",
                path.display(),
                record.version
            );
        }
        let run = Self {
            path: path.to_owned(),
            config,
            record: Mutex::new(record),
            inputs: Mutex::new(read_inputs(path)?),
            lock,
        };
        run.save(&mut run.record())?;
        Ok(run)
    }

    /// Opens an existing run directory for commands that only look at its stages. It is not locked.
    ///
    /// # Errors
    /// One line where `path` is not a run directory or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let config_path = path.join(CONFIG);
        ensure!(
            config_path.exists(),
            "{} is not a run directory (no {CONFIG} in it): give the --out of an earlier run",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            config: read_config(&config_path)?,
            record: Mutex::new(Record::read(&path.join("run.json"))?.unwrap_or_else(Record::new)),
            inputs: Mutex::new(read_inputs(path)?),
            lock: None,
        })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that the run was made with.
    pub fn config(&self) -> &Table {
        &self.config
    }

    /// The folder of a stage.
    pub fn folder(&self, stage: StageFiles) -> PathBuf {
        self.path.join(stage.folder)
    }

    /// The file of the label that somebody has corrected for `image`, where there is one.
    pub fn corrected(&self, image: &str) -> PathBuf {
        self.path.join(clean::CORRECTED).join(format!("{image}.png"))
    }

    /// Where [`progress::attach_log`] should write.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    /// A copy of what `run.json` holds.
    pub fn stages(&self) -> Vec<StageRecord> {
        self.record().stages.clone()
    }

    /// What the run has read before; `None` where that was not recorded.
    pub fn inputs(&self) -> Option<Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what the run reads.
    ///
    /// # Errors
    /// One line where `inputs.json` cannot be written.
    pub fn set_inputs(&self, inputs: Inputs) -> Result<()> {
        files::write_json(&self.path.join(INPUTS), &inputs)?;
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = Some(inputs);
        Ok(())
    }

    /// Makes stages stale: they are unfinished, and what they have left is removed when they begin again. Returns those
    /// that were begun.
    ///
    /// # Errors
    /// One line where `run.json` cannot be written.
    pub fn forget(&self, stages: &[&'static str]) -> Result<Vec<&'static str>> {
        let mut record = self.record();
        let mut begun = Vec::new();
        for name in stages {
            if let Some(known) = record.stages.iter_mut().find(|s| s.name == *name)
                && !known.fingerprint.is_empty()
            {
                *known = StageRecord::new(name, "");
                begun.push(*name);
            }
        }
        self.save(&mut record)?;
        Ok(begun)
    }

    /// Makes a finished stage unfinished while its files are replaced: after a kill it goes on, and does its work again.
    ///
    /// # Errors
    /// One line where `run.json` cannot be written.
    pub fn reopen_stage(&self, stage: &str) -> Result<()> {
        let mut record = self.record();
        let known = record.stage(stage);
        known.finished = false;
        known.warnings_before = progress::warning_count();
        self.save(&mut record)
    }

    /// Whether `stage` was finished with the same inputs. `fingerprint` is any text that changes when they do: its
    /// part of the configuration, and the fingerprints of the stages before it.
    pub fn stage_done(&self, stage: &str, fingerprint: &str) -> bool {
        let record = self.record();
        let stage = record.stages.iter().find(|s| s.name == stage);
        stage.is_some_and(|s| s.finished && s.fingerprint == fingerprint)
    }

    /// Begins a stage and makes its folder, or continues an unfinished attempt with the same fingerprint; the files of
    /// any other attempt are removed first.
    ///
    /// # Errors
    /// One line where the folder or `run.json` cannot be written, or the directory was opened for reading.
    pub fn begin_stage(&self, stage: StageFiles, fingerprint: &str) -> Result<()> {
        ensure!(
            self.lock.is_some(),
            "{} is open for reading only: this is a bug in weakseg, please report it",
            self.path.display()
        );
        let folder = self.folder(stage);
        let mut record = self.record();
        let known = record.stage(stage.name);
        let continues = !known.finished && known.fingerprint == fingerprint;
        if !continues {
            // Unfinished under no fingerprint first, so that a kill while removing leaves nothing to trust.
            *known = StageRecord::new(stage.name, "");
            self.save(&mut record)?;
            clean::remove_stage_files(&folder, stage.extensions)?;
        }
        fs::create_dir_all(&folder).map_err(|e| files::write_error(&folder, &e.into()))?;
        let known = record.stage(stage.name);
        fingerprint.clone_into(&mut known.fingerprint);
        known.warnings_before = progress::warning_count();
        self.save(&mut record)
    }

    /// Marks a stage as finished after `seconds` in this process, with the warnings logged since it began.
    ///
    /// # Errors
    /// One line where `run.json` cannot be written.
    pub fn finish_stage(&self, stage: &str, seconds: f64) -> Result<()> {
        let mut record = self.record();
        let known = record.stage(stage);
        known.finished = true;
        known.seconds += seconds;
        known.warnings += progress::warning_count() - known.warnings_before;
        self.save(&mut record)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, record: &mut Record) -> Result<()> {
        record.write(&self.path.join("run.json"))
    }
}

fn lock(path: &Path) -> Result<File> {
    let lock = path.join(clean::LOCK);
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options.open(&lock).map_err(|e| files::write_error(&lock, &e.into()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "{} is in use by another weakseg process: wait until it ends, or choose another --out",
            path.display()
        ),
        Err(TryLockError::Error(error)) => log::warn!(
            "{} cannot be locked ({error}): do not start a second run there",
            path.display()
        ),
    }
    Ok(file)
}

/// `None` where there is no such file, as in runs of earlier versions.
fn read_inputs(path: &Path) -> Result<Option<Inputs>> {
    let path = path.join(INPUTS);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let inputs = serde_json::from_slice(&text).map_err(|error| {
        anyhow!(
            "{} is damaged ({error}): delete it; the run then takes the images for those that it has read",
            path.display()
        )
    })?;
    Ok(Some(inputs))
}

fn read_config(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|error: toml::de::Error| {
        anyhow!(
            "{} is damaged ({}): choose another --out, or --fresh to start over",
            path.display(),
            error.message()
        )
    })
}

/// Every key that differs, as `key: old → new`.
fn differences(old: &Table, new: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for key in old.keys().chain(new.keys().filter(|k| !old.contains_key(*k))) {
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(a)), Some(Value::Table(b))) => {
                found.extend(differences(a, b).iter().map(|d| format!("{key}.{d}")));
            }
            (a, b) if a != b => {
                let text = |v: Option<&Value>| v.map_or("none".to_owned(), Value::to_string);
                found.push(format!("{key}: {} → {}", text(a), text(b)).replace('\n', " "));
            }
            _ => {}
        }
    }
    found
}

fn list(differences: &[String]) -> String {
    let shown = differences.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    match differences.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
