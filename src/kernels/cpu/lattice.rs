//! The permutohedral lattice (Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral
//! Lattice"): a Gaussian filter over any features, linear in the number of pixels.
//!
//! Values are splatted onto the vertices of the simplex that a pixel lies in, blurred along the d + 1 axes of the
//! lattice, and sliced back. Scales, blur and the final factor are those of Krähenbühl and Koltun's implementation,
//! which pydensecrf and the regularised losses share, so sums compare with theirs: they are about half of the exact
//! Gaussian's.

mod embedding;
mod points;

use anyhow::{Result, bail, ensure};
use rayon::prelude::*;

use embedding::{Embedding, Radix};
use points::{Key, Points};

/// Most feature dimensions; more would neither fit into the packed keys nor filter anything in practice.
const MAX_DIMENSIONS: usize = 16;
/// Lattice points or pixels that one parallel task handles.
const TASK: usize = 4096;

/// The lattice of one image under one kernel: built once, used by every filter.
///
/// Lattice points are numbered from 1 in the order in which the pixels touch them; row 0 of a table of values stays
/// zero and stands for every neighbour that no pixel touches.
pub struct Lattice {
    dimensions: usize,
    pixels: usize,
    points: usize,
    /// `[N, d + 1]`: the lattice points of a pixel's simplex and its barycentric weights on them.
    corners: Vec<Corner>,
    /// `[d + 1, M]`: both neighbours of a lattice point along an axis.
    neighbours: Vec<[u32; 2]>,
    /// `[M + 1]`: where the pixels of a lattice point begin in `members`.
    starts: Vec<u32>,
    /// `[N (d + 1)]`: the pixels of every lattice point and their weights on it, in the order of the pixels.
    members: Vec<Corner>,
}

/// A lattice point that a pixel touches, or a pixel that a lattice point is touched by.
#[derive(Clone, Copy, Default)]
struct Corner {
    index: u32,
    weight: f32,
}

impl Lattice {
    /// Builds the lattice of `features` `[D, N]`, each divided by its standard deviation.
    ///
    /// # Errors
    /// On D outside of 1..=16, N = 0 or a length that is not a multiple of D, NaN or infinite features, features that
    /// spread over too many standard deviations, and more than 2^32 - 2 vertices.
    pub fn build(features: &[f32], d: usize) -> Result<Lattice> {
        ensure!(
            (1..=MAX_DIMENSIONS).contains(&d),
            "a lattice of {d} dimensions: use 1 to {MAX_DIMENSIONS}"
        );
        ensure!(
            !features.is_empty() && features.len().is_multiple_of(d),
            "{} feature values are no image in {d} dimensions",
            features.len()
        );
        let pixels = features.len() / d;
        ensure!(
            pixels
                .checked_mul(d + 1)
                .is_some_and(|n| n < u32::MAX as usize),
            "{pixels} pixels in {d} dimensions: more than a lattice can number, use a smaller image"
        );
        let embedding = Embedding::new(features, d)?;
        if let Some(radix) = embedding.radix::<u64>() {
            return Ok(Self::number(&embedding, &radix, d, pixels));
        }
        let Some(radix) = embedding.radix::<u128>() else {
            bail!(
                "features spread too far for a lattice of {d} dimensions: use larger standard deviations"
            );
        };
        Ok(Self::number(&embedding, &radix, d, pixels))
    }

    /// Every thread numbers the points of a stripe of pixels. Numbering theirs again stripe by stripe gives the
    /// numbers that one thread alone would give.
    fn number<K: Key>(embedding: &Embedding, radix: &Radix<K>, d: usize, pixels: usize) -> Lattice {
        let mut corners = vec![Corner::default(); pixels * (d + 1)];
        let stripe = pixels.div_ceil(rayon::current_num_threads());
        let mut stripes: Vec<Points<K>> = corners
            .par_chunks_mut(stripe * (d + 1))
            .enumerate()
            .map(|(i, corners)| {
                let mut points = Points::new();
                embedding.embed(i * stripe, corners, radix, &mut points);
                points
            })
            .collect();
        let rest = stripes.split_off(1);
        let mut all = stripes.pop().unwrap_or_else(Points::new);
        let renumbered: Vec<Vec<u32>> = rest
            .into_iter()
            .map(|points| points.keys().iter().map(|key| all.insert(*key)).collect())
            .collect();
        corners
            .par_chunks_mut(stripe * (d + 1))
            .skip(1)
            .zip(&renumbered)
            .for_each(|(corners, numbers)| {
                for corner in corners {
                    corner.index = numbers[corner.index as usize - 1];
                }
            });

        let count = all.keys().len();
        let mut neighbours = vec![[0u32; 2]; (d + 1) * count];
        neighbours
            .par_chunks_exact_mut(count)
            .enumerate()
            .for_each(|(axis, row)| {
                let step = radix.step(axis);
                for (i, key) in all.keys().iter().enumerate() {
                    let there = all.find(key.add(step));
                    if there > 0 {
                        row[i][0] = there;
                        row[there as usize - 1][1] = i as u32 + 1;
                    }
                }
            });
        drop(all);
        let (starts, members) = invert(&corners, d + 1, count);
        Lattice {
            dimensions: d,
            pixels,
            points: count,
            corners,
            neighbours,
            starts,
            members,
        }
    }

