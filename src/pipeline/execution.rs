//! Running a stage where it has to be run.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use rayon::prelude::*;

use super::stage::{Context, Product, Stage};
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::device::fault::{self, Fault};
use crate::maps::read_maps;
use crate::progress;
use crate::run::Begun;

impl Context {
    /// Runs `stage` of the method unless it is finished; `again` repeats a finished one, which makes the later ones
    /// stale. The stages before it must be finished.
    ///
    /// # Errors
    /// Whatever keeps the stage from finishing; what it has written stays, and the next call goes on from there.
    pub fn run_stage(&self, stage: Stage, again: bool) -> Result<()> {
        let pipeline = self.pipeline;
        ensure!(
            pipeline.contains(&stage),
            "this run's method has no stage {}",
            stage.name()
        );
        let prints = self.fingerprints(stage, again);
        for (earlier, print) in pipeline.iter().zip(&prints).take_while(|(s, _)| **s != stage) {
            if !self.run.stage_done(earlier.name(), print) {
                bail!(
                    "{} needs the stage {} to be finished in {}: run `weakseg {}` or `weakseg run` with this --out first",
                    stage.name(),
                    earlier.name(),
                    self.run.path().display(),
                    earlier.name()
                );
            }
        }
        let print = prints.last().map_or("", String::as_str);
        if self.run.stage_done(stage.name(), print) {
            log::info!("{}: finished before, kept", stage.name());
            return Ok(());
        }
        log::info!("{}", stage.name());
        let clock = Instant::now();
        if self.run.begin_stage(stage.files(), print)? == Begun::InParts {
            self.check_parts(stage);
        }
        progress::task(&format!("stage {}", stage.name()));
        progress::part(stage.name(), stage.cost(&self.recipe, self.load()?));
        fault::caught(|| stage.work(self))
            .with_context(|| format!("stage {}", stage.name()))
            .map_err(|error| advise(error, self.run.path()))?;
        progress::part_done();
        self.run.finish_stage(stage.name(), clock.elapsed().as_secs_f64())
    }

    /// Reads every file that the shards of `stage` have left, and removes those that cannot be read: they came by way of
    /// other machines.
    fn check_parts(&self, stage: Stage) {
        let split = match stage.product() {
            Product::Masks => self.predicted_split(),
            _ => &self.data.train,
        };
        let bar = progress::bar(split.len() as u64, "file", "checking shards");
        split.indices().into_par_iter().for_each(|i| {
            let path = self.file(stage, split.name(i));
            if path.exists()
                && let Err(error) = self.readable(stage, split, i, &path)
            {
                log::warn!("made again, because a shard has left it damaged: {error:#}");
                // Where it stays, reading it fails later, with its name.
                let _ = fs::remove_file(&path);
            }
            bar.inc(1);
        });
        bar.finish();
    }

    fn readable(&self, stage: Stage, split: &Split, image: usize, path: &Path) -> Result<()> {
        match stage.product() {
            Product::ClassMaps | Product::Scores => read_maps(path).map(drop),
            Product::Labels | Product::Masks => read_mask(path, self.classes(), split.size(image)?).map(drop),
            Product::Network(_) => Ok(()),
        }
    }

    /// Whether `stage` is finished, and with what the stages before it hold now.
    pub fn is_current(&self, stage: Stage) -> bool {
        let prints = self.fingerprints(stage, false);
        self.pipeline.contains(&stage)
            && self
                .pipeline
                .iter()
                .zip(&prints)
                .all(|(s, print)| self.run.stage_done(s.name(), print))
    }

    /// For `stage` and those before it, a text that changes whenever a stage has been repeated.
    fn fingerprints(&self, stage: Stage, again: bool) -> Vec<String> {
        let records = self.run.stages();
        let mut prints: Vec<String> = Vec::new();
        for s in self.pipeline {
            let before = prints.last().cloned().unwrap_or_default();
            let repeats = records
                .iter()
                .find(|r| r.name == s.name())
                .and_then(|r| r.fingerprint.strip_prefix(&before)?.strip_prefix('.')?.parse().ok())
                .unwrap_or(0u32);
            let repeats = repeats + u32::from(again && *s == stage);
            prints.push(format!("{before}.{repeats}"));
            if *s == stage {
                break;
            }
        }
        prints
    }
}

/// What to do about a stage that a fault of the device has ended.
fn advise(error: anyhow::Error, run: &Path) -> anyhow::Error {
    let run = run.display();
    match Fault::in_error(&error) {
        Some(Fault::Lost) => error.context(format!(
            "the device was lost: run the same command again to go on from what {run} holds, with --device cpu if it happens again"
        )),
        Some(Fault::Full) => error.context(format!(
            "the device is out of memory: run the same command again with --device cpu to go on from what {run} holds, or start another run with a smaller batch or crop (--set)"
        )),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn faults_of_the_device_come_with_a_way_to_go_on() {
        let said = |what: &str| {
            let error = anyhow!("{what}").context("stage classify");
            format!("{:#}", advise(error, Path::new("runs/x")))
        };
        let lost = said("The device is poisoned");
        assert!(lost.starts_with("the device was lost: "), "{lost}");
        assert!(lost.contains("same command again") && lost.contains("runs/x"));
        assert!(lost.ends_with("stage classify: The device is poisoned"));
        let full = said("wgpu error: Out of Memory");
        assert!(full.contains("smaller batch") && full.contains("runs/x"));
        assert_eq!(said("no such file"), "stage classify: no such file");
    }
}
