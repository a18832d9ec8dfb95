//! Runs that begin with the same stages: what one has finished, another takes over.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{objective, overrides, pipeline};
use crate::run::{RunDir, StageRecord};
use crate::stages::{Context, Stage};

/// Gives the run `to` of the method `method` what `from`, a run of `other` with the same recipe, data and seed, has
/// finished of the stages that both begin with, up to `until`. What `to` has itself stays.
///
/// # Errors
/// Where files cannot be linked or copied, or `to` has repeated one of these stages.
pub fn share(
    (from, other): (&RunDir, &str),
    (to, method): (&Context, &str),
    until: Option<Stage>,
) -> Result<()> {
    let records = from.stages();
    for stage in common(other, method)? {
        let is_finished = |r: &&StageRecord| r.name == stage.name() && r.finished;
        let Some(record) = records.iter().find(is_finished) else {
            break;
        };
        if !to.is_current(stage) {
            take(from, to, stage, &record.fingerprint)?;
        }
        if Some(stage) == until {
            break;
        }
    }
    Ok(())
}

/// The first stages of two methods that do the same in both.
///
/// # Errors
/// Where there is no such method.
pub fn common(a: &str, b: &str) -> Result<Vec<Stage>> {
    let is_same = |stage: Stage| match stage {
        Stage::Joint => objective(a) == objective(b),
        // What methods change in a recipe begins with how maps are made.
        Stage::Cam => overrides(a) == overrides(b),
        _ => true,
    };
    let pairs = pipeline(a)?.iter().zip(pipeline(b)?);
    let same = pairs.take_while(|(a, b)| a == b && is_same(**a));
    Ok(same.map(|(stage, _)| *stage).collect())
}

fn take(from: &RunDir, to: &Context, stage: Stage, fingerprint: &str) -> Result<()> {
    let name = stage.name();
    to.run.begin_stage(name, fingerprint)?;
    let (source, target) = (from.folder(name), to.folder(stage));
    let list = || format!("cannot list {}", source.display());
    for entry in fs::read_dir(&source).with_context(list)? {
        let entry = entry.with_context(list)?;
        // A stage that others share keeps no folders within its own.
        if !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        let path = target.join(entry.file_name());
        if path.exists() {
            continue;
        }
        // Finished files are replaced, never changed, so that two runs may hold the same ones.
        fs::hard_link(entry.path(), &path)
            .or_else(|_| fs::copy(entry.path(), &path).map(|_| ()))
            .with_context(|| {
                format!(
                    "cannot copy {} to {}",
                    entry.path().display(),
                    path.display()
                )
            })?;
    }
    to.run.finish_stage(name, 0.0)?;
    ensure!(
        to.is_current(stage),
        "the stage {name} in {} is not that of {}: remove the folder, or choose another --out",
        target.display(),
        source.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_share_what_they_begin_with_and_no_more() {
        let stages = |a, b| common(a, b).unwrap();
        assert_eq!(stages("affinitynet", "cian"), [Stage::Classify, Stage::Cam]);
        assert_eq!(stages("rrm", "aalr"), [Stage::Classify]);
        assert_eq!(
            stages("rrm", "rrm-two-step"),
            [Stage::Classify, Stage::Joint]
        );
        assert_eq!(
            stages("mcis", "mcis-lid"),
            [Stage::Classify, Stage::Coattend]
        );
        assert_eq!(stages("supervised", "mcis"), []);
    }
}
