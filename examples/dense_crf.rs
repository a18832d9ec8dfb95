//! A dense CRF corrects noisy scores by what the image shows.
//!
//! `cargo run --release --example dense_crf`

use std::error::Error;

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use ndarray::{Array3, ArrayView3};
use weakseg::crf::posterior::winners;
use weakseg::crf::unary::unary_from_probabilities;
use weakseg::crf::{DenseCrf, Pairwise};

const WIDTH: u32 = 96;
const HEIGHT: u32 = 72;

/// Whether a pixel belongs to the object, a disc in the middle.
fn is_object(x: u32, y: u32) -> bool {
    let [dx, dy] = [x as f32 - WIDTH as f32 / 2.0, y as f32 - HEIGHT as f32 / 2.0];
    dx.hypot(dy) < 24.0
}

/// Numbers in [0, 1) that look random and are the same on every run.
fn noise(x: u32, y: u32) -> f32 {
    let mixed = (x * 0x9E37 + y * 0x79B9 + 1).wrapping_mul(0x85EB_CA6B);
    (mixed >> 8) as f32 / (1 << 24) as f32
}

/// Pixels that fall to the wrong one of two channels `[2, H, W]`, background and object.
fn mistakes(scores: ArrayView3<f32>) -> Result<usize, Box<dyn Error>> {
    let mask = winners(scores, &[0, 1])?;
    let is_wrong = |x, y, value: u8| (value == 1) != is_object(x, y);
    let wrong = mask.enumerate_pixels().filter(|(x, y, p)| is_wrong(*x, *y, p.0[0]));
    Ok(wrong.count())
}

/// Mistakes of the scores, and of what the CRF makes of them.
pub fn before_and_after() -> Result<[usize; 2], Box<dyn Error>> {
    // An orange disc on blue, both uneven as photographs are.
    let image = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let shade = (24.0 * noise(y, x)) as u8;
        Rgb(match is_object(x, y) {
            true => [200 + shade, 110 + shade, 30 + shade],
            false => [30 + shade, 60 + shade, 120 + shade],
        })
    });
    // A network that is right at four pixels of five, and never sure.
    let probabilities = Array3::from_shape_fn((2, HEIGHT as usize, WIDTH as usize), |(c, y, x)| {
        let (x, y) = (x as u32, y as u32);
        let is_right = noise(x, y) < 0.8;
        let says_object = is_object(x, y) == is_right;
        if says_object == (c == 1) { 0.6 } else { 0.4 }
    });
    let crf = DenseCrf {
        pairwise: vec![Pairwise::gaussian(3.0, 3.0), Pairwise::bilateral(40.0, 13.0, 10.0)],
        iterations: 10,
        reference_side: None,
    };
    let before = mistakes(probabilities.view())?;
    let unary = unary_from_probabilities(probabilities);
    let posterior = crf.refine(&image, unary.view(), &Device::flex())?;
    Ok([before, mistakes(posterior.view())?])
}

/// Prints how many pixels the CRF has put right.
pub fn main() -> Result<(), Box<dyn Error>> {
    let [before, after] = before_and_after()?;
    let pixels = WIDTH * HEIGHT;
    println!("wrong of {pixels} pixels: {before} by the scores, {after} after the CRF");
    Ok(())
}
