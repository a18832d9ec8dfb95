//! Filtering on the CPU: splat, blur along every axis of the lattice, and slice, with channels side by side in lanes.

use std::ops::Range;

use rayon::prelude::*;

use super::CpuLattice;

/// Lattice points or pixels that one parallel task handles.
const TASK: usize = 4096;

impl CpuLattice {
    /// Filters `values` `[C, N]`: a fixed share of sum_j exp(-|f_i - f_j|² / 2) v_j (see [`super`]), not
    /// normalised, `[C, N]`.
    ///
    /// `reversed` blurs along the axes in the opposite order, which makes the transpose of the filter. The result has
    /// the same bits whatever the number of threads.
    ///
    /// # Panics
    /// If `values` is not `channels` times the number of pixels long.
    pub fn filter(&self, values: &[f32], channels: usize, reversed: bool) -> Vec<f32> {
        assert_eq!(values.len(), channels * self.pixels, "values are not [C, N]");
        let mut out = vec![0.0; values.len()];
        for (values, out) in values.chunks(8 * self.pixels).zip(out.chunks_mut(8 * self.pixels)) {
            match values.len() / self.pixels {
                1 => self.filter_lanes::<1>(values, out, reversed),
                2 => self.filter_lanes::<2>(values, out, reversed),
                3 | 4 => self.filter_lanes::<4>(values, out, reversed),
                _ => self.filter_lanes::<8>(values, out, reversed),
            }
        }
        out
    }

    /// [`Self::filter`] for at most L channels.
    fn filter_lanes<const L: usize>(&self, values: &[f32], out: &mut [f32], reversed: bool) {
        let mut pixels = vec![[0.0f32; L]; self.pixels];
        for (lane, plane) in values.chunks_exact(self.pixels).enumerate() {
            for (pixel, value) in pixels.iter_mut().zip(plane) {
                pixel[lane] = *value;
            }
        }
        let (mut table, mut scratch) = (self.table(), Vec::new());
        self.splat(&mut table, &mut scratch, |n| (1.0, &pixels[n]));
        self.blur(&mut table, &mut scratch, reversed);
        pixels.par_chunks_mut(TASK).enumerate().for_each(|(task, pixels)| {
            self.slice(&table, task * TASK, pixels.len(), |i, value| pixels[i] = value);
        });
        for (lane, plane) in out.chunks_exact_mut(self.pixels).enumerate() {
            for (pixel, value) in pixels.iter().zip(plane) {
                *value = pixel[lane];
            }
        }
    }

    /// A table of lattice values `[M + 1, L]`, zero.
    pub fn table<const L: usize>(&self) -> Vec<[f32; L]> {
        vec![[0.0; L]; self.points + 1]
    }

