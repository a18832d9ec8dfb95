//! The neighbourhood of AffinityNet's pixel pairs (Eq. 4), which pair affinity and random walk share.

use burn::backend::wgpu::CubeTensor;
use cubecl::server::Handle;

/// One offset `(dy, dx)` for each pair of pixels closer than `radius`, pixel units, d² = dy² + dx² < radius².
///
/// Only the half plane that comes later in reading order is listed, since a pair has no direction: K = 34 for the
/// paper's radius of 5. A pixel's 2K neighbours are the offsets and their negatives.
pub fn offsets(radius: usize) -> Vec<(i32, i32)> {
    let r = radius as i32;
    let mut offsets = Vec::new();
    for dy in 0..r {
        for dx in (1 - r)..r {
            if (dy > 0 || dx > 0) && dy * dy + dx * dx < r * r {
                offsets.push((dy, dx));
            }
        }
    }
    offsets
}

/// [`offsets`] in the memory of the device that `like` is on, as pairs of i32 (dy, dx).
pub(super) fn upload(like: &CubeTensor, offsets: &[(i32, i32)]) -> Handle {
    let mut flat: Vec<i32> = offsets.iter().flat_map(|(dy, dx)| [*dy, *dx]).collect();
    if flat.is_empty() {
        // A storage buffer must not be empty.
        flat = vec![0, 0];
    }
    like.client.create_from_slice(bytemuck::cast_slice(&flat))
}

/// The overlap of a `[H, W]` image with itself shifted by (dy, dx), dy ≥ 0: for every row y of the overlap, the flat
/// start of the row here, of its partner row, and the length of both.
pub(super) fn overlap(h: usize, w: usize, (dy, dx): (i32, i32)) -> impl Iterator<Item = (usize, usize, usize)> {
    let dy = dy as usize;
    let skip = dx.unsigned_abs() as usize;
    let length = w.saturating_sub(skip);
    let (here, there) = if dx >= 0 { (0, skip) } else { (skip, 0) };
    (0..h.saturating_sub(dy))
        .filter(move |_| length > 0)
        .map(move |y| (y * w + here, (y + dy) * w + there, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radius_five_has_the_papers_34_pairs() {
        assert_eq!(offsets(5).len(), 34);
        assert_eq!(offsets(2), vec![(0, 1), (1, -1), (1, 0), (1, 1)]);
        assert!(offsets(1).is_empty());
    }
}
