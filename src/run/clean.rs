//! Removing what a run wrote, and only that.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::shard;
use super::stage_files::StageFiles;
use crate::files;

/// What keeps other processes out of a run directory.
pub(super) const LOCK: &str = ".lock";
/// The files of a run beside those of its stages, without `config.toml` and `.lock`, which `--fresh` keeps or rewrites.
const FILES: [&str; 4] = ["run.json", "log.txt", "metrics.json", "report.html"];

/// Whether it is the log of a part of a stage.
fn is_log_of_part(name: &str) -> bool {
    let number = name.strip_prefix("log.").and_then(|rest| rest.strip_suffix(".txt"));
    number.is_some_and(|n| n.parse::<usize>().is_ok())
}

/// Empty but for what a run leaves that was killed before it wrote its configuration.
pub(super) fn is_empty(path: &Path) -> Result<bool> {
    Ok(entries(path)?.iter().all(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name == LOCK || name.starts_with(files::TEMPORARY_PREFIX)
    }))
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = || fs::read_dir(folder)?.collect::<io::Result<_>>();
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.with_context(|| format!("cannot list {}", folder.display())),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => bail!(
            "cannot remove {}: {error}: remove it yourself, or choose another --out",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Removes the half-written files of a killed run, in `path` and in its stages' folders.
pub(super) fn remove_unfinished(path: &Path, stages: &[StageFiles]) -> Result<()> {
    let mut folders: Vec<_> = stages.iter().map(|s| path.join(s.folder)).collect();
    folders.retain(|folder| folder.is_dir());
    let mut found = entries(path)?;
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            match entry.file_type().is_ok_and(|t| t.is_dir()) {
                true => folders.push(entry.path()),
                false => found.push(entry),
            }
        }
    }
    for entry in found {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(files::TEMPORARY_PREFIX) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes everything that a run writes but `config.toml` and the lock.
pub(super) fn remove_written(path: &Path, stages: &[StageFiles]) -> Result<()> {
    // The record goes first: without it no stage counts as finished.
    for name in FILES {
        remove(&path.join(name))?;
    }
    for entry in entries(path)? {
        if is_log_of_part(&entry.file_name().to_string_lossy()) {
            remove(&entry.path())?;
        }
    }
    shard::forget(path, None)?;
    for stage in stages {
        remove_stage_files(&path.join(stage.folder), stage.extensions)?;
    }
    Ok(())
}

/// Whether a stage's `folder` holds a file with one of these `extensions`.
pub(super) fn has_stage_files(folder: &Path, extensions: &[&str]) -> Result<bool> {
    if !folder.is_dir() {
        return Ok(false);
    }
    for entry in entries(folder)? {
        let path = entry.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if has_stage_files(&path, extensions)? {
                return Ok(true);
            }
        } else if extensions.contains(&extension) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the files with one of these `extensions` from a stage's `folder` and the folders in it, then what is empty
/// of those.
pub(super) fn remove_stage_files(folder: &Path, extensions: &[&str]) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in entries(folder)? {
        let path = entry.path();
        // Not following links: what they lead to is not the run's.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if is_folder {
            remove_stage_files(&path, extensions)?;
        } else if extensions.contains(&extension) {
            remove(&path)?;
        }
    }
    // Fails where foreign files are left, which is the intention.
    let _ = fs::remove_dir(folder);
    Ok(())
}