    /// Fills `table` with the weighted sums of scale · values, which `value` tells of every pixel. `scratch` may hold
    /// anything, and does afterwards.
    pub fn splat<'a, const L: usize>(
        &self,
        table: &mut [[f32; L]],
        scratch: &mut Vec<[f32; L]>,
        value: impl Fn(usize) -> (f32, &'a [f32; L]) + Sync,
    ) {
        scratch.resize(self.ranges.iter().map(Range::len).sum(), [0.0; L]);
        let mut rest = &mut scratch[..];
        let mut stripes = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            let (own, others) = rest.split_at_mut(range.len());
            stripes.push((range, own));
            rest = others;
        }
        stripes.par_iter_mut().enumerate().for_each(|(i, (range, sums))| {
            sums.fill([0.0; L]);
            let (first, sums) = (i * self.stripe, &mut **sums);
            match self.dimensions + 1 {
                3 => self.scatter(3, first, range.start, sums, &value),
                6 => self.scatter(6, first, range.start, sums, &value),
                corners => self.scatter(corners, first, range.start, sums, &value),
            }
        });
        gather(table, &stripes);
    }

    /// Adds the pixels of the stripe that begins at pixel `first` to `sums`, whose row 0 is point `base`.
    #[inline(always)]
    fn scatter<'a, const L: usize>(
        &self,
        corners: usize,
        first: usize,
        base: usize,
        sums: &mut [[f32; L]],
        value: &impl Fn(usize) -> (f32, &'a [f32; L]),
    ) {
        let end = (first + self.stripe).min(self.pixels);
        let all = &self.corners[first * corners..end * corners];
        for (i, corners) in all.chunks_exact(corners).enumerate() {
            let (scale, values) = value(first + i);
            let values = values.map(|value| scale * value);
            for corner in corners {
                let sum = &mut sums[corner.index as usize - base];
                for lane in 0..L {
                    sum[lane] += corner.weight * values[lane];
                }
            }
        }
    }

    /// Blurs `table` along every axis: the binomial filter 1/2, 1, 1/2. `scratch` may hold
    /// anything, and does afterwards.
    pub fn blur<const L: usize>(&self, table: &mut Vec<[f32; L]>, scratch: &mut Vec<[f32; L]>, reversed: bool) {
        scratch.resize(table.len(), [0.0; L]);
        scratch[0] = [0.0; L];
        for step in 0..=self.dimensions {
            let axis = if reversed { self.dimensions - step } else { step };
            let neighbours = &self.neighbours[axis * self.points..][..self.points];
            scratch[1..]
                .par_chunks_mut(TASK)
                .zip(table[1..].par_chunks(TASK))
                .zip(neighbours.par_chunks(TASK))
                .for_each(|((out, own), neighbours)| {
                    for ((out, own), [a, b]) in out.iter_mut().zip(own).zip(neighbours) {
                        let (a, b) = (&table[*a as usize], &table[*b as usize]);
                        for lane in 0..L {
                            out[lane] = own[lane] + 0.5 * (a[lane] + b[lane]);
                        }
                    }
                });
            std::mem::swap(table, scratch);
        }
    }

    /// Hands the filtered values of `count` pixels from `first` on to `receive`, numbered from 0.
    #[inline(always)]
    pub fn slice<const L: usize>(
        &self,
        table: &[[f32; L]],
        first: usize,
        count: usize,
        receive: impl FnMut(usize, [f32; L]),
    ) {
        // The common numbers of corners as constants, for their loops to unroll.
        match self.dimensions + 1 {
            3 => self.slice_corners(3, table, first, count, receive),
            6 => self.slice_corners(6, table, first, count, receive),
            corners => self.slice_corners(corners, table, first, count, receive),
        }
    }

    #[inline(always)]
    fn slice_corners<const L: usize>(
        &self,
        corners: usize,
        table: &[[f32; L]],
        first: usize,
        count: usize,
        mut receive: impl FnMut(usize, [f32; L]),
    ) {
        // Makes up for the gain of the blur, Krähenbühl and Koltun's choice.
        let alpha = 1.0 / (1.0 + (-(self.dimensions as f32)).exp2());
        let all = &self.corners[first * corners..][..count * corners];
        for (i, corners) in all.chunks_exact(corners).enumerate() {
            let mut sum = [0.0; L];
            for corner in corners {
                let row = &table[corner.index as usize];
                for lane in 0..L {
                    sum[lane] += corner.weight * row[lane];
                }
            }
            receive(i, sum.map(|sum| alpha * sum));
        }
    }
}

/// Fills `table` with the sums of all stripes, each of which holds those of a range of its rows.
fn gather<const L: usize>(table: &mut [[f32; L]], stripes: &[(&Range<usize>, &mut [[f32; L]])]) {
    table.par_chunks_mut(TASK).enumerate().for_each(|(task, rows)| {
        rows.fill([0.0; L]);
        let first = task * TASK;
        for (range, sums) in stripes {
            let begin = range.start.max(first);
            let end = range.end.min(first + rows.len());
            if begin < end {
                let sums = &sums[begin - range.start..end - range.start];
                for (row, sum) in rows[begin - first..].iter_mut().zip(sums) {
                    for lane in 0..L {
                        row[lane] += sum[lane];
                    }
                }
            }
        }
    });
}
