//! Commands that run one after the other, each with a headline, and a table of their times.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{command_line, run as run_command};
use crate::failure::Failure;

/// A command under a short name.
pub struct Step {
    pub name: &'static str,
    pub command: Command,
}

/// Runs the steps up to the first that fails, and prints the table in both cases.
pub fn run(steps: Vec<Step>) -> Result<(), Failure> {
    let (count, started) = (steps.len(), Instant::now());
    let mut lines = Vec::new();
    let mut outcome = Ok(());
    for (i, mut step) in steps.into_iter().enumerate() {
        if outcome.is_err() {
            lines.push(format!("  {:8}{:>14}  not run", step.name, "-"));
            continue;
        }
        eprintln!("\n== {}/{count} {}: {}", i + 1, step.name, command_line(&step.command));
        let step_started = Instant::now();
        outcome = run_command(&mut step.command);
        let (time, verdict) = (
            show(step_started.elapsed()),
            if outcome.is_ok() { "ok" } else { "FAILED" },
        );
        eprintln!("== {} {verdict} after {time}", step.name);
        lines.push(format!("  {:8}{time:>14}  {verdict}", step.name));
    }
    eprintln!("\n{}\n  {:8}{:>14}", lines.join("\n"), "total", show(started.elapsed()));
    outcome
}

/// `12.3 s`, or `2 min 05 s` from a minute on.
fn show(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn times_are_readable() {
        assert_eq!(show(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(show(Duration::from_secs(60)), "1 min 00 s");
        assert_eq!(show(Duration::from_secs(3725)), "62 min 05 s");
    }

    #[test]
    fn stops_at_the_first_failure() {
        let cargo = |arg: &str| {
            let mut command = crate::cargo::cargo([arg]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let steps = vec![
            Step {
                name: "first",
                command: cargo("--version"),
            },
            Step {
                name: "second",
                command: cargo("--no-such-option"),
            },
            Step {
                name: "third",
                command: Command::new("never-started"),
            },
        ];
        let failure = run(steps).unwrap_err();
        assert!(failure.to_string().contains("--no-such-option"), "{failure}");
        assert_eq!(failure.code, 1);
    }
}
