//! The dense CRF against pydensecrf on the same image and machine, and how its cost grows.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use image::RgbImage;
use ndarray::Array3;
use serde::Deserialize;

use super::{NOT_INSTALLED, OnOutcome, Outcome, PAIRS, crf_scene, failed, median, memory, python, seconds};
use crate::crf::unary::unary_from_probabilities;
use crate::crf::{DenseCrf, Preset};
use crate::device::Chosen;
use crate::progress;

/// A photograph of VOC.
const SIZE: (usize, usize) = (500, 375);
const LABELS: usize = 4;
/// About a quarter, half, once and twice the pixels.
const SIZES: [(usize, usize); 4] = [(250, 188), (354, 265), SIZE, (707, 530)];
const LABEL_COUNTS: [usize; 4] = [2, 4, 8, 16];
/// Runs of each size, of which the median counts.
const RUNS: usize = 3;

/// Both kernels of the default preset, 10 iterations, lattices included.
pub fn run(chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    let device = &chosen.device;
    on_outcome(against_pydensecrf(device)?)?;
    let grown = |name: &str, of: Vec<(f64, String, Scene)>| -> Result<Outcome> {
        let bar = progress::bar((of.len() * (RUNS + 1)) as u64, "run", name);
        let mut points = Vec::new();
        let mut told = Vec::new();
        for (amount, what, scene) in &of {
            scene.refine(device)?;
            bar.inc(1);
            let mut times = Vec::new();
            for _ in 0..RUNS {
                times.push(seconds(&|| scene.refine(device))?);
                bar.inc(1);
            }
            let time = median(times).unwrap_or(f64::NAN);
            points.push((*amount, time));
            told.push(format!("{what} {:.0} ms", 1e3 * time));
        }
        bar.finish();
        let note = format!("cost ~ {name}^{:.2}: {}", exponent(&points), told.join(", "));
        let last = points.last().map(|p| p.1).into_iter().collect();
        let name = format!("crf, cost by {name}");
        Ok(Outcome::of(name, last, Vec::new(), 0, note))
    };
    let sizes = SIZES.map(|(w, h)| ((w * h) as f64, format!("{w} x {h}"), Scene::new((w, h), LABELS)));
    on_outcome(grown("pixels", sizes.into())?)?;
    let labels = LABEL_COUNTS.map(|c| (c as f64, c.to_string(), Scene::new(SIZE, c)));
    on_outcome(grown("labels", labels.into())?)
}

struct Scene {
    crf: DenseCrf,
    image: RgbImage,
    unary: Array3<f32>,
}

impl Scene {
    fn new((width, height): (usize, usize), labels: usize) -> Scene {
        let (pixels, scores) = crf_scene::scene(width, height, labels);
        let image = RgbImage::from_raw(width as u32, height as u32, pixels).unwrap_or_default();
        let scores = Array3::from_shape_vec((labels, height, width), scores).unwrap_or_default();
        Scene {
            crf: Preset::Default.crf().unwrap_or(DenseCrf {
                reference_side: None,
                pairwise: Vec::new(),
                iterations: 0,
            }),
            image,
            unary: unary_from_probabilities(scores),
        }
    }

    fn refine(&self, device: &Device) -> Result<()> {
        let posterior = self.crf.refine(&self.image, self.unary.view(), device);
        Ok(posterior.map(drop)?)
    }
}

fn against_pydensecrf(device: &Device) -> Result<Outcome> {
    let (w, h) = SIZE;
    let name = format!("crf {w} x {h}, {LABELS} labels, 10 iterations");
    let scene = Scene::new(SIZE, LABELS);
    let bar = progress::bar(1 + 2 * PAIRS as u64, "run", &name);
    let ours_bytes = memory::peak(device, &|| scene.refine(device))?;
    bar.inc(1);
    let mut note = "plain: pydensecrf, one thread".to_string();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        ours.push(seconds(&|| scene.refine(device))?);
        bar.inc(1);
        match pydensecrf()? {
            Some(time) => theirs.push(time),
            None => {
                note =
                    "plain: none; Python has no pydensecrf (how to install it is at the top of src/bench/pydensecrf.py)"
                        .into()
            }
        }
        bar.inc(1);
    }
    bar.finish();
    Ok(Outcome::of(name, ours, theirs, ours_bytes, note))
}

/// Seconds that pydensecrf takes for the same; `None` where there is no Python or it has no pydensecrf.
fn pydensecrf() -> Result<Option<f64>> {
    #[derive(Deserialize)]
    struct Answer {
        seconds: Vec<f64>,
    }
    let (w, h) = SIZE;
    let started = python()
        .arg("-")
        .args([w, h, LABELS, 10, 1].map(|n| n.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        return Ok(None);
    };
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(include_bytes!("pydensecrf.py"))
            .context("giving Python the script pydensecrf.py")?;
    }
    let output = child.wait_with_output().context("waiting for Python")?;
    match output.status.code() {
        Some(0) => {
            let answer: Answer = serde_json::from_slice(&output.stdout).context("reading what pydensecrf.py prints")?;
            Ok(median(answer.seconds))
        }
        Some(NOT_INSTALLED) => Ok(None),
        _ => Err(failed("pydensecrf.py", output.status)),
    }
}

/// The exponent p of time ~ amount^p, by least squares on logarithms.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let (x, y) = logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (covariance, variance) = logs.iter().fold((0.0, 0.0), |(c, v), (a, b)| {
        (c + (a - x) * (b - y), v + (a - x) * (a - x))
    });
    covariance / variance
}
