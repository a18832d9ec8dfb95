//! Pair affinity over random shapes, on both devices, against brute force.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Distance, pair_affinity};
use crate::kernels::neighbourhood::offsets;
use crate::kernels::testing::{close, download, equals_differences, on_both_devices, upload};

/// Images to find the affinities of.
#[derive(Clone, Debug)]
pub struct Case {
    pub shape: [usize; 4],
    pub radius: usize,
    pub distance: Distance,
    /// `[B, D, H, W]`
    pub features: Vec<f32>,
    /// `[B, K, H, W]`
    pub upstream: Vec<f32>,
}

/// Random ones.
pub fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..3usize, 1..5usize, 1..9usize, 1..9usize);
    (sizes, 2..6usize, any::<bool>()).prop_flat_map(|((b, d, h, w), radius, mean)| {
        let values = |n: usize| proptest::collection::vec(-1.0..1.0f32, n);
        let pairs = b * offsets(radius).len() * h * w;
        (values(b * d * h * w), values(pairs)).prop_map(move |(features, upstream)| Case {
            shape: [b, d, h, w],
            radius,
            distance: if mean { Distance::Mean } else { Distance::Sum },
            features,
            upstream,
        })
    })
}

/// All ordered pairs (k, i, j) of pixels within the radius, i the earlier one.
pub fn pairs(case: &Case) -> Vec<(usize, usize, usize)> {
    let [_, _, h, w] = case.shape;
    let mut pairs = Vec::new();
    for (k, (dy, dx)) in offsets(case.radius).into_iter().enumerate() {
        for y in 0..h as i32 {
            for x in 0..w as i32 {
                let (y2, x2) = (y + dy, x + dx);
                if (0..h as i32).contains(&y2) && (0..w as i32).contains(&x2) {
                    pairs.push((k, y as usize * w + x as usize, y2 as usize * w + x2 as usize));
                }
            }
        }
    }
    pairs
}

/// Affinity of pixels i and j of image `b` by Eq. 3.
pub fn affinity(case: &Case, b: usize, i: usize, j: usize) -> f64 {
    let [_, d, h, w] = case.shape;
    let at = |c: usize, p: usize| f64::from(case.features[(b * d + c) * h * w + p]);
    let sum: f64 = (0..d).map(|c| (at(c, i) - at(c, j)).abs()).sum();
    (-f64::from(case.distance.scale(d)) * sum).exp()
}

/// Affinities `[B, K, H, W]`, and the gradient of their sum weighted by the case's upstream by every feature.
fn pairs_by_brute_force(case: &Case) -> (Vec<f64>, Vec<f64>) {
    let [b, d, h, w] = case.shape;
    let (hw, k) = (h * w, offsets(case.radius).len());
    let mut expected = vec![0.0; b * k * hw];
    let mut gradient = vec![0.0; b * d * hw];
    let scale = f64::from(case.distance.scale(d));
    for batch in 0..b {
        for &(k_, i, j) in &pairs(case) {
            let at = (batch * k + k_) * hw + i;
            expected[at] = affinity(case, batch, i, j);
            for c in 0..d {
                let (fi, fj) = ((batch * d + c) * hw + i, (batch * d + c) * hw + j);
                let difference = case.features[fi] - case.features[fj];
                if difference != 0.0 {
                    let slope = -scale * expected[at] * f64::from(case.upstream[at]);
                    gradient[fi] += slope * f64::from(difference.signum());
                    gradient[fj] -= slope * f64::from(difference.signum());
                }
            }
        }
    }
    (expected, gradient)
}

#[test]
fn pair_affinity_and_its_gradient_equal_brute_force() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.shape;
        let k = offsets(case.radius).len();
        let x = upload(&case.features, case.shape, &device.clone().autodiff()).require_grad();
        let out = pair_affinity(x.clone(), case.radius, case.distance);
        let upstream = upload(&case.upstream, [b, k, h, w], &device.clone().autodiff());
        let mut grads = (out.clone() * upstream).sum().backward();
        let grad = x.grad_remove(&mut grads).unwrap();
        let (expected, gradient) = pairs_by_brute_force(case);
        close(&download(out.inner()), &expected, 1e-5)?;
        close(&download(grad), &gradient, 1e-4)
    });
}

#[test]
fn brute_force_gradient_of_pair_affinity_equals_finite_differences() {
    let coarse = cases().prop_map(|mut case| {
        // Steps are far smaller than what features differ by, or they would cross the bend of |x|.
        for (i, feature) in case.features.iter_mut().enumerate() {
            *feature = (*feature * 8.0).round() / 8.0 + (i % 29) as f32 / 256.0;
        }
        case
    });
    let runner = &mut TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let tested = runner.run(&coarse, |case| {
        let (_, gradient) = pairs_by_brute_force(&case);
        equals_differences(&case.features, &gradient, |features| {
            let moved = Case {
                features: features.to_vec(),
                ..case.clone()
            };
            let (affinities, _) = pairs_by_brute_force(&moved);
            let weighted = affinities.iter().zip(&case.upstream);
            weighted.map(|(a, u)| a * f64::from(*u)).sum()
        })
    });
    tested.unwrap();
}
