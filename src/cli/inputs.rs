//! Images and masks that are not the ones that a run has begun with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::data::Data;
use crate::methods::Method;
use crate::pipeline::{Product, Purpose};
use crate::run::{Changed, Inputs, Role, RunDir};

/// Changed files that are named one by one.
const NAMED: usize = 3;

/// Compares the files of the data set with those that the run has read before, makes the stages that read a changed one
/// stale, and records the files.
///
/// # Errors
/// Where a file cannot be read, or `run.json` cannot be written; for a shard, which makes nothing stale, also where a file
/// has changed.
pub fn check(run: &RunDir, data: &Data, place: &str, method: &Method) -> Result<()> {
    let files = files(data);
    if files.is_empty() {
        return Ok(());
    }
    let before = run.inputs();
    let place = Path::new(place);
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    let now = Inputs::look(&place, &files, before.as_ref())?;
    if let Some(before) = &before {
        let changed = now.changed(&files, before);
        if run.shard().is_some() && !changed.is_empty() {
            let changed: Vec<&Changed> = changed.iter().collect();
            bail!(
                "files have changed since the run read them: {}; run the stage once without --shard, or put them back",
                named(&changed)
            );
        }
        for role in [Role::Training, Role::Validation, Role::Mask] {
            let of_role: Vec<&Changed> = changed.iter().filter(|c| c.role == role).collect();
            if !of_role.is_empty() {
                stale(run, method, role, &of_role)?;
            }
        }
    }
    if before.as_ref() != Some(&now) && run.shard().is_none() {
        run.set_inputs(now)?;
    }
    Ok(())
}

/// Names the files that are not those that the run in `out` has read, where its images are others now.
///
/// # Errors
/// Where the run or a file cannot be read.
pub fn tell(out: &Path, data: &Data) -> Result<()> {
    let Some(before) = RunDir::read(out)?.inputs() else {
        return Ok(());
    };
    let files = files(data);
    let now = Inputs::look(&before.place, &files, Some(&before))?;
    let changed = now.changed(&files, &before);
    if !changed.is_empty() {
        let changed: Vec<&Changed> = changed.iter().collect();
        log::warn!("files that this run has not read: {}", named(&changed));
    }
    Ok(())
}

/// The first of the files, and how many more there are.
fn named(changed: &[&Changed]) -> String {
    let first = changed.iter().take(NAMED).map(|c| c.file.as_str());
    let first = first.collect::<Vec<_>>().join(", ");
    match changed.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Makes the stages that read files of this role stale, and says so.
fn stale(run: &RunDir, method: &Method, role: Role, changed: &[&Changed]) -> Result<()> {
    let learns = |stage: &crate::pipeline::Stage| stage.trains_for(Purpose::Masks);
    let stages = method.stages;
    let first = match role {
        Role::Training => Some(0),
        Role::Validation => stages.iter().position(|s| matches!(s.product(), Product::Masks)),
        // Truth is for scores alone, but where a method learns from it.
        Role::Mask => method.needs_masks().then(|| stages.iter().position(learns)).flatten(),
    };
    let reading = first.and_then(|first| stages.get(first..)).unwrap_or(&[]);
    let names: Vec<&'static str> = reading.iter().map(|s| s.name()).collect();
    let begun = run.forget(&names)?;
    let what = match role {
        Role::Training => "training images",
        Role::Validation => "validation images",
        Role::Mask => "masks",
    };
    let then = match begun.is_empty() {
        true => "scores are computed with what is there".to_owned(),
        false => format!(
            "the stages that read them are stale and have to run again: {}",
            begun.join(", ")
        ),
    };
    let files = named(changed);
    log::warn!("{what} have changed since the run read them: {files}; {then}");
    Ok(())
}

/// The files of a data set with their roles and names.
fn files(data: &Data) -> Vec<(Role, String, PathBuf)> {
    let mut found = Vec::new();
    let mut training: BTreeSet<PathBuf> = BTreeSet::new();
    for (role, split) in [(Role::Training, &data.train), (Role::Validation, &data.val)] {
        for i in split.indices() {
            let Some((image, mask)) = split.files(i) else {
                continue;
            };
            if role == Role::Validation && training.contains(image) {
                continue;
            }
            let name = split.name(i);
            found.push((role, name.to_owned(), image.to_owned()));
            if role == Role::Training {
                training.insert(image.to_owned());
            }
            if let Some(mask) = mask {
                let prefix = match role {
                    Role::Validation => "val ",
                    _ => "",
                };
                found.push((Role::Mask, format!("{prefix}{name}"), mask.to_owned()));
            }
        }
    }
    found
}
