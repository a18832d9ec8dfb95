//! `weakseg doctor`: whether an adapter computes what it should.
//!
//! Every kernel and a small network of every kind of layer run on the adapter and on the CPU, forward and backward; in
//! full, launches past a dimension's limit and every network of the papers too. In software the networks and what else burn
//! tunes for minutes are left to that as well. A new operator gets a file with a list of [`Check`]s here, and its line in
//! `checks`.

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

pub use check::{Against, Check, Compared, Cost, Outcome, Part};
pub use report::{Report, versions_line};

use crate::device::Chosen;
use crate::progress;

/// The checks that cost no more than `most`, those that others could hide a fault from first, then the quickest.
fn checks(most: Cost) -> Vec<Check> {
    [
        parameters::checks(),
        operators::checks(),
        convolution::checks(),
        lattice::checks(),
        networks::checks(),
    ]
    .into_iter()
    .flatten()
    .filter(|check| check.cost <= most)
    .collect()
}

/// What the checks of a device may cost, unless they are run in full: about a minute.
fn usual_cost(chosen: &Chosen) -> Cost {
    let is_software = chosen.adapter.as_ref().is_some_and(|adapter| !adapter.is_gpu());
    if is_software { Cost::Low } else { Cost::Tuning }
}

/// Runs the checks of about a minute, or in `full` all, on a device: against the CPU's results on an adapter, against
/// brute force on the CPU itself.
pub fn run(chosen: &Chosen, full: bool) -> Report {
    let against = match chosen.adapter {
        Some(_) => Against::Twin,
        None => Against::BruteForce,
    };
    let checks = checks(if full { Cost::High } else { usual_cost(chosen) });
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
