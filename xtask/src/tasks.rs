//! The tasks: what each is called, what its help says, and what it runs.

use std::process::Command;

use crate::cargo::{build_weakseg, cargo, program_path, weakseg, with_env};
use crate::failure::Failure;
use crate::vulkan::{self, Need};

mod coverage;
mod steps;

use steps::Step;

/// One subcommand of `cargo xtask`.
pub struct Task {
    /// What the user types.
    pub name: &'static str,
    /// One line for the list of tasks.
    pub summary: &'static str,
    /// What `cargo xtask help NAME` prints.
    pub help: &'static str,
    /// Runs the task with the arguments after its name.
    pub run: fn(&[String]) -> Result<(), Failure>,
}

/// In the order of the help.
pub const TASKS: &[Task] = &[
    Task {
        name: "demo",
        summary: "Build weakseg and run its demonstration",
        help: DEMO,
        run: demo,
    },
    Task {
        name: "test",
        summary: "Check the formatting, run clippy and every test",
        help: TEST,
        run: test,
    },
    Task {
        name: "shaders",
        summary: "Prove that every kernel is valid and translates on every system",
        help: SHADERS,
        run: shaders,
    },
    Task {
        name: "bench",
        summary: "Build weakseg and run one benchmark, or all",
        help: BENCH,
        run: bench,
    },
    Task {
        name: "parity",
        summary: "Compare with the golden reference results",
        help: PARITY,
        run: parity,
    },
    Task {
        name: "fuzz",
        summary: "Arbitrary and damaged bytes through every reader of weights",
        help: FUZZ,
        run: fuzz,
    },
    Task {
        name: "coverage",
        summary: "How many lines the tests run, by module",
        help: COVERAGE,
        run: coverage,
    },
    Task {
        name: "smoke",
        summary: "Every method at its smallest, on Vulkan; kills and repeats",
        help: SMOKE,
        run: smoke,
    },
];

/// Tuning every kernel fully takes longer on software Vulkan than the tests themselves.
const FEW_AUTOTUNE_TRIALS: [(&str, &str); 1] = [("CUBECL_AUTOTUNE_LEVEL", "minimal")];

const DEMO: &str = "\
Build weakseg, generate the built-in data set, run AffinityNet on it and write a report.

Usage: cargo xtask demo [ARGS...]

ARGS go to `weakseg demo`, such as --device cpu, --seed 1 or --out DIR.
Vulkan is looked for first, unless ARGS ask for the CPU. On Linux a missing one is installed with apt where that is
allowed; without it the demo runs on the CPU, except where ARGS ask for a GPU.
";

fn demo(args: &[String]) -> Result<(), Failure> {
    vulkan::ensure(vulkan_need(args))?;
    weakseg(prepend(&["demo"], args), &[])
}

const TEST: &str = "\
Check the formatting, run clippy with warnings denied, build and run every test, then check every shader.

Usage: cargo xtask test [FILTER] [ARGS...]

FILTER and ARGS go to `cargo test`: a part of a test's name, --test golden, -- --include-ignored.
The steps run in this order up to the first that fails; the time of each is listed at the end. With a FILTER or ARGS the
shaders are left out (see `cargo xtask help shaders`).
The tests of the kernels need Vulkan, and software Vulkan will do: on Linux a missing one is installed with apt where
that is allowed. CUBECL_AUTOTUNE_LEVEL is `minimal` unless set.
";

fn test(args: &[String]) -> Result<(), Failure> {
    vulkan::ensure(Need::Required)?;
    let lint = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    let test = ["test", "--release", "--workspace", "--locked"];
    let mut run_tests = cargo(prepend(&test, args));
    with_env(&mut run_tests, &FEW_AUTOTUNE_TRIALS);
    let mut steps = vec![
        Step {
            name: "fmt",
            command: cargo(["fmt", "--all", "--check"]),
        },
        Step {
            name: "clippy",
            command: cargo(lint),
        },
        Step {
            name: "build",
            command: cargo(prepend(&[&test[..], &["--no-run"]].concat(), args)),
        },
        Step {
            name: "test",
            command: run_tests,
        },
    ];
    if args.is_empty() {
        steps.extend(shader_steps()?);
    }
    steps::run(steps)
}

const SHADERS: &str = "\
Write every WGSL source that the kernels can ask for, check each under WebGPU's default limits, that every barrier is in
uniform control flow, and translate each to SPIR-V, MSL and HLSL: whatever system this runs on, and without a GPU.

Usage: cargo xtask shaders
";

fn shaders(_: &[String]) -> Result<(), Failure> {
    build_weakseg()?;
    steps::run(shader_steps()?)
}

