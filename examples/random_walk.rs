//! A random walk on the affinities of a feature map spreads a few scores over all that looks alike (AffinityNet, Sec.
//! 3.4).
//!
//! `cargo run --release --example random_walk`

use std::error::Error;

use burn::tensor::{Device, Tensor, TensorData};
use weakseg::kernels::{Distance, Walk, random_walk};

const HEIGHT: usize = 12;
const WIDTH: usize = 32;

/// Which of two regions a pixel is in: right of a slanted border or not.
fn region(x: usize, y: usize) -> usize {
    usize::from(2 * x > WIDTH + y)
}

/// A tensor `[1, C, H, W]` of the values that `value(channel, x, y)` gives.
fn tensor(channels: usize, value: impl Fn(usize, usize, usize) -> f32) -> Tensor<4> {
    let mut values = Vec::new();
    for c in 0..channels {
        for y in 0..HEIGHT {
            values.extend((0..WIDTH).map(|x| value(c, x, y)));
        }
    }
    let data = TensorData::new(values, [1, channels, HEIGHT, WIDTH]);
    Tensor::from_data(data, &Device::flex())
}

/// The winning channel of each pixel, `None` where no channel has a score. Row by row.
fn winners(scores: Tensor<4>) -> Result<Vec<Option<usize>>, Box<dyn Error>> {
    let values: Vec<f32> = scores.try_into_data()?.try_to_vec().map_err(|e| format!("{e:?}"))?;
    let (first, second) = values.split_at(HEIGHT * WIDTH);
    let winner = |(a, b): (&f32, &f32)| (a.max(*b) > 1e-6).then_some(usize::from(b > a));
    Ok(first.iter().zip(second).map(winner).collect())
}

/// Winners before and after the walk.
pub fn walk() -> Result<[Vec<Option<usize>>; 2], Box<dyn Error>> {
    // Features that tell the regions apart, and a 3x3 seed of one class in each.
    let features = tensor(2, |c, x, y| if c == region(x, y) { 1.0 } else { 0.0 });
    let seeds = tensor(2, |c, x, y| {
        let centre = [6, WIDTH - 6][c];
        if x.abs_diff(centre) <= 1 && y.abs_diff(HEIGHT / 2) <= 1 {
            1.0
        } else {
            0.0
        }
    });
    // The paper's radius and exponent; with the features above, a step over the border weighs exp(-2 * 8).
    let settings = Walk {
        radius: 5,
        beta: 8.0,
        steps: 64,
        distance: Distance::Sum,
    };
    let spread = random_walk(features, seeds.clone(), settings);
    Ok([winners(seeds)?, winners(spread)?])
}

/// Prints both as maps.
pub fn main() -> Result<(), Box<dyn Error>> {
    for (title, map) in ["seeds", "after the walk"].into_iter().zip(walk()?) {
        println!("{title}:");
        for row in map.chunks(WIDTH) {
            let letter = |winner: &Option<usize>| winner.map_or('.', |c| ['a', 'b'][c]);
            println!("  {}", row.iter().map(letter).collect::<String>());
        }
    }
    Ok(())
}

/// How many winners are those of their region.
pub fn right(map: &[Option<usize>]) -> usize {
    let is_right = |i: &usize| map[*i] == Some(region(i % WIDTH, i / WIDTH));
    (0..map.len()).filter(is_right).count()
}
