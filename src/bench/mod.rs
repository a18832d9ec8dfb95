//! Benchmarks: ours and the plain formulation in turn in one process, on one device, as a ratio.

mod conv2d;
mod convolution;
mod crf;
mod crf_scene;
mod cross_attention;
mod inference;
mod lite0;
pub mod memory;
pub mod models;
mod pair_affinity;
mod pytorch;
mod random_walk;
mod train_step;

use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Error, Result, anyhow, bail};
use burn::tensor::Device;
use serde::Serialize;

use crate::device::Chosen;
use crate::doctor;
use crate::progress;

/// Timed pairs of a benchmark.
const PAIRS: usize = 5;
/// Least seconds of either side of a pair.
const TURN: f64 = 1.0;

/// Seconds of a run that is not made twice.
const LONG: f64 = 60.0;

/// One benchmark's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Name and size.
    pub name: String,
    /// Median seconds of ours.
    pub ours_seconds: f64,
    /// Median seconds of the plain formulation; `None` where the device cannot hold it.
    pub plain_seconds: Option<f64>,
    /// Plain / ours.
    pub ratio: Option<f64>,
    /// Peak memory of ours, bytes beyond the inputs.
    pub ours_bytes: u64,
    /// Peak memory of the plain formulation, bytes beyond the inputs.
    pub plain_bytes: Option<u64>,
    /// What else is to be said.
    pub note: String,
}

/// Takes each outcome as soon as there is one.
pub type OnOutcome<'a> = &'a mut dyn FnMut(Outcome) -> Result<()>;

/// The benchmarks by name.
type Bench = fn(&Chosen, bool, OnOutcome) -> Result<()>;
const ALL: [(&str, Bench); 9] = [
    ("random-walk", |chosen, _, on_outcome| {
        random_walk::run(chosen, on_outcome)
    }),
    ("pair-affinity", |chosen, _, on_outcome| {
        pair_affinity::run(chosen, on_outcome)
    }),
    ("crf", |chosen, _, on_outcome| crf::run(chosen, on_outcome)),
    ("cross-attention", |chosen, _, on_outcome| {
        cross_attention::run(chosen, on_outcome)
    }),
    ("conv", conv2d::run),
    ("convolution", |chosen, _, on_outcome| {
        convolution::run(chosen, on_outcome)
    }),
    ("inference", |chosen, _, on_outcome| inference::run(chosen, on_outcome)),
    ("lite0", |chosen, _, on_outcome| lite0::run(chosen, on_outcome)),
    ("train-step", |chosen, _, on_outcome| {
        train_step::run(chosen, on_outcome)
    }),
];

/// Runs the benchmark called `name`, or all; `quick`ly where a benchmark has fewer sizes for that.
///
/// # Errors
/// On an unknown name, where a device fails, and those of `on_outcome`.
pub fn run(name: Option<&str>, quick: bool, chosen: &Chosen, on_outcome: OnOutcome) -> Result<()> {
    if let Some(name) = name
        && ALL.iter().all(|(known, _)| *known != name)
    {
        let known = ALL.map(|(name, _)| name).join(", ");
        bail!("unknown benchmark {name:?}: use one of {known}");
    }
    for (known, bench) in ALL {
        if name.is_none_or(|n| n == known) {
            bench(chosen, quick, on_outcome)?;
        }
    }
    Ok(())
}

/// Times `ours` against `plain`, one warm-up each, then five pairs in turn; `ours` alone once, and where its
/// warm-up took longer than [`LONG`], that is it.
fn compare(
    name: String,
    device: &Device,
    ours: impl Fn() -> Result<()>,
    plain: Option<&dyn Fn() -> Result<()>>,
    note: String,
) -> Result<Outcome> {
    let pairs = if plain.is_some() { PAIRS } else { 1 };
    let bar = progress::bar(2 + 2 * pairs as u64, "run", &name);
    let clock = Instant::now();
    let ours_bytes = memory::peak(device, &ours)?;
    let first = clock.elapsed().as_secs_f64();
    bar.inc(1);
    let plain_bytes = plain.map(|plain| memory::peak(device, plain)).transpose()?;
    bar.inc(1);
    let mut times = (Vec::new(), Vec::new());
    let pairs = if plain.is_none() && first > LONG {
        times.0.push(first);
        0
    } else {
        pairs
    };
    for _ in 0..pairs {
        times.0.push(seconds(&ours)?);
        bar.inc(1);
        if let Some(plain) = plain {
            times.1.push(seconds(plain)?);
        }
        bar.inc(1);
    }
    bar.finish();
    Ok(Outcome {
        plain_bytes,
        ..Outcome::of(name, times.0, times.1, ours_bytes, note)
    })
}

impl Outcome {
    /// The medians of the seconds of ours and, where there are any, of the plain form.
    fn of(name: String, ours: Vec<f64>, plain: Vec<f64>, ours_bytes: u64, note: String) -> Outcome {
        let ours_seconds = median(ours).unwrap_or(f64::NAN);
        let plain_seconds = median(plain);
        Outcome {
            name,
            ours_seconds,
            plain_seconds,
            ratio: plain_seconds.map(|plain| plain / ours_seconds),
            ours_bytes,
            plain_bytes: None,
            note,
        }
    }
}

/// What the scripts beside the benchmarks exit with where Python does not have the module that they time.
const NOT_INSTALLED: i32 = 3;

/// The Python that they run in: the one that `WEAKSEG_PYTHON` names, or `python3`.
fn python() -> Command {
    Command::new(std::env::var_os("WEAKSEG_PYTHON").unwrap_or_else(|| "python3".into()))
}

/// What a script says that failed in [`python`].
fn failed(script: &str, status: ExitStatus) -> Error {
    let python = python().get_program().display().to_string();
    anyhow!("{script} failed in {python}, {status}: WEAKSEG_PYTHON names another Python")
}

/// Seconds of one run, on average over as many as fit into [`TURN`]: a single short one says little.
fn seconds(work: &(impl Fn() -> Result<()> + ?Sized)) -> Result<f64> {
    let clock = Instant::now();
    let mut runs = 0;
    loop {
        work()?;
        runs += 1;
        let elapsed = clock.elapsed().as_secs_f64();
        if elapsed >= TURN {
            return Ok(elapsed / f64::from(runs));
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The columns of [`line()`], below versions, machine and device.
pub fn head(chosen: &Chosen) -> String {
    format!(
        "{}\n{}\n{}\n{:<52} {:>10} {:>10} {:>9} {:>10} {:>10}",
        doctor::versions_line(),
        machine(),
        chosen.reason,
        "benchmark",
        "ours",
        "plain",
        "ratio",
        "ours MB",
        "plain MB"
    )
}

/// An outcome as aligned text, and its note in a line below.
pub fn line(o: &Outcome) -> String {
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let mut text = format!(
        "{:<52} {:>10} {:>10} {:>9} {:>10} {:>10}",
        o.name,
        time(o.ours_seconds),
        or_dash(o.plain_seconds.map(time)),
        or_dash(o.ratio.map(|r| format!("{r:.2} x"))),
        megabytes(o.ours_bytes),
        or_dash(o.plain_bytes.map(megabytes)),
    );
    if !o.note.is_empty() {
        text += &format!("\n  {}", o.note);
    }
    text
}

/// Operating system, architecture and processor, as far as the system says.
fn machine() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or(String::new(), |(_, name)| format!(", {}", name.trim()));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{os} {arch}, {threads} threads{model}")
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", 1e3 * seconds)
    } else {
        format!("{seconds:.2} s")
    }
}
