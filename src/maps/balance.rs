//! How much of all images is foreground: before a random walk, and after it.
//!
//! Eq. 2 takes one exponent for the background of all images. After the walk, how much then is foreground hangs on how
//! peaked the maps are and on how well AffinityNet has learnt, which differ between forty images and six hundred. How
//! much the maps hold themselves differs little, so that the share of foreground after the walk is kept near theirs.

use super::Maps;

/// Bins of a score in [0, 1].
const PEAKS: usize = 256;
/// Bins of a quotient of foreground's score and background's, in powers of two from 2^-16 to 2^16.
const QUOTIENTS: usize = 4096;
/// Of these, powers of two on either side.
const OCTAVES: f32 = 16.0;

/// Counts over the pixels of all images.
#[derive(Clone, Debug)]
pub struct Balance {
    /// The largest class map at a pixel, in [0, 1].
    peaks: Vec<u64>,
    /// The largest class score at a pixel after the walk, divided by the background's.
    quotients: Vec<u64>,
}

impl Default for Balance {
    fn default() -> Self {
        Balance {
            peaks: vec![0; PEAKS],
            quotients: vec![0; QUOTIENTS],
        }
    }
}

impl Balance {
    /// Counts one image: its class maps `[K, H, W]` in [0, 1], and its scores `[K + 1, H, W]` after the walk, the
    /// background's in front. One without classes does not count: it is background with any factor, and its file of
    /// class maps does not tell how many pixels it has.
    pub fn add(&mut self, maps: &Maps, scores: &Maps) {
        if maps.classes.is_empty() {
            return;
        }
        for peak in &maps.peaks() {
            let bin = (peak * PEAKS as f32) as usize;
            self.peaks[bin.min(PEAKS - 1)] += 1;
        }
        let mut rows = scores.maps.outer_iter();
        let Some(background) = rows.next() else {
            return;
        };
        let foreground = rows.fold(ndarray::Array2::zeros(background.raw_dim()), |mut best, row| {
            best.zip_mut_with(&row, |best: &mut f32, score| *best = best.max(*score));
            best
        });
        for (foreground, background) in foreground.iter().zip(background) {
            self.quotients[quotient_bin(*foreground, *background)] += 1;
        }
    }

    /// Adds the counts of other images.
    pub fn merge(&mut self, other: &Balance) {
        let pairs = |ours: &mut Vec<u64>, theirs: &[u64]| {
            ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        };
        pairs(&mut self.peaks, &other.peaks);
        pairs(&mut self.quotients, &other.quotients);
    }

    /// What background's scores after the walk are to be multiplied by, so that foreground's share of all pixels is
    /// at most `within` (a share of it) away from the share of the maps beyond their own threshold, which is Otsu's
    /// (1979): the one that parts their values best in two. 1 where it is that near already, and where all values are
    /// alike.
    pub fn factor(&self, within: f32) -> f32 {
        let Some(threshold) = otsu(&self.peaks) else {
            return 1.0;
        };
        let wanted = share_above(&self.peaks, threshold);
        let share = share_above(&self.quotients, QUOTIENTS / 2 - 1);
        let within = f64::from(within);
        let target = share.clamp(wanted * (1.0 - within), wanted * (1.0 + within));
        if target == share {
            return 1.0;
        }
        // Shares fall from the first bin to the last: the first of those nearest to the target.
        let nearest = (0..QUOTIENTS).min_by(|a, b| {
            let distance = |bin: usize| (share_above(&self.quotients, bin) - target).abs();
            distance(*a).total_cmp(&distance(*b))
        });
        let end = nearest.unwrap_or(QUOTIENTS / 2 - 1) + 1;
        (end as f32 * 2.0 * OCTAVES / QUOTIENTS as f32 - OCTAVES).exp2()
    }
}

/// The bin of a quotient of two scores, neither below 0.
fn quotient_bin(foreground: f32, background: f32) -> usize {
    if foreground <= 0.0 {
        return 0;
    }
    let octave = (foreground / background).log2().clamp(-OCTAVES, OCTAVES);
    let bin = (octave + OCTAVES) * QUOTIENTS as f32 / (2.0 * OCTAVES);
    (bin as usize).min(QUOTIENTS - 1)
}

