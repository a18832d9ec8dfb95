//! Properties of the operators over random shapes, on both devices, against brute force.

mod convolution;
mod cross_attention;
mod lattice;
mod mean_field;
mod permutohedral;

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::random_walk::walk_within;
use super::{Distance, Walk, offsets, pair_affinity, random_walk};

/// Random shapes per property and device.
const CASES: u32 = 12;

#[derive(Clone, Debug)]
struct Case {
    shape: [usize; 4],
    classes: usize,
    features: Vec<f32>,
    scores: Vec<f32>,
    upstream: Vec<f32>,
    walk: Walk,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1..3usize, 1..5usize, 1..9usize, 1..9usize, 1..4usize);
    let walk = (2..6usize, 0.5..9.0f32, 0..9usize, any::<bool>());
    (sizes, walk).prop_flat_map(|((b, d, h, w, classes), (radius, beta, steps, mean))| {
        let values = |n: usize| proptest::collection::vec(-1.0..1.0f32, n);
        let pairs = b * offsets(radius).len() * h * w;
        (
            values(b * d * h * w),
            values(b * classes * h * w),
            values(pairs),
        )
            .prop_map(move |(features, scores, upstream)| Case {
                shape: [b, d, h, w],
                classes,
                features,
                scores,
                upstream,
                walk: Walk {
                    radius,
                    beta,
                    steps,
                    distance: if mean { Distance::Mean } else { Distance::Sum },
                },
            })
    })
}

fn vulkan() -> Device {
    crate::device::choose(crate::device::Choice::Vulkan)
        .unwrap()
        .device
}

/// Runs `property` on random `cases`, on the CPU and on an adapter.
fn on_both_devices<S: Strategy>(
    cases: &S,
    property: impl Fn(&S::Value, &Device) -> Result<(), TestCaseError>,
) {
    for device in [Device::flex(), vulkan()] {
        on_device(cases, &device, &property);
    }
}

fn on_device<S: Strategy>(
    cases: &S,
    device: &Device,
    property: impl Fn(&S::Value, &Device) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(cases, |case| property(&case, device))
        .unwrap();
}

fn upload<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn download<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn close(actual: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - e).abs();
        prop_assert!(
            error <= tolerance * (1.0 + e.abs()),
            "entry {}: {} for {}",
            i,
            a,
            e
        );
    }
    Ok(())
}

/// All ordered pairs (k, i, j) of pixels within the radius, i the earlier one.
fn pairs(case: &Case) -> Vec<(usize, usize, usize)> {
    let [_, _, h, w] = case.shape;
    let mut pairs = Vec::new();
    for (k, (dy, dx)) in offsets(case.walk.radius).into_iter().enumerate() {
        for y in 0..h as i32 {
            for x in 0..w as i32 {
                let (y2, x2) = (y + dy, x + dx);
                if (0..h as i32).contains(&y2) && (0..w as i32).contains(&x2) {
                    pairs.push((
                        k,
                        y as usize * w + x as usize,
                        y2 as usize * w + x2 as usize,
                    ));
                }
            }
        }
    }
    pairs
}

/// Affinity of pixels i and j of image `b` by Eq. 3.
fn affinity(case: &Case, b: usize, i: usize, j: usize) -> f64 {
    let [_, d, h, w] = case.shape;
    let at = |c: usize, p: usize| f64::from(case.features[(b * d + c) * h * w + p]);
    let sum: f64 = (0..d).map(|c| (at(c, i) - at(c, j)).abs()).sum();
    (-f64::from(case.walk.distance.scale(d)) * sum).exp()
}

/// Affinities `[B, K, H, W]`, and the gradient of their sum weighted by the case's upstream by every feature.
fn pairs_by_brute_force(case: &Case) -> (Vec<f64>, Vec<f64>) {
    let [b, d, h, w] = case.shape;
    let (hw, k) = (h * w, offsets(case.walk.radius).len());
    let mut expected = vec![0.0; b * k * hw];
    let mut gradient = vec![0.0; b * d * hw];
    let scale = f64::from(case.walk.distance.scale(d));
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
        let k = offsets(case.walk.radius).len();
        let x = upload(&case.features, case.shape, &device.clone().autodiff()).require_grad();
        let out = pair_affinity(x.clone(), case.walk.radius, case.walk.distance);
        let upstream = upload(&case.upstream, [b, k, h, w], &device.clone().autodiff());
        let mut grads = (out.clone() * upstream).sum().backward();
        let grad = x.grad_remove(&mut grads).unwrap();
        let (expected, gradient) = pairs_by_brute_force(case);
        close(&download(out.inner()), &expected, 1e-5)?;
        close(&download(grad), &gradient, 1e-4)
    });
}

