//! Reliable labels: the few pixels whose class both the class activation maps and a dense CRF are sure of (RRM,
//! Zhang et al. 2020, Eq. 6–7).
//!
//! Scores are `[K, H, W]` in [0, 1], row 0 the background's and the others those of an image's classes, as
//! [`crate::maps::with_background`] gives them; a CRF's posterior has the same rows.

use ndarray::{Array2, ArrayView2, ArrayView3};

use crate::losses::cross_entropy::IGNORE;

/// Labels of the reliable pixels of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliable {
    /// `[H, W]`: the mask value of a reliable pixel, 255 elsewhere.
    pub labels: Array2<i32>,
    /// `[H, W]`: what the maps score the pixel's label, in [0, 1]; 0 without one.
    pub confidence: Array2<f32>,
}

impl Reliable {
    /// No label in `[H, W]`.
    pub fn none(size: (usize, usize)) -> Reliable {
        Reliable {
            labels: Array2::from_elem(size, IGNORE),
            confidence: Array2::zeros(size),
        }
    }
}

/// The paper's rule: where maps and CRF name one class (Eq. 7), the best `share` in (0, 1] of the pixels that the maps
/// give to each class, background included (Eq. 6 with an α for every class).
///
/// `maps` and `crf` `[K, H, W]`, `values[k]` the mask value of row k. Pixels outside of `inside` `[H, W]` take no part.
/// With the maps as `crf` too, these are labels without a CRF ("CAM" in Table 2). Pixels of one score stay or go
/// together, so that a flat map may keep more than its share.
pub fn best_share(
    maps: ArrayView3<f32>,
    crf: ArrayView3<f32>,
    values: &[u8],
    inside: ArrayView2<bool>,
    share: f32,
) -> Reliable {
    let (named, refined) = (BestRows::new(maps, inside), BestRows::new(crf, inside));
    let least: Vec<f32> = (0..values.len())
        .map(|row| {
            let scores = named.scores(row, f32::NEG_INFINITY);
            let kept = (share.clamp(0.0, 1.0) * scores.len() as f32).ceil().max(1.0) as usize;
            let first = scores.len().saturating_sub(kept);
            scores.get(first).copied().unwrap_or(f32::INFINITY)
        })
        .collect();
    label(maps, values, |at| {
        let row = named.row[at]?;
        (refined.row[at] == Some(row) && named.score[at] >= *least.get(row)?).then_some(row)
    })
}

/// Thresholds of the released code's rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Share of a class's pixels that is kept: those above its (1 - share) quantile.
    pub share: f32,
    /// Least score of a class's pixels that count for its quantile.
    pub foreground: f32,
    /// Least background score of the maps.
    pub background: f32,
    /// Least score of the CRF.
    pub crf: f32,
}

impl Default for Thresholds {
    /// The released values.
    fn default() -> Self {
        Thresholds {
            share: 0.4,
            foreground: 0.1,
            background: 0.8,
            crf: 0.8,
        }
    }
}

/// The released code's rule: foreground as the CRF under a strong background has it, background as the one under a weak
/// background has it, where that CRF's score is high and the maps are sure of something, be it another class.
///
/// `maps` have the weak background; `strong` and `weak` are the CRF's posteriors under the low exponent (4) and the
/// high one (32). Otherwise as [`best_share`].
pub fn released(
    maps: ArrayView3<f32>,
    [strong, weak]: [ArrayView3<f32>; 2],
    values: &[u8],
    inside: ArrayView2<bool>,
    thresholds: Thresholds,
) -> Reliable {
    let named = BestRows::new(maps, inside);
    let (foreground, background) = (BestRows::new(strong, inside), BestRows::new(weak, inside));
    let above: Vec<f32> = (0..values.len())
        .map(|row| {
            if row == 0 {
                return thresholds.background;
            }
            if !foreground.row.iter().any(|r| *r == Some(row)) {
                return f32::INFINITY;
            }
            let scores = named.scores(row, thresholds.foreground);
            let quantile = (1.0 - thresholds.share.clamp(0.0, 1.0)) * scores.len() as f32;
            let threshold = scores.get((quantile as usize).min(scores.len().saturating_sub(1)));
            threshold.copied().unwrap_or(f32::INFINITY)
        })
        .collect();
    label(maps, values, |at| {
        let is_sure = named.score[at] > *above.get(named.row[at]?)?;
        let row = match (background.row[at]?, foreground.row[at]?) {
            (0, _) => 0,
            (_, 0) => return None,
            (_, row) => row,
        };
        let (y, x) = at;
        let rest = strong.outer_iter().skip(1).map(|map| map[[y, x]]);
        let crf = rest.fold(weak[[0, y, x]], f32::max);
        (is_sure && crf >= thresholds.crf).then_some(row)
    })
}

/// The row of the highest score of each pixel, the first of equal ones, and that score.
struct BestRows {
    /// `[H, W]`: `None` outside, and where no score is a number.
    row: Array2<Option<usize>>,
    /// `[H, W]`
    score: Array2<f32>,
}

impl BestRows {
    fn new(scores: ArrayView3<f32>, inside: ArrayView2<bool>) -> BestRows {
        let mut row = Array2::from_elem(inside.dim(), None);
        let mut score = Array2::from_elem(inside.dim(), f32::NEG_INFINITY);
        for (k, map) in scores.outer_iter().enumerate() {
            ndarray::Zip::from(&mut row)
                .and(&mut score)
                .and(map)
                .and(inside)
                .for_each(|row, best, score, inside| {
                    if *inside && *score > *best {
                        (*row, *best) = (Some(k), *score);
                    }
                });
        }
        BestRows { row, score }
    }