/// Share of what is counted in bins after `bin`.
fn share_above(counts: &[u64], bin: usize) -> f64 {
    let all: u64 = counts.iter().sum();
    let above: u64 = counts.iter().skip(bin + 1).sum();
    above as f64 / all.max(1) as f64
}

/// The last bin of the lower part where a histogram is parted so that the variance between the parts is largest: Otsu,
/// "A threshold selection method from gray-level histograms", 1979. None where nothing parts it.
fn otsu(counts: &[u64]) -> Option<usize> {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let mean = |part: &[u64], first: usize| -> f64 {
        let places = part.iter().enumerate();
        places.map(|(i, n)| (first + i) as f64 * *n as f64).sum::<f64>() / all
    };
    let whole = mean(counts, 0);
    let between = |bin: &usize| {
        let (low, _) = counts.split_at(bin + 1);
        let share = low.iter().sum::<u64>() as f64 / all;
        let spread = share * (1.0 - share);
        match spread > 0.0 {
            true => (whole * share - mean(low, 0)).powi(2) / spread,
            false => 0.0,
        }
    };
    (0..counts.len())
        .filter(|bin| between(bin) > 0.0)
        .max_by(|a, b| between(a).total_cmp(&between(b)).then(b.cmp(a)))
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    /// A map that fires at `fires` of 100 pixels, and scores after a walk in which foreground wins at `wins` of them.
    fn image(fires: usize, wins: usize) -> (Maps, Maps) {
        let maps = Array3::from_shape_fn((1, 10, 10), |(_, y, x)| match y * 10 + x < fires {
            true => 0.9,
            false => 0.1,
        });
        // Foreground falls from pixel to pixel, background is the same everywhere.
        let scores = Array3::from_shape_fn((2, 10, 10), |(row, y, x)| match row {
            0 => 1.0 / (wins as f32 + 0.5),
            _ => 1.0 / (1.0 + (y * 10 + x) as f32),
        });
        let of = |classes: Vec<usize>, maps| Maps { classes, maps };
        (of(vec![1], maps), of(vec![0, 1], scores))
    }

    fn share_after(scores: &Maps, factor: f32) -> usize {
        let row = scores.maps.index_axis(ndarray::Axis(0), 1);
        let background = scores.maps[[0, 0, 0]];
        row.iter().filter(|s| **s > factor * background).count()
    }

    #[test]
    fn foreground_keeps_the_share_that_the_maps_have() {
        for (fires, wins, expected) in [(30, 31, 31), (30, 60, 33), (30, 10, 27), (0, 40, 40)] {
            let (maps, scores) = image(fires, wins);
            assert_eq!(share_after(&scores, 1.0), wins);
            let mut balance = Balance::default();
            balance.add(&maps, &scores);
            let after = share_after(&scores, balance.factor(0.1));
            assert_eq!(after, expected, "{fires} of 100 fire, {wins} win");
        }
    }

    #[test]
    fn images_count_alike_in_one_or_apart() {
        let (a, b) = (image(30, 60), image(20, 10));
        let mut together = Balance::default();
        together.add(&a.0, &a.1);
        together.add(&b.0, &b.1);
        let mut first = Balance::default();
        first.add(&a.0, &a.1);
        let mut second = Balance::default();
        second.add(&b.0, &b.1);
        second.merge(&first);
        assert_eq!(together.factor(0.1), second.factor(0.1));
    }

    #[test]
    fn an_image_without_classes_does_not_count() {
        let (maps, scores) = image(30, 31);
        let mut balance = Balance::default();
        balance.add(&maps, &scores);
        let none = Maps {
            classes: vec![],
            maps: Array3::zeros((0, 0, 0)),
        };
        let background = Maps {
            classes: vec![0],
            maps: Array3::ones((1, 30, 30)),
        };
        balance.add(&none, &background);
        assert_eq!(
            balance.factor(0.1),
            1.0,
            "31 of 100 pixels are foreground after the walk, not of 1,000"
        );
    }

    #[test]
    fn otsu_parts_two_heaps() {
        let mut counts = [0u64; 10];
        counts[2] = 50;
        counts[7] = 50;
        assert_eq!(otsu(&counts), Some(2));
        counts[7] = 0;
        assert_eq!(otsu(&counts), None);
    }
}
