//! The kernels' twins in plain Rust: what runs without a GPU, and what the tests compare the shaders with.

pub mod cross_attention;
pub mod depthwise_conv;
pub mod lattice;
pub mod mean_field;
pub mod pair_affinity;
pub mod pointwise_conv;
mod product;
pub mod random_walk;

/// The overlap of a `[H, W]` image with itself shifted by (dy, dx), dy ≥ 0: for every row y of the overlap, the flat
/// start of the row here, of its partner row, and the length of both.
fn overlap(
    h: usize,
    w: usize,
    (dy, dx): (i32, i32),
) -> impl Iterator<Item = (usize, usize, usize)> {
    let dy = dy as usize;
    let skip = dx.unsigned_abs() as usize;
    let length = w.saturating_sub(skip);
    let (here, there) = if dx >= 0 { (0, skip) } else { (skip, 0) };
    (0..h.saturating_sub(dy))
        .filter(move |_| length > 0)
        .map(move |y| (y * w + here, (y + dy) * w + there, length))
}
