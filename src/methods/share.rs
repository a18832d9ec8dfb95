//! Runs that begin with the same stages: what one has finished, another takes over.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Method, Override};
use crate::pipeline::{Context, Product, Stage};
use crate::run::{RunDir, StageRecord};

/// Gives the run `to` of `method` what `from`, a run of `other` with the same recipe, data and seed, has finished of
/// the stages that both begin with, up to `until`. What `to` has itself stays.
///
/// # Errors
/// Where files cannot be linked or copied, or `to` has repeated one of these stages.
pub fn share((from, other): (&RunDir, &Method), (to, method): (&Context, &Method), until: Option<Stage>) -> Result<()> {
    let records = from.stages();
    for stage in common(other, method) {
        let is_finished = |r: &&StageRecord| r.name == stage.name() && r.finished;
        let Some(record) = records.iter().find(is_finished) else {
            break;
        };
        // Corrected labels are those of one run.
        if matches!(stage.product(), Product::Labels) && has_corrected(from, to) {
            break;
        }
        if !to.is_current(stage) {
            take(from, to, stage, &record.fingerprint)?;
        }
        if Some(stage) == until {
            break;
        }
    }
    Ok(())
}

fn has_corrected(from: &RunDir, to: &Context) -> bool {
    let split = &to.data.train;
    let mut names = split.indices().map(|i| split.name(i));
    names.any(|name| from.corrected(name).exists())
}

/// The first stages of two methods that do the same in both.
pub fn common(a: &Method, b: &Method) -> Vec<Stage> {
    let changes = |method: &'static [Override], stage: Stage| {
        let of_stage = method.iter().filter(move |change| change.stage == stage);
        of_stage.map(|change| change.set)
    };
    let is_same = |stage: Stage| {
        let is_alike = !stage.follows_objective() || a.objective == b.objective;
        is_alike && changes(a.overrides, stage).eq(changes(b.overrides, stage))
    };
    let pairs = a.stages.iter().zip(b.stages);
    let same = pairs.take_while(|(a, b)| a == b && is_same(**a));
    same.map(|(stage, _)| *stage).collect()
}

fn take(from: &RunDir, to: &Context, stage: Stage, fingerprint: &str) -> Result<()> {
    let name = stage.name();
    to.run.begin_stage(stage.files(), fingerprint)?;
    let (source, target) = (from.folder(stage.files()), to.folder(stage));
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
            .with_context(|| format!("cannot copy {} to {}", entry.path().display(), path.display()))?;
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
    use crate::methods::named;

    #[test]
    fn methods_share_what_they_begin_with_and_no_more() {
        let shared = |a, b| -> Vec<&str> {
            let stages = common(named(a).unwrap(), named(b).unwrap());
            stages.iter().map(|stage| stage.name()).collect()
        };
        assert_eq!(shared("affinitynet", "cian"), ["classify", "cam"]);
        assert_eq!(shared("rrm", "aalr"), ["classify"]);
        assert_eq!(shared("rrm", "rrm-two-step"), ["classify", "joint"]);
        assert_eq!(shared("mcis", "mcis-lid"), ["classify", "coattend"]);
        assert!(shared("supervised", "mcis").is_empty());
    }
}