    /// D.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// N.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// M, the number of lattice points.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Filters `values` `[C, N]`: about half of sum_j exp(-|f_i - f_j|² / 2) v_j, not normalised, `[C, N]`.
    ///
    /// `reversed` blurs along the axes in the opposite order, which makes the transpose of the filter. The result has
    /// the same bits whatever the number of threads.
    ///
    /// # Panics
    /// If `values` is not `channels` times the number of pixels long.
    pub fn filter(&self, values: &[f32], channels: usize, reversed: bool) -> Vec<f32> {
        assert_eq!(
            values.len(),
            channels * self.pixels,
            "values are not [C, N]"
        );
        let mut out = vec![0.0; values.len()];
        for (values, out) in values
            .chunks(8 * self.pixels)
            .zip(out.chunks_mut(8 * self.pixels))
        {
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
        let mut table = self.table();
        self.splat(&mut table, |n| (1.0, &pixels[n]));
        self.blur(&mut table, &mut Vec::new(), reversed);
        pixels
            .par_chunks_mut(TASK)
            .enumerate()
            .for_each(|(task, pixels)| {
                self.slice(&table, task * TASK, pixels.len(), |i, value| {
                    pixels[i] = value
                });
            });
        for (lane, plane) in out.chunks_exact_mut(self.pixels).enumerate() {
            for (pixel, value) in pixels.iter().zip(plane) {
                *value = pixel[lane];
            }
        }
    }

    /// A table of lattice values `[M + 1, L]`, zero.
    pub(super) fn table<const L: usize>(&self) -> Vec<[f32; L]> {
        vec![[0.0; L]; self.points + 1]
    }

    /// Fills `table` with the weighted sums of scale · values, which `value` tells of every pixel. Every point gathers
    /// from its pixels, so that sums have one order.
    pub(super) fn splat<'a, const L: usize>(
        &self,
        table: &mut [[f32; L]],
        value: impl Fn(usize) -> (f32, &'a [f32; L]) + Sync,
    ) {
        table[1..]
            .par_chunks_mut(TASK)
            .enumerate()
            .for_each(|(task, rows)| {
                let starts = &self.starts[task * TASK..];
                for (row, bounds) in rows.iter_mut().zip(starts.windows(2)) {
                    let members = &self.members[bounds[0] as usize..bounds[1] as usize];
                    let (fours, rest) = members.as_chunks::<4>();
                    // Four sums side by side: additions need not wait for one another.
                    let mut sums = [[0.0; L]; 4];
                    let mut add = |members: &[Corner]| {
                        for (sum, member) in sums.iter_mut().zip(members) {
                            let (scale, values) = value(member.index as usize);
                            let weight = member.weight * scale;
                            for lane in 0..L {
                                sum[lane] += weight * values[lane];
                            }
                        }
                    };
                    fours.iter().for_each(|four| add(four));
                    add(rest);
                    let [a, b, c, d] = sums;
                    for lane in 0..L {
                        row[lane] = (a[lane] + b[lane]) + (c[lane] + d[lane]);
                    }
                }
            });
    }

    /// Blurs `table` along every axis: the binomial filter 1/2, 1, 1/2. `scratch` is any table or empty.
    pub(super) fn blur<const L: usize>(
        &self,
        table: &mut Vec<[f32; L]>,
        scratch: &mut Vec<[f32; L]>,
        reversed: bool,
    ) {
        scratch.resize(table.len(), [0.0; L]);
        for step in 0..=self.dimensions {
            let axis = if reversed {
                self.dimensions - step
            } else {
                step
            };
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
    pub(super) fn slice<const L: usize>(
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

/// The pixels of every lattice point, in the order of the pixels: a counting sort, in which every thread looks for the
/// members of its own range of points.
fn invert(corners: &[Corner], per_pixel: usize, points: usize) -> (Vec<u32>, Vec<Corner>) {
    let range = points.div_ceil(rayon::current_num_threads());
    let mut starts = vec![0u32; points + 1];
    starts[..points]
        .par_chunks_mut(range)
        .enumerate()
        .for_each(|(i, counts)| {
            let first = (i * range + 1) as u32;
            for corner in corners {
                if let Some(count) = counts.get_mut(corner.index.wrapping_sub(first) as usize) {
                    *count += 1;
                }
            }
        });
    let mut total = 0;
    for start in &mut starts {
        let count = *start;
        *start = total;
        total += count;
    }

    let mut members = vec![Corner::default(); corners.len()];
    let mut rest = &mut members[..];
    let mut ranges = Vec::new();
    for begins in starts[..points].chunks(range) {
        let end = starts[(ranges.len() + 1).saturating_mul(range).min(points)];
        let (own, others) = rest.split_at_mut((end - begins[0]) as usize);
        ranges.push((begins, own));
        rest = others;
    }
    ranges
        .into_par_iter()
        .enumerate()
        .for_each(|(i, (begins, own))| {
            let first = (i * range + 1) as u32;
            let mut next: Vec<u32> = begins.iter().map(|begin| begin - begins[0]).collect();
            for (n, pixel) in corners.chunks_exact(per_pixel).enumerate() {
                for corner in pixel {
                    if let Some(slot) = next.get_mut(corner.index.wrapping_sub(first) as usize) {
                        own[*slot as usize] = Corner {
                            index: n as u32,
                            weight: corner.weight,
                        };
                        *slot += 1;
                    }
                }
            }
        });
    (starts, members)
}
