//! What came of all checks: for people a table and one sentence, for bug reports JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::check::{Against, Outcome};
use crate::device::{Adapter, Chosen};

/// Libraries whose versions decide what runs on an adapter.
const LIBRARIES: [&str; 4] = ["burn", "cubecl", "naga", "wgpu"];

/// The outcomes on one device.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Names and versions of weakseg and of what it computes with.
    pub versions: Vec<(String, String)>,
    /// Operating system and processor architecture.
    pub system: String,
    /// What the checks ran on, and why there.
    pub device: String,
    /// The adapter, with its driver and limits, where it is not the CPU backend.
    pub adapter: Option<Adapter>,
    /// One sentence: fit for use, or what to avoid.
    pub verdict: String,
    /// Whether no check failed.
    pub fit: bool,
    /// By check.
    pub checks: Vec<Outcome>,
}

impl Report {
    /// The report of `checks` on the device.
    pub fn new(chosen: &Chosen, checks: Vec<Outcome>) -> Report {
        let name = chosen.adapter.as_ref().map_or("the CPU", |a| &a.name);
        Report {
            versions: versions(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            device: chosen.reason.clone(),
            adapter: chosen.adapter.clone(),
            verdict: verdict(name, &checks),
            fit: checks.iter().all(Outcome::passes),
            checks,
        }
    }

    /// Names of what failed, each once.
    pub fn failed(&self) -> Vec<&str> {
        failed(&self.checks, |outcome| &outcome.name)
    }

    /// The report as aligned text, the verdict last.
    pub fn table(&self) -> String {
        let mut text = format!("{}; {}\n{}\n", versions_line(), self.system, self.device);
        if let Some(adapter) = &self.adapter {
            text += &format!("driver: {}\n", adapter.driver);
        }
        text += &format!(
            "{:<30} {:<40} {:>18} {:>10}\n",
            "kernel or network", "shape", "largest error", "time"
        );
        for outcome in &self.checks {
            text += &format!("{}\n", line(outcome));
        }
        text + &self.verdict
    }
}

/// A row of the table.
pub(super) fn line(outcome: &Outcome) -> String {
    let error = outcome.worst().map_or("-".to_owned(), |worst| {
        let error = match worst.error.is_finite() {
            true => format!("{:.1e}", worst.error),
            false => "not a number".to_owned(),
        };
        // The part is worth its place only where there is something to look for.
        match worst.passes() {
            true => error,
            false => format!("{error} ({})", worst.name),
        }
    });
    let state = match (&outcome.failure, outcome.against) {
        (Some(failure), _) => format!("FAIL: {failure}"),
        (None, None) => "not run: the CPU is the reference".to_owned(),
        (None, Some(_)) if outcome.passes() => "pass".to_owned(),
        (None, Some(_)) => "FAIL".to_owned(),
    };
    let (name, shape) = (&outcome.name, &outcome.shape);
    let time = format!("{:.0} ms", 1e3 * outcome.seconds);
    format!("{name:<30} {shape:<40} {error:>18} {time:>10}  {state}")
}

/// What `of` says of the outcomes that failed, each once.
fn failed<'a>(outcomes: &'a [Outcome], of: impl Fn(&'a Outcome) -> &'a str) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let failed = outcomes.iter().filter(|outcome| !outcome.passes());
    failed.map(of).filter(|text| seen.insert(*text)).collect()
}

/// One sentence about `device`.
fn verdict(device: &str, outcomes: &[Outcome]) -> String {
    let wrong = failed(outcomes, |outcome| &outcome.name);
    let count = |against| outcomes.iter().filter(|o| o.against == against).count();
    if !wrong.is_empty() {
        return format!(
            "Avoid {} on {device}: {} failed; use --device cpu for that, and report it with the output of `weakseg doctor --json`.",
            failed(outcomes, |outcome| outcome.used_by).join(", "),
            wrong.join(", ")
        );
    }
    match (count(Some(Against::BruteForce)), count(None)) {
        (0, _) => format!(
            "{device} is fit for use: all {} checks agree with the CPU.",
            outcomes.len()
        ),
        (exact, rest) => format!(
            "{device} is fit for use: {exact} checks agree with brute force; the other {rest} compare adapters with this very device."
        ),
    }
}

/// Versions of weakseg and of what it computes with, in one line.
pub fn versions_line() -> String {
    let versions = versions();
    let named: Vec<String> = versions.iter().map(|(n, v)| format!("{n} {v}")).collect();
    named.join(", ")
}

/// From the lock file that this program was built with.
fn versions() -> Vec<(String, String)> {
    let lock = include_str!("../../Cargo.lock");
    let value = |line: &str, key: &str| -> Option<String> {
        let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
        value.strip_suffix('"').map(str::to_owned)
    };
    let lines: Vec<&str> = lock.lines().collect();
    let locked = lines.windows(2).filter_map(|pair| {
        let name = value(pair[0], "name")?;
        let is_wanted = LIBRARIES.contains(&name.as_str());
        is_wanted.then_some((name, value(pair[1], "version")?))
    });
    let own = ("weakseg".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    std::iter::once(own).chain(locked).collect()
}
