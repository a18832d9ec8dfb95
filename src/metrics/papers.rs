//! What the papers report for PASCAL VOC 2012, from `assets/papers/voc2012.toml`.

use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::StageScore;

const VOC2012: &str = include_str!("../../assets/papers/voc2012.toml");

/// A row of a paper's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The method's name.
    pub paper: String,
    /// Number of the table.
    pub table: u32,
    /// What the table calls the row.
    pub row: String,
    /// The split that was scored: `val` or `test`.
    pub split: String,
    /// The network that segments.
    pub network: String,
    /// Mean IoU as printed, percent.
    pub mean_iou: f64,
    /// IoU of background and VOC's twenty classes in their order, percent.
    pub iou: [f64; 21],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rows: Vec<Row>,
}

/// The rows with a value per class, of methods without saliency maps or further data.
///
/// # Errors
/// Never, unless the embedded file is damaged.
pub fn voc2012() -> Result<Vec<Row>> {
    let file: File =
        toml::from_str(VOC2012).context("assets/papers/voc2012.toml: this is a bug in weakseg, please report it")?;
    Ok(file.rows)
}

impl Row {
    /// As a score to print beside measured ones; `classes` are VOC's twenty.
    pub fn score(&self, classes: &[String]) -> StageScore {
        let names = std::iter::once("background").chain(classes.iter().map(String::as_str));
        StageScore {
            mean_iou: self.mean_iou,
            iou: names
                .map(str::to_owned)
                .zip(self.iou.iter().copied().map(Some))
                .collect(),
            images: 0,
            split: self.split.clone(),
            threshold: None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, Table {}, {} ({})",
            self.paper, self.table, self.row, self.network
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_every_row_is_the_printed_one() {
        let rows = voc2012().unwrap();
        for row in &rows {
            let mean = row.iou.iter().sum::<f64>() / 21.0;
            assert!((mean - row.mean_iou).abs() < 0.11, "{row}: {mean}");
            assert!(["val", "test"].contains(&row.split.as_str()));
        }
        let has = |paper, split| rows.iter().any(|r| r.paper == paper && r.split == split);
        for paper in ["AffinityNet", "RRM", "AALR", "CIAN"] {
            assert!(has(paper, "val"), "{paper}");
        }
        assert!(has("AffinityNet", "test") && has("RRM", "test"));
    }
}
