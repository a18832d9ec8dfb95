//! One operator at one shape: what it computes, and how far that is from what it should.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use serde::Serialize;

/// A gradient counts from this share of the largest of its part on: below it, rounding is all there is.
const SMALLEST_SHARE: f32 = 0.01;

/// Something that an operator computes: its result, or a gradient.
pub struct Part {
    /// `result`, `gradient` or what else it is.
    pub name: &'static str,
    /// The values, tensor by tensor: errors are relative to the largest value of their tensor.
    pub tensors: Vec<Vec<f32>>,
    /// Largest relative error that passes.
    pub tolerance: f64,
}

/// What a check costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Seconds at most, also in software.
    Low,
    /// Kernels of burn's that are tuned first: a minute or more for each shape in software, where a driver compiles slowly.
    Tuning,
    /// Much work, or many shapes to tune for.
    High,
}

/// What results are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Against {
    /// What the CPU backend computes.
    #[serde(rename = "CPU twin")]
    Twin,
    /// The operator's definition, written down as plainly as possible; not every check has it.
    #[serde(rename = "brute force")]
    BruteForce,
}

type Measured = Box<dyn Fn(&Device) -> Result<Vec<Part>>>;
type Reference = Box<dyn Fn() -> Result<Vec<Part>>>;

/// An operator at a shape.
pub struct Check {
    /// Name of the operator or network.
    pub name: String,
    /// Its sizes in words.
    pub shape: String,
    /// What in weakseg is wrong where it is.
    pub used_by: &'static str,
    /// What a device spends on it.
    pub cost: Cost,
    on_device: Measured,
    twin: Reference,
    exact: Option<Reference>,
}

/// A part of a check's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// `result`, `gradient` or what else it is.
    pub name: &'static str,
    /// Largest difference relative to the largest value of the same tensor; infinite (`null` in JSON) where a value is
    /// not a number or missing.
    pub error: f64,
    /// Largest error that passes.
    pub tolerance: f64,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Name of the operator or network.
    pub name: String,
    /// Its sizes in words.
    pub shape: String,
    /// What in weakseg is wrong where it is.
    pub used_by: &'static str,
    /// What the parts were compared with; `None`: with nothing, as the device is the reference.
    pub against: Option<Against>,
    /// By part.
    pub parts: Vec<Compared>,
    /// Seconds on the device, with compiling and tuning of kernels that it had not seen before.
    pub seconds: f64,
    /// Why there is nothing to compare, in one line, where the device gave no result.
    pub failure: Option<String>,
}

impl Check {
    /// A check of `name` at `shape`: `on_device` computes on the device that is looked at, `twin` on the CPU.
    pub fn new(
        name: impl Into<String>,
        shape: impl Into<String>,
        used_by: &'static str,
        on_device: impl Fn(&Device) -> Result<Vec<Part>> + 'static,
        twin: impl Fn() -> Result<Vec<Part>> + 'static,
    ) -> Check {
        Check {
            name: name.into(),
            shape: shape.into(),
            used_by,
            cost: Cost::Low,
            on_device: Box::new(on_device),
            twin: Box::new(twin),
            exact: None,
        }
    }

    /// With another cost.
    pub fn costing(self, cost: Cost) -> Check {
        Check { cost, ..self }
    }

    /// With its parts by brute force.
    pub fn exactly(self, exact: impl Fn() -> Result<Vec<Part>> + 'static) -> Check {
        Check {
            exact: Some(Box::new(exact)),
            ..self
        }
    }

    /// Runs it on `device`. A check without brute force does not run against that.
    pub fn on(&self, device: &Device, against: Against) -> Outcome {
        let reference = match against {
            Against::Twin => Some(&self.twin),
            Against::BruteForce => self.exact.as_ref(),
        };
        let mut outcome = Outcome {
            name: self.name.clone(),
            shape: self.shape.clone(),
            used_by: self.used_by,
            against: reference.map(|_| against),
            parts: Vec::new(),
            seconds: 0.0,
            failure: None,
        };
        let Some(reference) = reference else {
            return outcome;
        };
        let clock = Instant::now();
        let actual = caught(|| (self.on_device)(device));
        outcome.seconds = clock.elapsed().as_secs_f64();
        let compared = actual.and_then(|actual| compare(&actual, &caught(reference)?));
        match compared {
            Ok(parts) => outcome.parts = parts,
            Err(error) => outcome.failure = Some(format!("{error:#}").replace('\n', " ")),
        }
        outcome
    }
}

impl Compared {
    /// Whether the error is within its tolerance.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn passes(&self) -> bool {
        self.failure.is_none() && self.parts.iter().all(Compared::passes)
    }

    /// The part that is furthest off for its tolerance.
    pub fn worst(&self) -> Option<&Compared> {
        let excess = |part: &Compared| part.error / part.tolerance;
        let parts = self.parts.iter();
        parts.reduce(|a, b| if excess(b) > excess(a) { b } else { a })
    }
}

/// A driver that panics fails its check and not the program.
fn caught<T>(compute: impl Fn() -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(compute));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        bail!("{}", text.unwrap_or("a panic without a message"))
    })
}

fn compare(actual: &[Part], expected: &[Part]) -> Result<Vec<Compared>> {
    if actual.len() != expected.len() {
        bail!("{} parts, but the reference has {}", actual.len(), expected.len());
    }
    let pairs = actual.iter().zip(expected);
    Ok(pairs
        .map(|(actual, expected)| Compared {
            name: actual.name,
            error: error(&actual.tensors, &expected.tensors),
            tolerance: actual.tolerance,
        })
        .collect())
}

/// The largest difference relative to the largest value of its tensor, or to [`SMALLEST_SHARE`] of the largest of all.
fn error(actual: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let lengths = |tensors: &[Vec<f32>]| tensors.iter().map(Vec::len).collect::<Vec<_>>();
    if lengths(actual) != lengths(expected) {
        return f64::INFINITY;
    }
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let all = expected.iter().map(|v| largest(v)).fold(0.0, f32::max);
    let mut worst = 0.0f64;
    for (actual, expected) in actual.iter().zip(expected) {
        let scale = largest(expected).max(SMALLEST_SHARE * all).max(f32::MIN_POSITIVE);
        for (a, e) in actual.iter().zip(expected) {
            let difference = f64::from((a - e).abs());
            // NaN would drop out of a maximum.
            if !difference.is_finite() {
                return f64::INFINITY;
            }
            worst = worst.max(difference / f64::from(scale));
        }
    }
    worst
}