/// Expects weakseg to be built.
fn shader_steps() -> Result<Vec<Step>, Failure> {
    let program = program_path()?;
    let folder = program.with_file_name("shaders");
    // What an earlier version wrote must not be checked.
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let folder = folder.display();
            return Err(Failure::new(format!("cannot remove {folder}: {error}")));
        }
        _ => (),
    }
    let mut write = Command::new(program);
    write.args(["doctor", "--shaders"]).arg(&folder);
    let check = "--release --locked --package=shader-check --features=naga";
    let mut tests = cargo(["test"]);
    tests.args(check.split(' '));
    let mut check_all = cargo(["run", "--quiet"]);
    check_all.args(check.split(' ')).arg("--").arg(&folder);
    Ok(vec![
        Step {
            name: "checker",
            command: tests,
        },
        Step {
            name: "sources",
            command: write,
        },
        Step {
            name: "shaders",
            command: check_all,
        },
    ])
}

const BENCH: &str = "\
Build weakseg and time its kernels against the plain formulation: one table, with versions, machine and device on top.

Usage: cargo xtask bench [NAME] [ARGS...]

NAME and ARGS go to `weakseg bench`, such as random-walk --device cpu --json; without NAME every benchmark runs.
Vulkan is looked for first, as for the demo.
";

fn bench(args: &[String]) -> Result<(), Failure> {
    vulkan::ensure(vulkan_need(args))?;
    weakseg(prepend(&["bench"], args), &[])
}

const PARITY: &str = "\
Compare operators, networks and training steps with the golden reference results.

Usage: cargo xtask parity [--full] [--no-autotune] [FILTER]

--full also runs the ignored tests, of networks at full width, then all of them once more without autotune.
--no-autotune runs them without alone. burn decides that when it is compiled: the first time takes a build of burn.
FILTER is a part of a test's name. WEAKSEG_GOLDEN names a folder of golden files other than tests/golden. Needs Vulkan,
as the tests do.
";

fn parity(args: &[String]) -> Result<(), Failure> {
    vulkan::ensure(Need::Required)?;
    for args in parity_runs(args) {
        let mut command = cargo(args);
        crate::cargo::run(with_env(&mut command, &FEW_AUTOTUNE_TRIALS))?;
    }
    Ok(())
}

/// The arguments of cargo, for every run.
fn parity_runs(args: &[String]) -> Vec<Vec<String>> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let (full, without) = (has("--full"), has("--no-autotune"));
    let run = |features: &[&str]| {
        let base = ["test", "--release", "--package=weakseg", "--locked"];
        let base = base.iter().chain(features);
        let mut run: Vec<String> = base
            .chain(&["--test", "golden", "--"])
            .map(|arg| arg.to_string())
            .collect();
        for arg in args {
            match arg.as_str() {
                "--full" => run.push("--include-ignored".into()),
                "--no-autotune" => {}
                _ => run.push(arg.clone()),
            }
        }
        run
    };
    let mut runs = Vec::new();
    if !without {
        runs.push(run(&[]));
    }
    if without || full {
        runs.push(run(&["--no-default-features", "--features=cli"]));
    }
    runs
}

const FUZZ: &str = "\
Feed arbitrary bytes and damaged files to every reader of weight files: no panic, no memory beyond what a file warrants.

Usage: cargo xtask fuzz [FILTER]

Two minutes per reader, one of arbitrary bytes and one of damaged golden files; the ordinary tests take 30 seconds for
all of them. WEAKSEG_FUZZ_SECONDS sets another time. FILTER is a part of a test's name.
";

const FUZZ_SECONDS: (&str, &str) = ("WEAKSEG_FUZZ_SECONDS", "120");

fn fuzz(args: &[String]) -> Result<(), Failure> {
    let mut command = cargo(fuzz_args(args));
    crate::cargo::run(with_env(&mut command, &[FUZZ_SECONDS]))
}

fn fuzz_args(args: &[String]) -> Vec<String> {
    let filter: &[&str] = if args.is_empty() { &["fuzz::"] } else { &[] };
    let test = [
        "test",
        "--release",
        "--package=weakseg",
        "--locked",
        "--test",
        "weights",
        "--",
    ];
    prepend(&[&test[..], filter].concat(), args)
}

const COVERAGE: &str = "\
Run the tests under cargo-llvm-cov and print the share of lines that they run, by module. Fails below 90 % in kernels,
losses, metrics, weights or data. Where cargo-llvm-cov is missing it prints the line that installs it.

Usage: cargo xtask coverage [FILTER] [ARGS...]

FILTER and ARGS are those of `cargo test`. Everything is compiled once more, in a folder of its own.
";

