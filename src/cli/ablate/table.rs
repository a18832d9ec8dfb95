//! What the rows came to.

use std::path::PathBuf;

use serde::Serialize;

/// What a row came to.
#[derive(Serialize)]
pub struct RowResult {
    /// Numbers of the tables that have it.
    pub table: String,
    /// Its name.
    pub row: String,
    /// What the paper calls it.
    pub title: String,
    /// mIoU in the paper, percent.
    pub paper: Option<f64>,
    /// mIoU of the class activation maps at their best threshold, percent.
    pub mean_iou_maps: Option<f64>,
    /// mIoU of the network's own predictions, percent.
    pub mean_iou: Option<f64>,
    /// The same after the CRF.
    pub mean_iou_crf: Option<f64>,
    /// CIAN: the mean |gamma| of the messages after training; 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_gamma: Option<f64>,
    /// Its run directory.
    pub run: PathBuf,
}

/// The rows as aligned text.
pub fn table(rows: &[RowResult]) -> String {
    let width = |of: fn(&RowResult) -> &str| rows.iter().map(|o| of(o).chars().count()).max();
    let title = width(|o| &o.title).unwrap_or(0);
    let number = width(|o| &o.table).unwrap_or(0).max("table".len()) + 2;
    let has_maps = rows.iter().any(|o| o.mean_iou_maps.is_some());
    let maps = |text: &str| match has_maps {
        true => format!(" {text:>6}"),
        false => String::new(),
    };
    let has_gamma = rows.iter().any(|o| o.mean_gamma.is_some());
    let gamma = |text: &str| match has_gamma {
        true => format!(" {text:>7}"),
        false => String::new(),
    };
    let mut text = format!(
        "{:<number$}{:<title$}  {:>6}{} {:>6} {:>6}{}\n",
        "table",
        "row",
        "paper",
        maps("maps"),
        "mIoU",
        "+CRF",
        gamma("|gamma|")
    );
    let score = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
    for o in rows {
        text += &format!(
            "{:<number$}{:<title$}  {:>6}{} {:>6} {:>6}{}\n",
            o.table,
            o.title,
            score(o.paper),
            maps(&score(o.mean_iou_maps)),
            score(o.mean_iou),
            score(o.mean_iou_crf),
            gamma(&o.mean_gamma.map_or_else(|| "-".into(), |v| format!("{v:.4}")))
        );
    }
    text + "paper: VOC 2012 val; mIoU: the validation images of this data set"
        + if has_maps {
            "; maps: its training images, at the best threshold"
        } else {
            ""
        }
        + if has_gamma {
            "; |gamma|: how much of the messages is added"
        } else {
            ""
        }
}
