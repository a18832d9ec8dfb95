//! Removing what a run wrote, and only that.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::stage_files::StageFiles;
use crate::files;

/// What keeps other processes out of a run directory.
pub(super) const LOCK: &str = ".lock";
/// The folder of labels that somebody has corrected, which no stage removes.
pub(super) const CORRECTED: &str = "corrected";
/// The files of a run beside those of its stages, without `config.toml` and `.lock`, which `--fresh` keeps or rewrites.
const FILES: [&str; 5] = ["run.json", super::INPUTS, "log.txt", "metrics.json", "report.html"];

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
    folders.push(path.join(CORRECTED));
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
    for stage in stages {
        remove_stage_files(&path.join(stage.folder), stage.extensions)?;
    }
    remove_stage_files(&path.join(CORRECTED), &["png"])
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