fn coverage(args: &[String]) -> Result<(), Failure> {
    vulkan::ensure(Need::Required)?;
    let report = program_path()?.with_file_name("coverage.lcov");
    coverage::measure(&report, args, &FEW_AUTOTUNE_TRIALS)
}

const SMOKE: &str = "\
Run every method end to end at its smallest on any adapter, software Vulkan included, and check that every result file is
there and whole. Then, on the CPU: two runs of every method with one seed give the same bits, and so does a run that was
killed, at 20 random moments in all stages.

Usage: cargo xtask smoke [--device D] [FILTER]

--device D replaces `vulkan` in the first part, which keeps its runs in runs/smoke. FILTER is a part of a test's name:
every_method, two_runs or runs_killed. CUBECL_AUTOTUNE_LEVEL is `minimal` unless set.
";

fn smoke(args: &[String]) -> Result<(), Failure> {
    let device = device(args).unwrap_or("vulkan");
    vulkan::ensure(vulkan_need(&words(&["--device", device])))?;
    let mut command = cargo(smoke_args(args));
    command.env("WEAKSEG_SMOKE_DEVICE", device);
    crate::cargo::run(with_env(&mut command, &FEW_AUTOTUNE_TRIALS))
}

/// Arguments of cargo for those of the task, of which the device goes another way.
fn smoke_args(args: &[String]) -> Vec<String> {
    let mut filters = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--device" {
            rest.next();
        } else if !arg.starts_with("--device=") {
            filters.push(format!("smoke::{arg}"));
        }
    }
    if filters.is_empty() {
        filters.push("smoke::".to_string());
    }
    // One at a time: moments to kill at come from how long a stage took.
    let test = "test --release --package=weakseg --locked --test cli -- --ignored --nocapture --test-threads=1";
    prepend(&test.split(' ').collect::<Vec<_>>(), &filters)
}

fn words(words: &[&str]) -> Vec<String> {
    prepend(words, &[])
}

fn prepend(first: &[&str], rest: &[String]) -> Vec<String> {
    first
        .iter()
        .map(|arg| arg.to_string())
        .chain(rest.iter().cloned())
        .collect()
}

/// The value of `--device` in arguments for weakseg.
fn device(args: &[String]) -> Option<&str> {
    args.iter()
        .enumerate()
        .find_map(|(i, arg)| match arg.strip_prefix("--device") {
            Some("") => args.get(i + 1).map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => None,
        })
}

/// Whether weakseg needs Vulkan with these arguments: not for the CPU backend, and `auto` falls back to that one.
fn vulkan_need(args: &[String]) -> Need {
    match device(args) {
        Some("cpu") => Need::None,
        Some("auto") | None => Need::Optional,
        Some(_) => Need::Required,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        super::words(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn device_decides_whether_vulkan_is_needed() {
        for (line, need) in [
            ("", Need::Optional),
            ("--seed 1", Need::Optional),
            ("--device auto", Need::Optional),
            ("--device", Need::Optional),
            ("--devices 2", Need::Optional),
            ("--device cpu --seed 1", Need::None),
            ("--seed 1 --device=cpu", Need::None),
            ("--device gpu:1", Need::Required),
            ("--device=vulkan", Need::Required),
        ] {
            assert_eq!(vulkan_need(&words(line)), need, "{line}");
        }
    }

    #[test]
    fn smoke_runs_the_ignored_tests_and_keeps_the_device_to_itself() {
        let base = smoke_args(&[]);
        assert_eq!(base.last().unwrap(), "smoke::");
        assert!(base.contains(&"--ignored".to_string()), "{base:?}");
        assert_eq!(smoke_args(&words("--device cpu")), base);
        let filtered = smoke_args(&words("two_runs --device=gpu:1"));
        assert_eq!(filtered.last().unwrap(), "smoke::two_runs");
        assert_eq!(filtered.len(), base.len());
    }

    #[test]
    fn fuzz_runs_the_fuzz_tests_alone() {
        let base = "test --release --package=weakseg --locked --test weights --";
        assert_eq!(fuzz_args(&[]), words(&format!("{base} fuzz::")));
        assert_eq!(fuzz_args(&words("mutated")), words(&format!("{base} mutated")));
    }

    #[test]
    fn parity_is_with_autotune_without_it_or_both() {
        let with = "test --release --package=weakseg --locked --test golden --";
        let without = "test --release --package=weakseg --locked --no-default-features --features=cli --test golden --";
        assert_eq!(parity_runs(&[]), [words(with)]);
        assert_eq!(
            parity_runs(&words("--no-autotune walk")),
            [words(&format!("{without} walk"))]
        );
        assert_eq!(
            parity_runs(&words("--full walk")),
            [with, without].map(|base| words(&format!("{base} --include-ignored walk")))
        );
    }
}
