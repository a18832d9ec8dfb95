//! The made-up photograph that the benchmark of the dense CRF runs on; `pydensecrf.py` makes the same one.

/// An image and the scores of `labels` labels on it: `(RGB [H, W, 3], probabilities [C, N])`.
///
/// Shading, texture, edges and sensor noise are about as strong as in a photograph, so that the bilateral lattice has
/// about as many points. The scores are coarse and leave edges to the CRF.
pub fn scene(width: usize, height: usize, labels: usize) -> (Vec<u8>, Vec<f32>) {
    let pixels = width * height;
    let mut image = Vec::with_capacity(pixels * 3);
    let mut scores = vec![0.0; labels * pixels];
    let size = width.max(height) as f64;
    for y in 0..height {
        for x in 0..width {
            let n = y * width + x;
            let (u, v) = (x as f64 / size, y as f64 / size);
            let wave = (9.0 * u + 2.0 * (5.0 * v).sin()).sin() + (7.0 * v + 2.5 * u).cos();
            // Regions with sharp edges, and their colours.
            let region = (4.0 + 2.0 * wave).floor();
            let texture = 0.5 * (40.0 * u + 9.0 * wave).sin() * (35.0 * v).sin();
            for channel in 0..3 {
                let hue = (2.1 * region + 2.0 * channel as f64).sin();
                let shade = (4.0 * u + 5.0 * v + channel as f64).sin();
                let noise = 2.0 * unit(3 * n + channel) - 1.0;
                let value = 118.0 + 60.0 * hue + 36.0 * shade + 40.0 * texture + 14.0 * noise;
                image.push((value + 0.5).floor().clamp(0.0, 255.0) as u8);
            }
            let mut sum = 0.0;
            for label in 0..labels {
                let phase = label as f64;
                let score = (2.5 * (4.0 * u + 1.7 * phase).sin() * (3.0 * v + 0.9 * phase).cos()
                    + 0.4 * wave * phase.cos())
                .exp();
                scores[label * pixels + n] = score as f32;
                sum += score;
            }
            for label in 0..labels {
                let score = &mut scores[label * pixels + n];
                *score = (f64::from(*score) / sum) as f32;
            }
        }
    }
    (image, scores)
}

/// A number in [0, 1) that looks random, of an index.
fn unit(index: usize) -> f64 {
    let mut bits = (index as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^= bits >> 27;
    (bits >> 40) as f64 / (1u64 << 24) as f64
}

#[cfg(test)]
mod tests {
    use super::scene;

    /// What `pydensecrf.py` makes.
    #[test]
    fn is_the_scene_of_the_script() {
        let (image, scores) = scene(31, 23, 3);
        let sum: u64 = image.iter().map(|v| u64::from(*v)).sum();
        assert_eq!(sum, 239_882);
        assert_eq!(image[..3], [118, 193, 116]);
        let pixel = |n: usize| [scores[n], scores[713 + n], scores[2 * 713 + n]];
        for (ours, theirs) in pixel(712).iter().zip([0.377_454_4, 0.606_777_4, 0.015_768_25]) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
    }
}