/// `gradient` against differences of `value`, by f64 on the host, at three entries of `entries`.
fn equals_differences(
    entries: &[f32],
    gradient: &[f64],
    value: impl Fn(&[f32]) -> f64,
) -> Result<(), TestCaseError> {
    // A power of two, so that the coarse entries move by no more and no less.
    let step = 1.0f32 / 1024.0;
    for at in [0, entries.len() / 2, entries.len() - 1] {
        let moved = |by: f32| {
            let mut entries = entries.to_vec();
            entries[at] += by;
            (value(&entries), f64::from(entries[at]))
        };
        let ((low, from), (high, to)) = (moved(-step), moved(step));
        let slope = (high - low) / (to - from);
        prop_assert!(
            (slope - gradient[at]).abs() < 1e-3 * (1.0 + slope.abs()),
            "entry {}: {} and {}",
            at,
            slope,
            gradient[at]
        );
    }
    Ok(())
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

/// W^beta of image `b` with ones on the diagonal, and its row sums.
fn dense(case: &Case, b: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = case.shape[2] * case.shape[3];
    let mut matrix = vec![vec![0.0; n]; n];
    for &(_, i, j) in &pairs(case) {
        let weight = affinity(case, b, i, j).powf(f64::from(case.walk.beta));
        matrix[i][j] = weight;
        matrix[j][i] = weight;
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    let sums = matrix.iter().map(|row| row.iter().sum()).collect();
    (matrix, sums)
}

#[test]
fn random_walk_equals_the_dense_matrix() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.shape;
        let n = h * w;
        let shape = [b, case.classes, h, w];
        let out = random_walk(
            upload(&case.features, case.shape, device),
            upload(&case.scores, shape, device),
            case.walk,
        );
        let mut expected = Vec::new();
        for batch in 0..b {
            let (matrix, sums) = dense(case, batch);
            for c in 0..case.classes {
                let scores = &case.scores[(batch * case.classes + c) * n..][..n];
                let mut v: Vec<f64> = scores.iter().map(|v| f64::from(*v)).collect();
                for _ in 0..case.walk.steps {
                    let product =
                        |row: &Vec<f64>| -> f64 { row.iter().zip(&v).map(|(a, b)| a * b).sum() };
                    v = matrix
                        .iter()
                        .zip(&sums)
                        .map(|(row, sum)| product(row) / sum)
                        .collect();
                }
                expected.extend(v);
            }
        }
        close(&download(out), &expected, 1e-4)
    });
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

#[test]
fn rows_of_the_transition_matrix_sum_to_one() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.shape;
        let n = h * w;
        // Column j of every image's matrix is what a one at pixel j becomes.
        let units: Vec<f32> = (0..b * n * n)
            .map(|i| f32::from(u8::from(i / n % n == i % n)))
            .collect();
        let columns = download(random_walk(
            upload(&case.features, case.shape, device),
            upload(&units, [b, n, h, w], device),
            case.walk,
        ));
        prop_assert!(columns.iter().all(|entry| *entry >= 0.0));
        let sums: Vec<f32> = columns
            .chunks(n * n)
            .flat_map(|matrix| (0..n).map(move |i| matrix[i..].iter().step_by(n).sum()))
            .collect();
        close(&sums, &vec![1.0; b * n], 1e-5)
    });
}

#[test]
fn random_walk_keeps_constants_and_its_gradient_is_its_transpose() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.shape;
        let shape = [b, case.classes, h, w];
        let features = || upload(&case.features, case.shape, &device.clone().autodiff());
        let count = case.scores.len();
        let constant = upload(&vec![0.7; count], shape, &device.clone().autodiff());
        let kept = download(random_walk(features(), constant, case.walk).inner());
        close(&kept, &vec![0.7; count], 1e-5)?;
        // <g, T x> = <T' g, x> for any g; here g = x reversed.
        let x = upload(&case.scores, shape, &device.clone().autodiff()).require_grad();
        let reversed: Vec<f32> = case.scores.iter().rev().copied().collect();
        let g = upload(&reversed, shape, &device.clone().autodiff());
        let out = random_walk(features(), x.clone(), case.walk);
        let mut grads = (out.clone() * g).sum().backward();
        let transposed = download(x.grad_remove(&mut grads).unwrap());
        let left = dot(&reversed, &download(out.inner()));
        let right = dot(&transposed, &case.scores);
        prop_assert!(
            (left - right).abs() < 1e-3 * (1.0 + left.abs()),
            "{} and {}",
            left,
            right
        );
        Ok(())
    });
}

#[test]
fn a_walk_in_small_buffers_is_the_same_walk() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.shape;
        let shape = [b, case.classes, h, w];
        let walked = |room: usize| {
            download(walk_within(
                upload(&case.features, case.shape, device),
                upload(&case.scores, shape, device),
                case.walk,
                room,
            ))
        };
        let whole = walked(usize::MAX);
        let image = 4 * offsets(case.walk.radius).len() * h * w;
        let wide: Vec<f64> = whole.iter().map(|v| f64::from(*v)).collect();
        // Image by image, and with no room for one of them.
        close(&walked(image), &wide, 1e-6)?;
        close(&walked(image - 1), &wide, 1e-5)
    });
}
