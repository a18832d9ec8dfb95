//! What windows see of an image: a row for each channel and tap, a column for each pixel of the output.

use std::ops::Range;

use crate::kernels::conv2d::Sizes;

/// Windows of a tile of pixels over a block of channels.
pub struct Windows<'a> {
    pub sizes: &'a Sizes,
    pub channels: Range<usize>,
    /// Numbers of the output's pixels.
    pub pixels: Range<usize>,
}

impl Windows<'_> {
    /// Whether a row of the windows is a channel of the image as it lies in memory.
    pub fn are_plain(sizes: &Sizes) -> bool {
        sizes.kernel == [1; 2] && sizes.stride == [1; 2] && sizes.padding == [0; 2]
    }

    /// Rows: channels times taps.
    pub fn rows(&self) -> usize {
        self.channels.len() * self.sizes.kernel.iter().product::<usize>()
    }

    /// What the windows see of an image `[C, H, W]`, into `to` `[rows, pixels]`.
    pub fn read(&self, image: &[f32], to: &mut [f32]) {
        let step = self.sizes.stride[1];
        to.fill(0.0);
        self.runs(|at, count, from| {
            let to = &mut to[at..at + count];
            match step {
                1 => to.copy_from_slice(&image[from..from + count]),
                _ => {
                    let seen = image[from..].iter().step_by(step);
                    to.iter_mut().zip(seen).for_each(|(to, seen)| *to = *seen);
                }
            }
        });
    }

    /// Adds `values` `[rows, pixels]` to where the windows saw them, in the block's channels of an image `[channels, H, W]`.
    pub fn add(&self, values: &[f32], image: &mut [f32]) {
        let step = self.sizes.stride[1];
        let before = self.channels.start * self.sizes.image.iter().product::<usize>();
        self.runs(|at, count, from| {
            let values = &values[at..at + count];
            let image = &mut image[from - before..];
            match step {
                1 => image.iter_mut().zip(values).for_each(|(to, value)| *to += value),
                _ => {
                    let seen = image.iter_mut().step_by(step);
                    seen.zip(values).for_each(|(to, value)| *to += value);
                }
            }
        });
    }

    /// Calls `each` with every run of pixels that lie in a row and see the image: where it begins in `[rows, pixels]`, how
    /// long it is, and where the first pixel looks in `[C, H, W]`.
    fn runs(&self, mut each: impl FnMut(usize, usize, usize)) {
        let Sizes {
            image: [height, width],
            kernel: [rows, columns],
            stride,
            padding,
            dilation,
            out: [_, out_width],
            ..
        } = *self.sizes;
        let (pixels, out_width) = (&self.pixels, out_width.max(1));
        let mut line = 0;
        for channel in self.channels.clone() {
            for i in 0..rows {
                for j in 0..columns {
                    // Columns of the output whose window has this tap inside of the image.
                    let shift = j * dilation[1];
                    let least = padding[1].saturating_sub(shift).div_ceil(stride[1]);
                    let beyond = (width + padding[1]).saturating_sub(shift).div_ceil(stride[1]);
                    let mut at = pixels.start;
                    while at < pixels.end {
                        let (y, x) = (at / out_width, at % out_width);
                        let end = (x + pixels.end - at).min(out_width);
                        let row = (y * stride[0] + i * dilation[0]).wrapping_sub(padding[0]);
                        let (first, last) = (x.max(least), end.min(beyond));
                        if row < height && first < last {
                            let column = first * stride[1] + shift - padding[1];
                            let to = line * pixels.len() + at - pixels.start + first - x;
                            each(to, last - first, (channel * height + row) * width + column);
                        }
                        at += end - x;
                    }
                    line += 1;
                }
            }
        }
    }
}
