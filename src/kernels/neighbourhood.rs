//! The neighbourhood of AffinityNet's pixel pairs (Eq. 4).

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
