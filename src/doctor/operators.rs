//! AffinityNet's operators: the affinity of pixel pairs and the random walk.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::check::{Check, Cost, Part};
use super::exact;
use super::input::{Input, Layout, PAST_THE_LIMIT, backward, values, words};
use crate::device::download;
use crate::kernels::{Distance, Walk, offsets, pair_affinity, random_walk};

const AFFINITY_TOLERANCE: f64 = 1e-5;
/// Adapters take powers less exactly than exponentials.
const TOLERANCE: f64 = 1e-4;

/// Sizes of a check.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Features `[B, D, H, W]`.
    pub features: [usize; 4],
    /// C, where there are scores.
    pub classes: usize,
    pub radius: usize,
    pub steps: usize,
    pub layout: Layout,
}

impl Size {
    fn walk(self) -> Walk {
        Walk {
            radius: self.radius,
            beta: 2.5,
            steps: self.steps,
            distance: Distance::Mean,
        }
    }

    fn features(self) -> Vec<f32> {
        values(self.features.iter().product(), 1, -0.5, 0.5)
    }
}

const fn size(features: [usize; 4], classes: usize, radius: usize, steps: usize) -> Size {
    Size {
        features,
        classes,
        radius,
        steps,
        layout: Layout::Contiguous,
    }
}

const fn transposed(size: Size) -> Size {
    Size {
        layout: Layout::Transposed,
        ..size
    }
}

/// Odd sizes, one pixel, one row and one column, transposed.
const SMALL: [Size; 6] = [
    size([2, 5, 13, 17], 3, 5, 9),
    size([1, 3, 1, 1], 2, 5, 4),
    size([1, 2, 1, 67], 1, 3, 4),
    size([1, 2, 67, 1], 2, 3, 4),
    transposed(size([2, 4, 11, 9], 3, 5, 6)),
    transposed(size([1, 1, 1, 31], 1, 2, 1)),
];

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    let pixels = 127 * 131;
    let planes = PAST_THE_LIMIT.div_ceil(pixels);
    // The pairs of this radius are as many as the planes that it takes, so that the affinities are past the limit; in
    // the other one the features are, and so is their gradient.
    let many_pairs = size([1, 1, 127, 131], 1, radius_of(planes), 1);
    let many_features = size([1, planes, 127, 131], 1, 2, 1);
    let many_scores = size([1, 2, 127, 131], planes, 2, 2);
    let exactly = |size: &Size| affinity(*size, pair_affinity).exactly(by_hand(*size));
    let walked = |size: &Size| walk(*size, random_walk).exactly(walked_by_hand(*size));
    let large = [many_pairs, many_features].map(|size| affinity(size, pair_affinity).costing(Cost::High));
    (SMALL.iter().map(exactly))
        .chain(large)
        .chain(SMALL.iter().map(walked))
        .chain([walk(many_scores, random_walk).costing(Cost::High)])
        .collect()
}

/// The least radius with so many pairs.
fn radius_of(pairs: usize) -> usize {
    (2..).find(|radius| offsets(*radius).len() >= pairs).unwrap_or(2)
}

fn affinity_parts(result: Vec<f32>, gradient: Vec<f32>) -> Vec<Part> {
    vec![
        part("result", result, AFFINITY_TOLERANCE),
        part("gradient", gradient, TOLERANCE),
    ]
}

fn walk_parts(result: Vec<f32>, gradient: Vec<f32>) -> Vec<Part> {
    vec![part("result", result, TOLERANCE), part("gradient", gradient, TOLERANCE)]
}

fn part(name: &'static str, values: Vec<f32>, tolerance: f64) -> Part {
    Part {
        name,
        tensors: vec![values],
        tolerance,
    }
}

fn upstream(count: usize) -> Vec<f32> {
    values(count, 2, 0.5, 1.5)
}

/// `operator` in place of [`pair_affinity`] on the device.
pub(super) fn affinity(size: Size, operator: impl Fn(Tensor<4>, usize, Distance) -> Tensor<4> + 'static) -> Check {
    Check::new(
        "pair_affinity",
        format!("{}, radius {}", words(&size.features, size.layout), size.radius),
        "the stages affinity and propagate",
        move |device| affinity_on(size, &operator, device),
        move || affinity_on(size, &pair_affinity, &Device::flex()),
    )
}

fn affinity_on(
    size: Size,
    operator: &dyn Fn(Tensor<4>, usize, Distance) -> Tensor<4>,
    device: &Device,
) -> Result<Vec<Part>> {
    let device = device.clone().autodiff();
    let features = Input::new(&size.features(), size.features, size.layout, &device);
    let walk = size.walk();
    let out = operator(features.tensor(), walk.radius, walk.distance);
    let mut gradients = backward(&out, &upstream(out.dims().iter().product()));
    let result = download(out.inner())?;
    Ok(affinity_parts(result, features.gradient(&mut gradients)?))
}

fn by_hand(size: Size) -> impl Fn() -> Result<Vec<Part>> {
    move || {
        let [b, _, h, w] = size.features;
        let count = b * offsets(size.radius).len() * h * w;
        let [result, gradient] = exact::affinity(&size.features(), size.features, size.walk(), &upstream(count));
        Ok(affinity_parts(result, gradient))
    }
}

impl Size {
    fn scores(self) -> (Vec<f32>, [usize; 4]) {
        let [b, _, h, w] = self.features;
        let shape = [b, self.classes, h, w];
        (values(shape.iter().product(), 3, 0.5, 1.5), shape)
    }
}

/// `operator` in place of [`random_walk`] on the device.
pub(super) fn walk(size: Size, operator: impl Fn(Tensor<4>, Tensor<4>, Walk) -> Tensor<4> + 'static) -> Check {
    let (_, shape) = size.scores();
    Check::new(
        "random_walk",
        format!(
            "{}, radius {}, {} steps",
            words(&shape, size.layout),
            size.radius,
            size.steps
        ),
        "the stage propagate",
        move |device| walk_on(size, &operator, device),
        move || walk_on(size, &random_walk, &Device::flex()),
    )
}

fn walk_on(
    size: Size,
    operator: &dyn Fn(Tensor<4>, Tensor<4>, Walk) -> Tensor<4>,
    device: &Device,
) -> Result<Vec<Part>> {
    let device = device.clone().autodiff();
    let features = Input::new(&size.features(), size.features, size.layout, &device);
    let (scores, shape) = size.scores();
    let count = scores.len();
    let scores = Input::new(&scores, shape, size.layout, &device);
    let out = operator(features.tensor(), scores.tensor(), size.walk());
    let mut gradients = backward(&out, &upstream(count));
    let result = download(out.inner())?;
    Ok(walk_parts(result, scores.gradient(&mut gradients)?))
}

fn walked_by_hand(size: Size) -> impl Fn() -> Result<Vec<Part>> {
    move || {
        let (scores, _) = size.scores();
        let [result, gradient] = exact::walk(
            &size.features(),
            size.features,
            &scores,
            size.walk(),
            &upstream(scores.len()),
        );
        Ok(walk_parts(result, gradient))
    }
}
