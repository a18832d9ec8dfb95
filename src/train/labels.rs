//! The labels of a batch, as losses take them.

use anyhow::{Result, bail};

use crate::data::Batch;

/// The labels `[B, S, S]` of a batch of a training that has [`labels`](super::Fit::labels).
///
/// # Errors
/// Where the batch has none, which is a mistake of ours.
pub fn labels(batch: &Batch) -> Result<&[i32]> {
    let Some(labels) = &batch.labels else {
        bail!("a batch without labels: this is a bug in weakseg, please report it");
    };
    Ok(labels)
}

/// Maps `[B, S, S]`, of labels or anything else, at the resolution of a feature map `[B, h, w]`: the value at the
/// centre of every cell.
pub fn sample<T: Copy>(maps: &[T], size: usize, [h, w]: [usize; 2]) -> Vec<T> {
    let centre = |i: usize, n: usize| ((2 * i + 1) * size / (2 * n)).min(size - 1);
    let mut out = Vec::with_capacity(maps.len() / (size * size).max(1) * h * w);
    for map in maps.chunks_exact((size * size).max(1)) {
        for y in 0..h {
            for x in 0..w {
                out.push(map[centre(y, h) * size + centre(x, w)]);
            }
        }
    }
    out
}
