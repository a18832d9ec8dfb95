use proptest::prelude::*;

use super::*;

/// Positions and grey-ish colours of a `[height, width]` image, divided by 3 and 0.2, `[d, N]` for d of 2 to 5.
fn image(width: usize, height: usize, d: usize) -> Vec<f32> {
    let plane = |i: usize| {
        (0..width * height).map(move |n| {
            let (x, y) = ((n % width) as f32, (n / width) as f32);
            match i {
                0 => x / 3.0,
                1 => y / 3.0,
                _ => 2.0 * ((0.3 * x + i as f32).sin() * (0.2 * y).cos() + noise(n + 999 * i)),
            }
        })
    };
    (0..d).flat_map(plane).collect()
}

/// In 0..1.
fn noise(n: usize) -> f32 {
    (n.wrapping_mul(2_654_435_761) >> 8 & 0xFFFF) as f32 / 65536.0
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
}

#[test]
fn smooths_like_the_gaussian() {
    for (d, gains) in [(2, 0.80..0.92), (5, 0.40..0.60)] {
        let (features, n) = (image(24, 20, d), 480);
        let values: Vec<f32> = (0..n).map(|i| ((i % 24) as f32 * 0.4).sin()).collect();
        let lattice = CpuLattice::build(&features, d).unwrap();
        let sums = lattice.filter(&[values.clone(), vec![1.0; n]].concat(), 2, false);
        let (mut error, mut gain) = (0.0, 0.0);
        for i in 0..n {
            let (mut sum, mut ones) = (0.0, 0.0);
            for j in 0..n {
                let distance: f32 = (0..d)
                    .map(|k| (features[k * n + i] - features[k * n + j]).powi(2))
                    .sum();
                sum += (-0.5 * distance).exp() * values[j];
                ones += (-0.5 * distance).exp();
            }
            error += (sums[i] / sums[n + i] - sum / ones).abs() / n as f32;
            gain += sums[n + i] / ones / n as f32;
        }
        assert!(error < 0.04, "{d} dimensions: {error}");
        assert!(gains.contains(&gain), "{d} dimensions: {gain}");
    }
}

#[test]
fn one_pixel_by_hand() {
    // The pixel is a lattice point; half of it reaches its neighbour along the first axis, half of that comes back
    // along the second, and 1 / (1 + 1/2) scales.
    let lattice = CpuLattice::build(&[0.0], 1).unwrap();
    let out = lattice.filter(&[1.0], 1, false);
    assert!((out[0] - 1.25 / 1.5).abs() < 1e-6);
}

#[test]
fn constant_image_is_one_cell() {
    let pixel = [0.3, 1.7, -0.2, 4.0, 9.1];
    let one = CpuLattice::build(&pixel, 5).unwrap();
    let features: Vec<f32> = pixel.iter().flat_map(|&f| [f; 1000]).collect();
    let lattice = CpuLattice::build(&features, 5).unwrap();
    assert_eq!((one.points(), lattice.points()), (6, 6));
    assert_eq!((lattice.pixels(), lattice.dimensions()), (1000, 5));
    let expected = 1000.0 * one.filter(&[1.0], 1, false)[0];
    for sum in lattice.filter(&[1.0; 1000], 1, false) {
        assert!((sum / expected - 1.0).abs() < 1e-4, "{sum} {expected}");
    }
}

#[test]
fn same_bits_on_any_number_of_threads_and_in_any_group_of_channels() {
    let (width, height) = (211, 97);
    let n = width * height;
    let features = image(width, height, 5);
    let values: Vec<f32> = (0..11 * n).map(noise).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let lattice = CpuLattice::build(&features, 5).unwrap();
            assert!(lattice.points() > 5000, "{}", lattice.points());
            lattice.filter(&values, 11, false)
        })
    };
    let all = run(1);
    assert_eq!(all, run(2));
    assert_eq!(all, run(3));
    let lattice = CpuLattice::build(&features, 5).unwrap();
    assert_eq!(lattice.filter(&values[9 * n..10 * n], 1, false), all[9 * n..10 * n]);
}

#[test]
fn wide_keys_number_the_same_points() {
    let features = image(40, 30, 5);
    let embedding = Embedding::new(&features, 5).unwrap();
    let narrow = CpuLattice::number(&embedding, &embedding.radix::<u64>().unwrap(), 5, 1200);
    let wide = CpuLattice::number(&embedding, &embedding.radix::<u128>().unwrap(), 5, 1200);
    assert_eq!(narrow.neighbours, wide.neighbours);
    let values: Vec<f32> = (0..1200).map(noise).collect();
    assert_eq!(narrow.filter(&values, 1, false), wide.filter(&values, 1, false));
    // Features spread so far that narrow keys cannot hold them.
    let spread: Vec<f32> = image(40, 30, 5).iter().map(|f| 3000.0 * f).collect();
    let embedding = Embedding::new(&spread, 5).unwrap();
    assert!(embedding.radix::<u64>().is_none());
    let lattice = CpuLattice::build(&spread, 5).unwrap();
    assert!(lattice.points() > 6000, "{}", lattice.points());
}

#[test]
fn bad_features_are_errors() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, 2e6] {
        for at in [0, 13, 29] {
            let mut features = vec![0.5; 30];
            features[at] = bad;
            assert!(CpuLattice::build(&features, 2).is_err(), "{bad} at {at}");
        }
    }
    for (count, d) in [(0, 2), (5, 2), (4, 0), (16, 16)] {
        assert!(CpuLattice::build(&vec![0.0; count], d).is_err(), "{count} {d}");
    }
    let spread: Vec<f32> = (0..30).map(|i| 3000.0 * noise(i)).collect();
    assert!(CpuLattice::build(&spread, 15).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reversed_is_the_transpose(d in 1usize..=8, n in 1usize..60, seed in 0usize..1000, spread in 0.01f32..20.0) {
        let features: Vec<f32> = (0..d * n).map(|i| spread * (noise(i + seed) - 0.5)).collect();
        let lattice = CpuLattice::build(&features, d).unwrap();
        let x: Vec<f32> = (0..n).map(|i| noise(i + 7 * seed)).collect();
        let y: Vec<f32> = (0..n).map(|i| noise(i + 31 * seed + 5)).collect();
        let forward = dot(&lattice.filter(&x, 1, false), &y);
        let backward = dot(&x, &lattice.filter(&y, 1, true));
        prop_assert!((forward - backward).abs() <= 1e-5 * forward.abs(), "{} {}", forward, backward);
    }
}
