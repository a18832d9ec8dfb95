//! What a segmentation network says of an image that it is shown in overlapping tiles.
//!
//! Tiles lie on the grid of the network's strides and differ from the whole image in size by a multiple of it, so that
//! every layer pads them alike; of what overlaps, each tile gives what is nearer to its middle. So a score is that of
//! the whole image where no border of a tile is within the network's field of view. What a head takes from the whole
//! image (the mean of ASPP, messages between pixels of CIAN) it takes from the tile.

use std::ops::Range;

use anyhow::{Context as _, Result};
use burn::tensor::Tensor;
use burn::tensor::TensorData;
use image::RgbImage;
use ndarray::{Array3, s};

use super::multi_scale::download_maps;
use super::sampled::{Window, window};
use super::trained::Trained;
use crate::models::backbones::Backbone;

/// No backbone's levels are coarser than this many pixels, and their strides divide it.
const GRID: usize = 32;
/// Pixels of a tile beyond those that it gives the scores of, on each side, where the tile has four times as many.
/// Fields of view are larger, but what is further away counts little: ours, at the mask's rims on VOC's photographs.
const MARGIN: usize = 128;
/// The shortest side of a tile: less would be margins alone.
pub(super) const SHORTEST: usize = 6 * GRID;

/// Tiles along one side of an image.
#[derive(Debug, PartialEq, Eq)]
struct Along {
    /// Pixels of a tile.
    tile: usize,
    /// The first pixel of each.
    starts: Vec<usize>,
}

impl Along {
    /// Tiles of at most `most` pixels, at least [`SHORTEST`], along `side`.
    fn new(side: usize, most: usize) -> Along {
        let most = most.max(SHORTEST);
        if side <= most {
            return Along {
                tile: side,
                starts: vec![0],
            };
        }
        let tile = most - (most - side % GRID) % GRID;
        let last = side - tile;
        let step = tile - 2 * MARGIN.min(tile / 4) - GRID;
        let count = last.div_ceil(step);
        let starts = (0..=count).map(|i| last * i / count / GRID * GRID).collect();
        Along { tile, starts }
    }

    /// The pixels that tile `i` gives the scores of.
    fn given(&self, i: usize) -> Range<usize> {
        let middle = |a: usize, b: usize| (b + a + self.tile) / 2;
        let start = match i.checked_sub(1) {
            Some(before) => middle(self.starts[before], self.starts[i]),
            None => 0,
        };
        let end = match self.starts.get(i + 1) {
            Some(next) => middle(self.starts[i], *next),
            None => self.starts[i] + self.tile,
        };
        start..end
    }
}

/// Scores `[C + 1, h, w]`, background first, of what the network sees of `image` at `size` (height, width), mirrored
/// or not, from tiles of at most `pixels` pixels.
///
/// # Errors
/// Where the device fails.
pub(super) fn scores(
    trained: &Trained,
    image: &RgbImage,
    size: [usize; 2],
    mirrored: bool,
    pixels: usize,
) -> Result<Array3<f32>> {
    let most = pixels.isqrt();
    let segmenter = trained.network.segmenter()?;
    // Levels of several sizes are brought to one another's, which a tile does as the whole image where both are whole
    // numbers of cells.
    let is_rounded = matches!(trained.network.backbone, Backbone::EfficientNetLite(_));
    let size = size.map(|side| match is_rounded && side > most.max(SHORTEST) {
        true => (side + GRID / 2) / GRID * GRID,
        false => side,
    });
    let [down, across] = size.map(|side| Along::new(side, most));
    let mut whole: Option<Array3<f32>> = None;
    for (i, top) in down.starts.iter().enumerate() {
        for (j, left) in across.starts.iter().enumerate() {
            let part = Window {
                size,
                rows: *top..top + down.tile,
                columns: *left..left + across.tile,
                mirrored,
            };
            let values = window(image, &part, &trained.input.scaling);
            let data = TensorData::new(values, [1, 3, down.tile, across.tile]);
            let x = Tensor::from_data(data, &trained.device);
            let scores = download_maps(segmenter.scores(&trained.forward(), x))?;
            let (_, c, h, w) = scores.dim();
            let strides = [stride(down.tile, h), stride(across.tile, w)];
            let whole = whole.get_or_insert_with(|| {
                let cells = [(&down, h), (&across, w)];
                let [h, w] = [0, 1].map(|side| {
                    let (along, cells) = cells[side];
                    cells + along.starts.last().map_or(0, |last| last / strides[side])
                });
                Array3::zeros((c, h, w))
            });
            let (_, height, width) = whole.dim();
            let rows = cells(&down, i, strides[0], height);
            let columns = cells(&across, j, strides[1], width);
            let (y, x) = (top / strides[0], left / strides[1]);
            let own = s![0, .., rows.start - y..rows.end - y, columns.start - x..columns.end - x];
            whole.slice_mut(s![.., rows, columns]).assign(&scores.slice(own));
        }
    }
    whole.context("an image without pixels")
}

/// Pixels per cell of a map of `cells` cells of `pixels` pixels: a power of two.
fn stride(pixels: usize, cells: usize) -> usize {
    let ratio = pixels as f64 / cells.max(1) as f64;
    1 << (ratio.log2().round() as u32)
}

/// The cells that tile `i` gives of `all`.
fn cells(along: &Along, i: usize, stride: usize, all: usize) -> Range<usize> {
    let given = along.given(i);
    let end = match i + 1 == along.starts.len() {
        true => all,
        false => given.end / stride,
    };
    given.start / stride..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_side_once_and_lie_on_the_grid() {
        for side in (1..4000).step_by(37) {
            for most in [1, 192, 200, 333, 512, 1024, 2048] {
                let along = Along::new(side, most);
                assert!(along.tile <= most.max(SHORTEST) && along.tile <= side);
                assert_eq!((side - along.tile) % GRID, 0);
                let mut next = 0;
                for (i, start) in along.starts.iter().enumerate() {
                    assert_eq!(start % GRID, 0);
                    let given = along.given(i);
                    assert!(given.start == next && given.end > next, "{side} {most}: {along:?}");
                    // What a tile gives is inside of it, away from its borders within the image.
                    let margin = MARGIN.min(along.tile / 4);
                    assert!(i == 0 || given.start >= start + margin);
                    assert!(i + 1 == along.starts.len() || given.end + margin <= start + along.tile);
                    next = given.end;
                }
                assert_eq!(next, side);
                assert_eq!(along.starts.last().unwrap() + along.tile, side);
            }
        }
    }

    #[test]
    fn strides_are_told_from_sizes() {
        for (pixels, cells, expected) in [(488, 122, 4), (500, 32, 16), (33, 5, 8), (225, 57, 4), (192, 192, 1)] {
            assert_eq!(stride(pixels, cells), expected);
        }
    }
}
