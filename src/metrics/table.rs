//! Scores of the stages of a run, and the table of them that a terminal shows.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Confusion;

/// Name under which the background's IoU is kept.
const BACKGROUND: &str = "background";

/// With more classes than this the table has a row per class and a column per stage.
const MOST_COLUMNS: usize = 8;

/// How good the masks of one stage are on one split. All scores in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageScore {
    /// Mean over the classes that occur, background included.
    pub mean_iou: f64,
    /// By class name, including "background"; `None` for a class that occurs in neither truth nor prediction.
    pub iou: BTreeMap<String, Option<f64>>,
    /// Number of images that were compared.
    pub images: usize,
    /// Name of the split of the data set that was compared.
    pub split: String,
    /// The background threshold of a CAM's masks; `None` for masks made without one.
    pub threshold: Option<f32>,
}

impl StageScore {
    /// The score of `confusion` (C + 1 classes) over `images` images, with `classes` the C foreground names.
    ///
    /// # Errors
    /// When the confusion is not for these classes, or no pixel was compared.
    pub fn new(confusion: &Confusion, classes: &[String], split: &str, images: usize) -> Result<Self> {
        ensure!(
            confusion.classes() == classes.len() + 1,
            "a confusion of {} classes does not fit the {} classes and background of the data set",
            confusion.classes(),
            classes.len()
        );
        let mean_iou = confusion.mean_iou().with_context(|| {
            format!("no pixel of the split '{split}' has a true class to compare with: check its masks")
        })?;
        Ok(Self {
            mean_iou: 100.0 * mean_iou,
            iou: names(classes)
                .map(str::to_string)
                .zip(confusion.iou().into_iter().map(|v| v.map(|v| 100.0 * v)))
                .collect(),
            images,
            split: split.to_string(),
            threshold: None,
        })
    }
}

/// "background" and the class names, in the order of the values in a mask.
fn names(classes: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once(BACKGROUND).chain(classes.iter().map(String::as_str))
}

/// A plain text table of mIoU and the IoU of every class in percent, lines ended by `\n`: a row per stage, or a
/// column per stage where there are more than 8 classes. Thresholds follow below.
pub fn print_table(stages: &[(String, StageScore)], classes: &[String]) -> String {
    let heads = ["", "split", "mIoU"].into_iter().chain(names(classes));
    let mut lines = vec![heads.map(str::to_string).collect::<Vec<_>>()];
    for (stage, score) in stages {
        let mut line = vec![stage.clone(), score.split.clone(), number(score.mean_iou)];
        line.extend(names(classes).map(|name| {
            let value = score.iou.get(name).copied().flatten();
            value.map_or("-".to_string(), number)
        }));
        lines.push(line);
    }
    if classes.len() > MOST_COLUMNS {
        lines = transpose(&lines);
    }
    let mut text = align(&lines);
    for (stage, score) in stages {
        if let Some(threshold) = score.threshold {
            text += &format!("{stage}: background threshold {threshold:.2}\n");
        }
    }
    text
}

fn number(percent: f64) -> String {
    format!("{percent:.1}")
}

fn transpose(lines: &[Vec<String>]) -> Vec<Vec<String>> {
    let width = lines.iter().map(Vec::len).min().unwrap_or(0);
    (0..width)
        .map(|c| lines.iter().map(|line| line[c].clone()).collect())
        .collect()
}

/// First column to the left, the others to the right, two blanks between, a rule below the head.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|c| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (row, line) in lines.iter().enumerate() {
        let mut printed = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            printed += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text += printed.trim_end();
        text += "\n";
        if row == 0 {
            let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
            text += &"-".repeat(total);
            text += "\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(classes: &[String]) -> Vec<(String, StageScore)> {
        let mut confusion = Confusion::new(classes.len() + 1);
        confusion.add(&[0, 0, 1, 1], &[0, 1, 1, 1]).unwrap();
        let mut cam = StageScore::new(&confusion, classes, "train", 2).unwrap();
        cam.threshold = Some(0.3);
        vec![("cam".to_string(), cam.clone()), ("label".to_string(), cam)]
    }

    #[test]
    fn few_classes_are_columns() {
        let classes = ["cat".to_string(), "dog".to_string()];
        let table = print_table(&stages(&classes), &classes);
        assert_eq!(
            table,
            "       split  mIoU  background   cat  dog\n\
             -----------------------------------------\n\
             cam    train  58.3        50.0  66.7    -\n\
             label  train  58.3        50.0  66.7    -\n\
             cam: background threshold 0.30\n\
             label: background threshold 0.30\n"
        );
    }

    #[test]
    fn many_classes_are_rows() {
        let classes: Vec<String> = (0..20).map(|c| format!("class {c}")).collect();
        let table = print_table(&stages(&classes), &classes);
        assert_eq!(table.lines().count(), 2 + 2 + 21 + 2);
        assert!(table.starts_with("              cam  label\n"), "{table}");
        assert!(table.contains("\nmIoU         58.3   58.3\n"), "{table}");
        assert!(table.contains("\nclass 0      66.7   66.7\n"), "{table}");
    }

    #[test]
    fn nothing_compared_is_an_error() {
        let classes = ["cat".to_string()];
        assert!(StageScore::new(&Confusion::new(2), &classes, "val", 0).is_err());
        assert!(StageScore::new(&Confusion::new(3), &classes, "val", 0).is_err());
    }
}
