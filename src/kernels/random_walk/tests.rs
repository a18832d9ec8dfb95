//! The random walk over random shapes, on both devices, against the dense transition matrix.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::{Walk, random_walk, walk_within};
use crate::kernels::neighbourhood::offsets;
use crate::kernels::pair_affinity::Distance;
use crate::kernels::pair_affinity::tests::{self as images, affinity, pairs};
use crate::kernels::testing::{close, dot, download, on_both_devices, upload};

/// Scores to walk with on images.
#[derive(Clone, Debug)]
struct Case {
    on: images::Case,
    classes: usize,
    /// `[B, C, H, W]`
    scores: Vec<f32>,
    beta: f32,
    steps: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (images::cases(), 1..4usize, 0.5..9.0f32, 0..9usize).prop_flat_map(|(on, classes, beta, steps)| {
        let [b, _, h, w] = on.shape;
        proptest::collection::vec(-1.0..1.0f32, b * classes * h * w).prop_map(move |scores| Case {
            on: on.clone(),
            classes,
            scores,
            beta,
            steps,
        })
    })
}

impl Case {
    fn walk(&self) -> Walk {
        Walk {
            radius: self.on.radius,
            beta: self.beta,
            steps: self.steps,
            distance: self.on.distance,
        }
    }
}

/// W^beta of image `b` with ones on the diagonal, and its row sums.
fn dense(case: &Case, b: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = case.on.shape[2] * case.on.shape[3];
    let mut matrix = vec![vec![0.0; n]; n];
    for &(_, i, j) in &pairs(&case.on) {
        let weight = affinity(&case.on, b, i, j).powf(f64::from(case.beta));
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
        let [b, _, h, w] = case.on.shape;
        let n = h * w;
        let shape = [b, case.classes, h, w];
        let out = random_walk(
            upload(&case.on.features, case.on.shape, device),
            upload(&case.scores, shape, device),
            case.walk(),
        );
        let mut expected = Vec::new();
        for batch in 0..b {
            let (matrix, sums) = dense(case, batch);
            for c in 0..case.classes {
                let scores = &case.scores[(batch * case.classes + c) * n..][..n];
                let mut v: Vec<f64> = scores.iter().map(|v| f64::from(*v)).collect();
                for _ in 0..case.steps {
                    let product = |row: &Vec<f64>| -> f64 { row.iter().zip(&v).map(|(a, b)| a * b).sum() };
                    v = matrix.iter().zip(&sums).map(|(row, sum)| product(row) / sum).collect();
                }
                expected.extend(v);
            }
        }
        close(&download(out), &expected, 1e-4)
    });
}

#[test]
fn rows_of_the_transition_matrix_sum_to_one() {
    on_both_devices(&cases(), |case, device| {
        let [b, _, h, w] = case.on.shape;
        let n = h * w;
        // Column j of every image's matrix is what a one at pixel j becomes.
        let units: Vec<f32> = (0..b * n * n)
            .map(|i| f32::from(u8::from(i / n % n == i % n)))
            .collect();
        let columns = download(random_walk(
            upload(&case.on.features, case.on.shape, device),
            upload(&units, [b, n, h, w], device),
            case.walk(),
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
        let [b, _, h, w] = case.on.shape;
        let shape = [b, case.classes, h, w];
        let features = || upload(&case.on.features, case.on.shape, &device.clone().autodiff());
        let count = case.scores.len();
        let constant = upload(&vec![0.7; count], shape, &device.clone().autodiff());
        let kept = download(random_walk(features(), constant, case.walk()).inner());
        close(&kept, &vec![0.7; count], 1e-5)?;
        // <g, T x> = <T' g, x> for any g; here g = x reversed.
        let x = upload(&case.scores, shape, &device.clone().autodiff()).require_grad();
        let reversed: Vec<f32> = case.scores.iter().rev().copied().collect();
        let g = upload(&reversed, shape, &device.clone().autodiff());
        let out = random_walk(features(), x.clone(), case.walk());
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
        let [b, _, h, w] = case.on.shape;
        let shape = [b, case.classes, h, w];
        let walked = |room: usize| {
            download(walk_within(
                upload(&case.on.features, case.on.shape, device),
                upload(&case.scores, shape, device),
                case.walk(),
                room,
            ))
        };
        let whole = walked(usize::MAX);
        let image = 4 * offsets(case.on.radius).len() * h * w;
        let wide: Vec<f64> = whole.iter().map(|v| f64::from(*v)).collect();
        // Image by image, and with no room for one of them.
        close(&walked(image), &wide, 1e-6)?;
        close(&walked(image - 1), &wide, 1e-5)
    });
}

#[test]
#[should_panic(expected = "images of features and scores")]
fn scores_of_a_coarser_grid_than_the_features_do_not_walk() {
    let [features, scores] = [4, 2].map(|side| Tensor::<4>::ones([1, 2, side, side], &Device::flex()));
    let walk = Walk {
        radius: 2,
        beta: 1.0,
        steps: 1,
        distance: Distance::Mean,
    };
    random_walk(features, scores, walk);
}
