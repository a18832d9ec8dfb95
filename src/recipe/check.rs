//! Which values of a recipe make sense.

use anyhow::{Result, ensure};

use super::Recipe;

impl Recipe {
    /// Rejects values that no stage can work with.
    pub(super) fn check(&self) -> Result<()> {
        self.check_backbones()?;
        self.check_segment_head()?;
        let (cam, predict, affinity) = (&self.cam, &self.predict, &self.affinity);
        for (key, value) in [
            ("cam.batch", cam.batch),
            ("predict.batch", predict.batch),
            ("affinity.channels", affinity.channels.into_iter().min().unwrap_or(0)),
            ("affinity.cell", affinity.cell),
            ("propagate.steps", self.propagate.steps as usize),
            ("shapes.train", self.shapes.train),
            ("shapes.val", self.shapes.val),
        ] {
            ensure!(value >= 1, "{key} is {value}: use at least 1");
        }
        for (key, radius) in [
            ("affinity.radius", affinity.radius),
            ("propagate.radius", self.propagate.radius),
        ] {
            ensure!((2..=32).contains(&radius), "{key} is {radius}: use 2 to 32");
        }
        for (key, scales) in [("cam.scales", &cam.scales), ("predict.scales", &predict.scales)] {
            let good = !scales.is_empty() && scales.iter().all(|s| (0.05..=10.0).contains(s));
            ensure!(good, "{key} is {scales:?}: use at least one number, each of 0.05 to 10");
        }
        for (key, values) in [
            ("input.std", self.input.std.unwrap_or([1.0; 3])),
            ("input.range", [self.input.range.unwrap_or(1.0); 3]),
        ] {
            let good = values.iter().all(|v| v.is_finite() && *v > 0.0);
            ensure!(good, "{key} is {values:?}: use positive numbers");
        }
        for (key, value) in [
            ("affinity.alpha_low", affinity.alpha_low),
            ("affinity.alpha_high", affinity.alpha_high),
            ("propagate.alpha", self.propagate.alpha),
            ("propagate.beta", self.propagate.beta),
            ("propagate.scale", self.propagate.scale),
            ("label.alpha", self.label.alpha),
        ] {
            let good = value.is_finite() && value > 0.0;
            ensure!(good, "{key} is {value}: use a positive number");
        }
        ensure!(
            affinity.alpha_low <= affinity.alpha_high,
            "affinity.alpha_low is {}, above affinity.alpha_high, {}: lower it",
            affinity.alpha_low,
            affinity.alpha_high
        );
        for (key, crf) in [
            ("affinity.crf", &affinity.crf),
            ("label.crf", &self.label.crf),
            ("predict.crf", &predict.crf),
            ("joint.crf", &self.joint.crf),
        ] {
            crf.check(key)?;
        }
        let threshold = self.propagate.threshold.unwrap_or(0.5);
        ensure!(
            (0.0..=1.0).contains(&threshold),
            "propagate.threshold is {threshold}: use a number from 0 to 1, or none"
        );
        let within = self.label.foreground_within.unwrap_or(0.5);
        ensure!(
            (0.0..=1.0).contains(&within),
            "label.foreground_within is {within}: use a number from 0 to 1, or none"
        );
        self.joint.check()?;
        self.seeds.check()?;
        self.cross.check()?;
        self.coattend.check()?;
        for (key, training) in [
            ("classify", &self.classify),
            ("affinity.training", &affinity.training),
            ("segment", &self.segment),
        ] {
            training.check(key)?;
        }
        Ok(())
    }
}
