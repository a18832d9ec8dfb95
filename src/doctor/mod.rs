//! `weakseg doctor`: whether an adapter computes what it should.
//!
//! Every kernel and a small network of every kind of layer run on the adapter and on the CPU, forward and backward; in
//! full, launches past a dimension's limit and every network of the papers too. A new operator gets a file with a list of
//! [`Check`]s here, and its line in `checks`.

mod check;
mod convolution;
mod exact;
mod input;
mod lattice;
mod networks;
mod operators;
mod parameters;
mod report;
#[cfg(test)]
mod tests;

pub use check::{Against, Check, Compared, Outcome, Part};
pub use report::{Report, versions_line};

use crate::device::Chosen;
use crate::progress;

/// The checks, those that others could hide a fault from first, then the quickest: the ones of a minute in software, or
/// in `full` all.
fn checks(full: bool) -> Vec<Check> {
    [
        parameters::checks(),
        operators::checks(),
        convolution::checks(),
        lattice::checks(),
        networks::checks(),
    ]
    .into_iter()
    .flatten()
    .filter(|check| full || !check.takes_long)
    .collect()
}

/// Runs the checks of about a minute on software Vulkan, or in `full` all, on a device: against the CPU's results on an
/// adapter, against brute force on the CPU itself.
pub fn run(chosen: &Chosen, full: bool) -> Report {
    let against = match chosen.adapter {
        Some(_) => Against::Twin,
        None => Against::BruteForce,
    };
    let checks = checks(full);
    let bar = progress::bar(checks.len() as u64, "checks", "doctor");
    let mut outcomes = Vec::new();
    for check in &checks {
        bar.message(&format!("{} {}", check.name, check.shape));
        let outcome = check.on(&chosen.device, against);
        // A driver may hang later on: what is known by then is worth a line.
        if outcome.passes() {
            log::debug!("{}", report::line(&outcome));
        } else {
            log::warn!("{}", report::line(&outcome));
        }
        outcomes.push(outcome);
        chosen.device.memory_cleanup();
        bar.inc(1);
    }
    bar.finish();
    Report::new(chosen, outcomes)
}
