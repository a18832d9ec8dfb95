//! The best background threshold of class activation maps, found in one pass over the pixels.

use anyhow::{Result, ensure};

use super::{Confusion, IGNORE};

/// Number of thresholds tried: 0.02, 0.04 .. 0.98.
const STEPS: usize = 49;

/// Confusion of CAM masks at every background threshold t in 0.02..=0.98, step 0.02: a pixel takes the class with
/// the highest map where that map is above t, and is background elsewhere.
///
/// Keeps a histogram over the thresholds for every true class and winner, so that a pixel costs one increment
/// whatever the number of thresholds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdSweep {
    classes: usize,
    /// `[classes (truth), classes (winner), STEPS + 1]`; the last index counts the thresholds that a peak exceeds.
    counts: Vec<u64>,
}

impl ThresholdSweep {
    /// An empty sweep for `classes_with_background` classes (C + 1).
    pub fn new(classes_with_background: usize) -> Self {
        let classes = classes_with_background;
        Self {
            classes,
            counts: vec![0; classes * classes * (STEPS + 1)],
        }
    }

    /// Counts the pixels of one image, all arguments `[H * W]`: `winner` is the value in the mask (class index + 1)
    /// of the highest class map, 0 where there is none; `peak` that map's value; `truth` the true mask, 255 ignored.
    ///
    /// # Errors
    /// When lengths differ or a value is no class; the sweep holds part of the image then.
    pub fn add(&mut self, winner: &[u8], peak: &[f32], truth: &[u8]) -> Result<()> {
        ensure!(
            winner.len() == truth.len() && peak.len() == truth.len(),
            "the maps have {} and {} pixels but the true mask {}: resize one to the other",
            winner.len(),
            peak.len(),
            truth.len()
        );
        let grid: [f32; STEPS] = std::array::from_fn(threshold);
        for ((&winner, &peak), &truth) in winner.iter().zip(peak).zip(truth) {
            if truth == IGNORE {
                continue;
            }
            let (t, w) = (usize::from(truth), usize::from(winner));
            ensure!(
                t < self.classes && w < self.classes,
                "the true mask has the value {t} and the map {w}, but the highest class is {}",
                self.classes - 1
            );
            let exceeded = grid.partition_point(|&t| peak > t);
            self.counts[(t * self.classes + w) * (STEPS + 1) + exceeded] += 1;
        }
        Ok(())
    }

    /// Adds the counts of `other`, which must be for as many classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "merged over different classes");
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a += b;
        }
    }

    /// The threshold with the highest mean IoU (the lowest of equals) and its confusion; `None` before any pixel
    /// was counted.
    pub fn best(&self) -> Option<(f32, Confusion)> {
        let mut best: Option<(f64, f32, Confusion)> = None;
        for (threshold, confusion) in self.confusions() {
            let score = confusion.mean_iou()?;
            if best.as_ref().is_none_or(|(top, ..)| score > *top) {
                best = Some((score, threshold, confusion));
            }
        }
        best.map(|(_, threshold, confusion)| (threshold, confusion))
    }

    /// Mean IoU (a fraction) at every threshold, ascending; empty before any pixel was counted.
    pub fn curve(&self) -> Vec<(f32, f64)> {
        self.confusions()
            .filter_map(|(threshold, confusion)| Some((threshold, confusion.mean_iou()?)))
            .collect()
    }

    /// Every threshold with its confusion, ascending.
    fn confusions(&self) -> impl Iterator<Item = (f32, Confusion)> {
        // `above[.., k]`: pixels whose peak exceeds at least k thresholds, so that pixels above threshold number s
        // are at k = s + 1 and all pixels at k = 0.
        let mut above = self.counts.clone();
        for pair in above.chunks_exact_mut(STEPS + 1) {
            for k in (0..STEPS).rev() {
                pair[k] += pair[k + 1];
            }
        }
        let classes = self.classes;
        (0..STEPS).map(move |step| {
            let at = |t: usize, w: usize, k: usize| above[(t * classes + w) * (STEPS + 1) + k];
            let confusion = Confusion::from_fn(classes, |t, w| {
                if w > 0 {
                    return at(t, w, step + 1);
                }
                let all: u64 = (0..classes).map(|w| at(t, w, 0)).sum();
                all - (1..classes).map(|w| at(t, w, step + 1)).sum::<u64>()
            });
            (threshold(step), confusion)
        })
    }
}

/// Threshold number `step` of the sweep.
fn threshold(step: usize) -> f32 {
    (step + 1) as f32 / 50.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deterministic image of `n` pixels: winner, peak (some exactly on a threshold, some NaN) and truth.
    fn image(n: usize, seed: usize) -> (Vec<u8>, Vec<f32>, Vec<u8>) {
        let noise = |i: usize, salt: usize| (i * 7919 + salt * 104_729 + i * i * 31) % 1009;
        let winner = (0..n).map(|i| (noise(i, seed) % 4) as u8).collect();
        let peak = (0..n)
            .map(|i| match noise(i, seed + 1) {
                0..20 => f32::NAN,
                v if v % 3 == 0 => (v % 51) as f32 / 50.0,
                v => v as f32 / 1008.0,
            })
            .collect();
        let truth = (0..n)
            .map(|i| match noise(i, seed + 2) % 9 {
                8 => 255,
                v => (v % 4) as u8,
            })
            .collect();
        (winner, peak, truth)
    }

    #[test]
    fn equals_brute_force_and_merges() {
        let (first, second) = (image(700, 1), image(300, 5));
        let mut sweep = ThresholdSweep::new(4);
        sweep.add(&first.0, &first.1, &first.2).unwrap();
        let mut other = ThresholdSweep::new(4);
        other.add(&second.0, &second.1, &second.2).unwrap();
        sweep.merge(&other);

        let mut best = (0.0, 0.0);
        for (step, (t, score)) in sweep.curve().into_iter().enumerate() {
            let mut expected = Confusion::new(4);
            for (winner, peak, truth) in [&first, &second] {
                let mask: Vec<u8> = winner
                    .iter()
                    .zip(peak)
                    .map(|(&w, &p)| if p > t { w } else { 0 })
                    .collect();
                expected.add(&mask, truth).unwrap();
            }
            assert!((t - 0.02 * (step + 1) as f32).abs() < 1e-6);
            assert_eq!(Some(score), expected.mean_iou(), "threshold {t}");
            if score > best.1 {
                best = (t, score);
            }
        }
        let (t, confusion) = sweep.best().unwrap();
        assert_eq!((t, confusion.mean_iou().unwrap()), best);
        assert_eq!(sweep.curve().len(), 49);
    }

    #[test]
    fn nothing_counted_has_no_best() {
        let mut sweep = ThresholdSweep::new(3);
        sweep.add(&[1], &[0.5], &[255]).unwrap();
        assert!(sweep.best().is_none() && sweep.curve().is_empty());
        assert!(sweep.add(&[3], &[0.5], &[0]).is_err());
    }
}