    /// The scores above `least` of the pixels that `row` wins, ascending.
    fn scores(&self, row: usize, least: f32) -> Vec<f32> {
        let won = self.row.iter().zip(&self.score);
        let mut scores: Vec<f32> = won
            .filter(|(r, score)| **r == Some(row) && **score > least)
            .map(|(_, score)| *score)
            .collect();
        scores.sort_unstable_by(f32::total_cmp);
        scores
    }
}

/// Labels from the row, if any, that `choose` gives a pixel.
fn label(maps: ArrayView3<f32>, values: &[u8], choose: impl Fn((usize, usize)) -> Option<usize>) -> Reliable {
    let (_, h, w) = maps.dim();
    let rows = Array2::from_shape_fn((h, w), choose);
    let value = |row: &Option<usize>| row.and_then(|row| values.get(row));
    Reliable {
        labels: rows.map(|row| value(row).map_or(IGNORE, |v| i32::from(*v))),
        confidence: Array2::from_shape_fn((h, w), |at| rows[at].map_or(0.0, |row| maps[[row, at.0, at.1]])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, Axis, array, stack};

    /// Scores of the background and of class value 7 from the class's.
    fn scores(class: &[f32]) -> Array3<f32> {
        let class = Array2::from_shape_vec((1, class.len()), class.to_vec()).unwrap();
        stack![Axis(0), class.mapv(|c| 1.0 - c), class]
    }

    const VALUES: [u8; 2] = [0, 7];

    fn best(maps: &[f32], crf: &[f32], share: f32) -> Vec<i32> {
        let inside = Array2::from_elem((1, maps.len()), true);
        let (maps, crf) = (scores(maps), scores(crf));
        let reliable = best_share(maps.view(), crf.view(), &VALUES, inside.view(), share);
        reliable.labels.into_iter().collect()
    }

    #[test]
    fn the_best_share_of_each_class_that_the_crf_agrees_with() {
        let maps = [0.9, 0.8, 0.7, 0.6, 0.55, 0.0, 0.1, 0.2, 0.3, 0.4];
        let agree = maps;
        let all = [7, 7, 7, 7, 7, 0, 0, 0, 0, 0];
        let some = [7, 7, 255, 255, 255, 0, 0, 255, 255, 255];
        assert_eq!(best(&maps, &agree, 1.0), all);
        assert_eq!(best(&maps, &agree, 0.4), some);
        assert_eq!(best(&maps, &agree, 0.1), [7, 255, 255, 255, 255, 0, 255, 255, 255, 255]);
        // The share is of what the maps say: pixels that the CRF denies are not made up for.
        let crf = [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1];
        let denied = [255, 7, 255, 255, 255, 255, 0, 255, 255, 255];
        assert_eq!(best(&maps, &crf, 0.4), denied);
        assert_eq!(best(&[0.0; 3], &[0.0; 3], 0.4), [0; 3], "equal scores");
    }

    #[test]
    fn only_pixels_inside_count_and_confidence_is_the_maps() {
        let maps = scores(&[0.9, 0.8, 0.6, 0.2]);
        let inside = array![[false, true, true, true]];
        let reliable = best_share(maps.view(), maps.view(), &VALUES, inside.view(), 0.5);
        assert_eq!(reliable.labels, array![[255, 7, 255, 0]]);
        assert_eq!(reliable.confidence, array![[0.0, 0.8, 0.0, 0.8]]);
        let none = Array2::from_elem((1, 4), false);
        let reliable = best_share(maps.view(), maps.view(), &VALUES, none.view(), 0.5);
        assert_eq!(reliable.labels, array![[255; 4]]);
        let not_numbers = Array3::from_elem((2, 1, 4), f32::NAN);
        let reliable = best_share(not_numbers.view(), maps.view(), &VALUES, inside.view(), 0.5);
        assert_eq!(reliable.labels, array![[255; 4]]);
    }

    #[test]
    fn the_released_rule() {
        // Six pixels of class 7 and two of background by the maps; 0.55 is the 60th percentile.
        let maps = scores(&[0.95, 0.9, 0.7, 0.55, 0.54, 0.53, 0.1, 0.3]);
        let strong = scores(&[0.9, 0.7, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1]);
        let weak = scores(&[0.95, 0.9, 0.9, 0.95, 0.95, 0.95, 0.05, 0.05]);
        let inside = Array2::from_elem((1, 8), true);
        let label = |maps: &Array3<f32>, inside: &Array2<bool>| {
            let crf = [strong.view(), weak.view()];
            released(maps.view(), crf, &VALUES, inside.view(), Thresholds::default()).labels
        };
        // Pixel 1: CRF below 0.8; 2: foreground only under the weak background; 3 to 5: not above the percentile; 7:
        // background below 0.8.
        assert_eq!(label(&maps, &inside), array![[7, 255, 255, 255, 255, 255, 0, 255]]);
        assert_eq!(label(&scores(&[0.0; 8]), &inside)[[0, 7]], 0);
        assert_eq!(label(&maps, &inside.mapv(|i| !i)), array![[255; 8]]);
    }
}
