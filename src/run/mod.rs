//! The run directory: what a run was asked for, how far it came, and one folder of files for each stage.

mod clean;
mod inputs;
pub mod metrics_csv;
mod record;
mod shard;
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
pub use shard::Shard;
pub use stage_files::StageFiles;
pub use training_state::{Tensors, TrainingState};

use crate::files;
use crate::progress;
use shard::ShardRecord;

const CONFIG: &str = "config.toml";

/// What to do with a run directory that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Go on where it stopped; the configuration must be the one it was made with.
    Resume,
    /// Remove what earlier runs wrote, and nothing else, and start over.
    Fresh,
    /// Do a part of one stage beside other processes that do the others: nothing but its own files is touched.
    Part(Shard),
}

/// Where the files of a stage that begins may be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nowhere but this directory's own earlier attempts.
    Here,
    /// Parts that other processes did, perhaps on other machines.
    InParts,
}

/// One run directory, `runs/NAME`. It stays locked against other processes until this is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    config: Table,
    record: Mutex<Record>,
    /// `None` where it was opened for reading. Dropping the file frees the lock.
    lock: Option<File>,
    /// The part of a stage that is done here.
    shard: Option<Shard>,
}

impl RunDir {
    /// Opens or makes the run directory `path` for a run with `config`, a snapshot of everything that decides the
    /// results and nothing that does not (no thread counts, no output paths). `stages` are all that may have written
    /// there, whatever the method: what a killed run has left of their files, and with [`Mode::Fresh`] all of them, is
    /// removed.
    ///
    /// # Errors
    /// One line where `path` is not a run directory but holds files, is in use by another process, was made with
    /// another configuration (the first five differing keys are listed), or cannot be written; for a part also where
    /// the run was not begun.
    pub fn open(path: &Path, config: &impl Serialize, mode: Mode, stages: &[StageFiles]) -> Result<Self> {
        let config = Table::try_from(config).context("the configuration cannot be saved as TOML")?;
        if let Mode::Part(shard) = mode {
            return Self::open_part(path, &config, shard);
        }
        fs::create_dir_all(path).map_err(|e| files::write_error(path, &e.into()))?;
        let config_path = path.join(CONFIG);
        let known = config_path.exists();
        ensure!(
            known || clean::is_empty(path)?,
            "{} is not a run directory (it holds files but no {CONFIG}): choose another --out",
            path.display()
        );
        let lock = Some(lock(path, Sharing::Alone)?);
        clean::remove_unfinished(path, stages)?;
        if known && mode == Mode::Resume {
            same_config(path, &config)?;
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
            lock,
            shard: None,
        };
        run.save(&mut run.record())?;
        Ok(run)
    }

