//! The random walk as a stencil against the released code's way, the dense transition matrix, squared; and with the rows
//! of an image's own classes against those of all.

use anyhow::Result;
use burn::tensor::{Device, Distribution, Tensor, TensorData};

use super::{OnOutcome, Outcome, compare};
use crate::device::Chosen;
use crate::device::download;
use crate::kernels::{Distance, Walk, offsets, pair_affinity, random_walk};

const CHANNELS: usize = 448;
const CLASSES: usize = 5;
/// PASCAL VOC's classes and the background; and a batch whose images have 1.5 tags in the mean, by mask value.
const ALL_ROWS: usize = 21;
const TAGS: [&[usize]; 4] = [&[3], &[15], &[8, 20], &[1, 12]];
const WALK: Walk = Walk {
    radius: 5,
    beta: 8.0,
    steps: 256,
    distance: Distance::Mean,
};

/// At the size of a VOC photograph, at four times the pixels for ours alone, to show how memory grows, and with the rows
/// that the stage propagate leaves out.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let small = one(&chosen.device, 63, 47, true)?;
    on_outcome(small.clone())?;
    let mut large = one(&chosen.device, 126, 94, false)?;
    // The pools of a GPU hold pages of megabytes, which the smaller grid does not fill.
    if chosen.adapter.is_none() {
        let growth = large.ours_bytes as f64 / small.ours_bytes.max(1) as f64;
        large.note = format!("4 times the pixels take {growth:.2} times the memory");
    }
    on_outcome(large)?;
    on_outcome(rows(&chosen.device, 63, 47)?)
}

/// The walk of a batch's background and tagged classes alone, as the stage propagate has it, against that of all classes.
fn rows(device: &Device, h: usize, w: usize) -> Result<Outcome> {
    device.seed(0);
    let b = TAGS.len();
    let features = Tensor::<4>::random([b, CHANNELS, h, w], Distribution::Uniform(0.0, 0.1), device);
    let own = 1 + TAGS.iter().map(|tags| tags.len()).max().unwrap_or(0);
    let mut full = vec![0.0f32; b * ALL_ROWS * h * w];
    let mut compact = vec![0.0f32; b * own * h * w];
    for (image, tags) in TAGS.iter().enumerate() {
        for (row, value) in std::iter::once(&0).chain(*tags).enumerate() {
            let score = |i: usize| ((i * (value + 2)) % 97) as f32 / 97.0;
            let values: Vec<f32> = (0..h * w).map(score).collect();
            full[(image * ALL_ROWS + value) * h * w..][..h * w].copy_from_slice(&values);
            compact[(image * own + row) * h * w..][..h * w].copy_from_slice(&values);
        }
    }
    let walk = |scores: &[f32], rows: usize| {
        let scores = TensorData::new(scores.to_vec(), [b, rows, h, w]);
        download(random_walk(features.clone(), Tensor::from_data(scores, device), WALK))
    };
    let (all, some) = (walk(&full, ALL_ROWS)?, walk(&compact, own)?);
    let mut differ = 0;
    for (image, tags) in TAGS.iter().enumerate() {
        for (row, value) in std::iter::once(&0).chain(*tags).enumerate() {
            let all = &all[(image * ALL_ROWS + value) * h * w..][..h * w];
            let some = &some[(image * own + row) * h * w..][..h * w];
            differ += all.iter().zip(some).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        }
    }
    compare(
        format!("random-walk {h} x {w}, {b} images, {own} rows for {ALL_ROWS}"),
        device,
        || walk(&compact, own).map(drop),
        Some(&|| walk(&full, ALL_ROWS).map(drop)),
        format!("{differ} values have other bits"),
    )
}

fn one(device: &Device, h: usize, w: usize, with_plain: bool) -> Result<Outcome> {
    device.seed(0);
    let noise = |c: usize| Tensor::<4>::random([1, c, h, w], Distribution::Uniform(0.0, 1.0), device);
    // Neighbours alike but not equal, as trained features are.
    let features = noise(CHANNELS) * 0.1;
    let scores = noise(CLASSES);
    let ours = || download(random_walk(features.clone(), scores.clone(), WALK)).map(drop);
    let plain = || download(dense(features.clone(), scores.clone())?).map(drop);
    let mut note = String::new();
    if with_plain {
        let a = download(random_walk(features.clone(), scores.clone(), WALK))?;
        let b = download(dense(features.clone(), scores.clone())?)?;
        let error = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        note = format!("largest difference of the two results: {error:.1e}");
    }
    compare(
        format!("random-walk {h} x {w}, {CHANNELS} channels, {CLASSES} classes"),
        device,
        ours,
        with_plain.then_some(&plain),
        note,
    )
}

/// T of Eq. 11 as an HW x HW matrix, squared eight times (t = 256), times the scores.
fn dense(features: Tensor<4>, scores: Tensor<4>) -> Result<Tensor<2>> {
    let [_, _, h, w] = features.dims();
    let [_, c, _, _] = scores.dims();
    let n = h * w;
    let device = features.device();
    let affinity = download(pair_affinity(features, WALK.radius, WALK.distance))?;
    let mut matrix = vec![0.0f32; n * n];
    for (k, (dy, dx)) in offsets(WALK.radius).into_iter().enumerate() {
        for i in 0..n {
            let (y, x) = ((i / w) as i32 + dy, (i % w) as i32 + dx);
            if (0..h as i32).contains(&y) && (0..w as i32).contains(&x) {
                let j = y as usize * w + x as usize;
                matrix[i * n + j] = affinity[k * n + i];
                matrix[j * n + i] = affinity[k * n + i];
            }
        }
    }
    for i in 0..n {
        matrix[i * n + i] = 1.0;
    }
    let matrix = Tensor::<2>::from_data(TensorData::new(matrix, [n, n]), &device);
    let matrix = matrix.powf_scalar(WALK.beta);
    let mut transition = matrix.clone() / matrix.sum_dim(1);
    for _ in 0..WALK.steps.ilog2() {
        transition = transition.clone().matmul(transition);
    }
    Ok(transition.matmul(scores.reshape([c, n]).transpose()).transpose())
}
