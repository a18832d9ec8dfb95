//! Confusion matrix over pixels, and the intersection over union (IoU) that follows from it.

use anyhow::{Result, ensure};

use super::IGNORE;

/// Pixel counts of every pair of true and predicted class, background included.
///
/// A pixel whose truth is 255 is left out. A pixel that has a true class but the prediction 255 is wrong for that
/// class: it joins the class's union and no other's, since 255 names no class. So masks with undecided pixels, as
/// pseudo-labels are, cannot gain by leaving hard pixels out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[classes, classes + 1]`, row = truth, column = prediction, the last column for the prediction 255.
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix for `classes_with_background` classes (C + 1, at most 255), value 0 being the background.
    pub fn new(classes_with_background: usize) -> Self {
        let classes = classes_with_background;
        assert!(
            (1..=usize::from(IGNORE)).contains(&classes),
            "{classes} classes do not fit a mask of bytes"
        );
        Self {
            classes,
            counts: vec![0; classes * (classes + 1)],
        }
    }

    /// The matrix whose entry `[truth, prediction]` is `count(truth, prediction)`.
    pub(super) fn from_fn(classes: usize, count: impl Fn(usize, usize) -> u64) -> Self {
        let mut confusion = Self::new(classes);
        for truth in 0..classes {
            for prediction in 0..classes {
                confusion.counts[truth * (classes + 1) + prediction] = count(truth, prediction);
            }
        }
        confusion
    }

    /// Number of classes, background included.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of pixels of class `truth` that were predicted to be `prediction`; 0 for values that are no class.
    pub fn count(&self, truth: usize, prediction: usize) -> u64 {
        if truth < self.classes && prediction < self.classes {
            self.counts[truth * (self.classes + 1) + prediction]
        } else {
            0
        }
    }

    /// Counts the pixels of one image: `prediction` and `truth` are masks `[H * W]`.
    ///
    /// # Errors
    /// When the lengths differ, or a value is neither a class nor 255; nothing is counted then.
    pub fn add(&mut self, prediction: &[u8], truth: &[u8]) -> Result<()> {
        ensure!(
            prediction.len() == truth.len(),
            "the prediction has {} pixels but the true mask {}: resize one to the other",
            prediction.len(),
            truth.len()
        );
        let class_of = |value: u8, kind: &str| {
            let value = usize::from(value);
            ensure!(
                value < self.classes || value == usize::from(IGNORE),
                "the {kind} has the value {value}, but the highest class is {}",
                self.classes - 1
            );
            Ok(value.min(self.classes))
        };
        let mut counts = self.counts.clone();
        for (&p, &t) in prediction.iter().zip(truth) {
            let (column, row) = (class_of(p, "prediction")?, class_of(t, "true mask")?);
            if row < self.classes {
                counts[row * (self.classes + 1) + column] += 1;
            }
        }
        self.counts = counts;
        Ok(())
    }

    /// Adds the counts of `other`, which must be for as many classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "merged over different classes");
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a += b;
        }
    }

    /// IoU of every class, `[C + 1]`, fractions: true positives / (truth + prediction - true positives). `None` for
    /// a class that occurs in neither truth nor prediction.
    pub fn iou(&self) -> Vec<Option<f64>> {
        (0..self.classes)
            .map(|class| {
                let hit = self.count(class, class);
                let truth = self.row(class);
                let prediction: u64 = (0..self.classes).map(|t| self.count(t, class)).sum();
                ratio(hit, truth + prediction - hit)
            })
            .collect()
    }

    /// Mean of [`iou`](Self::iou) over the classes that occur, a fraction; `None` before any pixel was counted.
    pub fn mean_iou(&self) -> Option<f64> {
        let occurring: Vec<f64> = self.iou().into_iter().flatten().collect();
        (!occurring.is_empty()).then(|| occurring.iter().sum::<f64>() / occurring.len() as f64)
    }

    /// Fraction of the pixels with a true class that are predicted right; `None` before any pixel was counted.
    pub fn pixel_accuracy(&self) -> Option<f64> {
        let hits = (0..self.classes).map(|c| self.count(c, c)).sum();
        ratio(hits, (0..self.classes).map(|c| self.row(c)).sum())
    }

    /// Number of pixels of the true class `truth`, whatever was predicted.
    fn row(&self, truth: usize) -> u64 {
        let width = self.classes + 1;
        self.counts[truth * width..(truth + 1) * width].iter().sum()
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_made_numbers() {
        let mut c = Confusion::new(4);
        // The first two pixels are ignored, the last one is left undecided by the prediction.
        c.add(&[0, 255, 0, 0, 1, 1, 2, 255], &[255, 255, 0, 0, 0, 1, 1, 1])
            .unwrap();
        assert_eq!((c.count(0, 0), c.count(0, 1), c.count(1, 2)), (2, 1, 1));
        let one = 1.0 / 4.0; // one hit; three true pixels and one false positive
        assert_eq!(
            c.iou(),
            [Some(2.0 / 3.0), Some(one), Some(0.0), None],
            "class 2 is only predicted, class 3 is nowhere"
        );
        assert_eq!(c.mean_iou(), Some((2.0 / 3.0 + one) / 3.0));
        assert_eq!(c.pixel_accuracy(), Some(0.5));
    }

    #[test]
    fn merging_is_adding_in_one() {
        let (p, t) = ([0, 1, 2, 2, 255], [0, 1, 1, 255, 2]);
        let mut whole = Confusion::new(3);
        whole.add(&p, &t).unwrap();
        let (mut a, mut b) = (Confusion::new(3), Confusion::new(3));
        a.add(&p[..2], &t[..2]).unwrap();
        b.add(&p[2..], &t[2..]).unwrap();
        a.merge(&b);
        assert_eq!(a, whole);
    }

    #[test]
    fn bad_masks_are_refused_and_count_nothing() {
        let mut c = Confusion::new(3);
        assert!(c.add(&[0, 3], &[0, 0]).is_err());
        assert!(c.add(&[0, 0], &[0, 3]).is_err());
        assert!(c.add(&[0], &[0, 0]).is_err());
        assert_eq!((c.mean_iou(), c.pixel_accuracy()), (None, None));
    }
}