    fn open_part(path: &Path, config: &Table, shard: Shard) -> Result<Self> {
        ensure!(
            path.join(CONFIG).exists(),
            "{} is no run yet: begin it without --shard, up to the stage whose images are to be shared out",
            path.display()
        );
        let lock = Some(lock(path, Sharing::WithParts)?);
        same_config(path, config)?;
        let record = Record::read(&path.join("run.json"))?.unwrap_or_else(Record::new);
        let version = env!("CARGO_PKG_VERSION");
        ensure!(
            record.version == version,
            "{} was begun by weakseg {}, this is {version}: all parts of a stage come from one version",
            path.display(),
            record.version
        );
        Ok(Self {
            path: path.to_owned(),
            config: config.clone(),
            record: Mutex::new(record),
            lock,
            shard: Some(shard),
        })
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
            lock: None,
            shard: None,
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

    /// Where [`progress::attach_log`] should write.
    pub fn log_path(&self) -> PathBuf {
        match self.shard {
            Some(shard) => self.path.join(format!("log.{}.txt", shard.number())),
            None => self.path.join("log.txt"),
        }
    }

    /// The part of a stage that is done here; `None` where all of it is.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// A copy of what `run.json` holds.
    pub fn stages(&self) -> Vec<StageRecord> {
        self.record().stages.clone()
    }

    /// What the run has read before; `None` where that was not recorded.
    pub fn inputs(&self) -> Option<Inputs> {
        self.record().inputs.clone()
    }

    /// Records what the run reads.
    ///
    /// # Errors
    /// One line where `run.json` cannot be written.
    pub fn set_inputs(&self, inputs: Inputs) -> Result<()> {
        let mut record = self.record();
        record.inputs = Some(inputs);
        self.save(&mut record)
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

    /// Whether `stage` was finished with the same inputs. `fingerprint` is any text that changes when they do: its
    /// part of the configuration, and the fingerprints of the stages before it.
    pub fn stage_done(&self, stage: &str, fingerprint: &str) -> bool {
        let record = self.record();
        let stage = record.stages.iter().find(|s| s.name == stage);
        stage.is_some_and(|s| s.finished && s.fingerprint == fingerprint)
    }

    /// Begins a stage and makes its folder, or continues an unfinished attempt with the same fingerprint; the files of
    /// any other attempt are removed first. Returns where its files may be from.
    ///
    /// # Errors
    /// One line where the folder or `run.json` cannot be written, or the directory was opened for reading. Of a part,
    /// where there are files of another attempt, or parts of another number.
    pub fn begin_stage(&self, stage: StageFiles, fingerprint: &str) -> Result<Begun> {
        ensure!(
            self.lock.is_some(),
            "{} is open for reading only: this is a bug in weakseg, please report it",
            self.path.display()
        );
        let folder = self.folder(stage);
        let mut record = self.record();
        record.stage(stage.name).warnings_before = progress::warning_count();
        if let Some(shard) = self.shard {
            let known = record.stage(stage.name);
            self.begin_part(stage, fingerprint, shard, known)?;
            fingerprint.clone_into(&mut known.fingerprint);
            return Ok(Begun::Here);
        }
        let parts = shard::records(&self.path, stage.name)?;
        let of_parts = !parts.is_empty() && parts.iter().all(|part| part.fingerprint == fingerprint);
        let known = record.stage(stage.name);
        let unknown = known.fingerprint.is_empty() && of_parts;
        let continues = !known.finished && (known.fingerprint == fingerprint || unknown);
        if !continues {
            // Unfinished under no fingerprint first, so that a kill while removing leaves nothing to trust.
            *known = StageRecord::new(stage.name, "");
            self.save(&mut record)?;
            shard::forget(&self.path, Some(stage.name))?;
            clean::remove_stage_files(&folder, stage.extensions)?;
        }
        fs::create_dir_all(&folder).map_err(|e| files::write_error(&folder, &e.into()))?;
        let known = record.stage(stage.name);
        fingerprint.clone_into(&mut known.fingerprint);
        known.warnings_before = progress::warning_count();
        self.save(&mut record)?;
        Ok(match continues && of_parts {
            true => Begun::InParts,
            false => Begun::Here,
        })
    }

    /// Begins one part of a stage whose others may be at work.
    fn begin_part(&self, stage: StageFiles, fingerprint: &str, shard: Shard, known: &StageRecord) -> Result<()> {
        let folder = self.folder(stage);
        let parts = shard::records(&self.path, stage.name)?;
        let again = format!(
            "run `weakseg {} --out {} --shard none` once, which removes them, or delete {}",
            stage.name,
            self.path.display(),
            folder.display()
        );
        if let Some(other) = parts.iter().find(|part| !part.shard.is_beside(shard)) {
            bail!(
                "this is shard {shard} of {}, but {} has been begun: let all shards be of one number, or finish the stage without --shard",
                stage.name,
                other.shard
            );
        }
        let is_other = |print: &str| !print.is_empty() && print != fingerprint;
        ensure!(
            !is_other(&known.fingerprint) && !parts.iter().any(|part| is_other(&part.fingerprint)),
            "{} holds files of an earlier attempt, which no shard removes: {again}",
            folder.display()
        );
        let trusted = !parts.is_empty() || known.fingerprint == fingerprint;
        ensure!(
            trusted || !clean::has_stage_files(&folder, stage.extensions)?,
            "{} holds files that this run knows nothing of: {again}",
            folder.display()
        );
        fs::create_dir_all(&folder).map_err(|e| files::write_error(&folder, &e.into()))?;
        let part = ShardRecord {
            stage: stage.name.to_owned(),
            fingerprint: fingerprint.to_owned(),
            shard,
            finished: false,
            seconds: 0.0,
            warnings: 0,
        };
        part.write(&self.path)
    }

    /// Marks a stage, or the part of it that is done here, as finished after `seconds` in this process, with the
    /// warnings logged since it began. Parts' seconds and warnings are added to the stage's.
    ///
    /// # Errors
    /// One line where `run.json` or the part's record cannot be written.
    pub fn finish_stage(&self, stage: &str, seconds: f64) -> Result<()> {
        let mut record = self.record();
        let known = record.stage(stage);
        let warnings = progress::warning_count() - known.warnings_before;
        if let Some(shard) = self.shard {
            let part = ShardRecord {
                stage: stage.to_owned(),
                fingerprint: known.fingerprint.clone(),
                shard,
                finished: true,
                seconds,
                warnings,
            };
            return part.write(&self.path);
        }
        known.finished = true;
        known.seconds += seconds;
        known.warnings += warnings;
        for part in shard::records(&self.path, stage)? {
            known.seconds += part.seconds;
            known.warnings += part.warnings;
        }
        self.save(&mut record)?;
        shard::forget(&self.path, Some(stage))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, record: &mut Record) -> Result<()> {
        ensure!(
            self.shard.is_none(),
            "a shard writes no run.json: this is a bug in weakseg, please report it"
        );
        record.write(&self.path.join("run.json"))
    }
}

/// Who else may work in a run directory at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithParts,
}

fn lock(path: &Path, sharing: Sharing) -> Result<File> {
    let lock = path.join(clean::LOCK);
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options.open(&lock).map_err(|e| files::write_error(&lock, &e.into()))?;
    let locked = match sharing {
        Sharing::Alone => file.try_lock(),
        Sharing::WithParts => file.try_lock_shared(),
    };
    match (locked, sharing) {
        (Ok(()), _) => {}
        (Err(TryLockError::WouldBlock), _) => bail!(
            "{} is in use by another weakseg process: wait until it ends, or choose another --out",
            path.display()
        ),
        (Err(TryLockError::Error(error)), Sharing::Alone) => log::warn!(
            "{} cannot be locked ({error}): do not start a second run there",
            path.display()
        ),
        (Err(TryLockError::Error(error)), Sharing::WithParts) => log::warn!(
            "{} cannot be locked ({error}): start nothing but shards of this stage there until all of them have ended",
            path.display()
        ),
    }
    Ok(file)
}

/// # Errors
/// Where the run in `path` was made with another configuration.
fn same_config(path: &Path, config: &Table) -> Result<()> {
    let old = read_config(&path.join(CONFIG))?;
    let differences = differences(&old, config);
    ensure!(
        differences.is_empty(),
        "{} was made with another configuration ({}): use another --out, or --fresh to start over",
        path.display(),
        list(&differences)
    );
    Ok(())
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
