//! How many lines the tests run, by module of weakseg, from what cargo-llvm-cov writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use crate::cargo::{cargo, run, with_env};
use crate::failure::Failure;

/// Modules that have to be covered, and how far, in percent.
const WANTED: [&str; 5] = ["kernels", "losses", "metrics", "weights", "data"];
const LEAST: f64 = 90.0;

/// Lines that can run, and those that did.
type Lines = (u64, u64);

/// Runs the tests under cargo-llvm-cov, with `args` for cargo test and `env` where unset, and prints the table. `file` is
/// where the report of every line goes.
pub fn measure(file: &Path, args: &[String], env: &[(&str, &str)]) -> Result<(), Failure> {
    let mut probe = cargo(["llvm-cov", "--version"]);
    let probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return Err(Failure::new(
            "cargo-llvm-cov is not installed: run `rustup component add llvm-tools && cargo install --locked cargo-llvm-cov`",
        ));
    }
    let fixed = "llvm-cov --release --locked --package=weakseg --lcov --output-path";
    let mut command = cargo(fixed.split(' '));
    command.arg(file).args(args);
    run(with_env(&mut command, env))?;
    let report = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!(
            "{}: cannot be read, though cargo-llvm-cov was to write it: {error}",
            file.display()
        ))
    })?;
    let modules = by_module(&report);
    print!("{}", table(&modules));
    println!("line by line: {}", file.display());
    let low: Vec<&str> = WANTED
        .into_iter()
        .filter(|name| modules.get(*name).is_none_or(|lines| percent(*lines) < LEAST))
        .collect();
    if low.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "less than {LEAST} % of the lines are run in {}: write tests, or run all of them",
            low.join(", ")
        )))
    }
}

/// The sums over the files of every module below `src`, and of single files by their names, from a report in lcov's format.
fn by_module(report: &str) -> BTreeMap<String, Lines> {
    let mut modules: BTreeMap<String, Lines> = BTreeMap::new();
    let mut module = None;
    for line in report.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        match key {
            "SF" => {
                let path = value.replace('\\', "/");
                module = path.rsplit_once("src/").map(|(_, inside)| {
                    let first = inside.split('/').next().unwrap_or(inside);
                    first.trim_end_matches(".rs").to_string()
                });
            }
            "LF" | "LH" => {
                if let Some(module) = &module {
                    let lines = modules.entry(module.clone()).or_default();
                    let count: u64 = value.parse().unwrap_or(0);
                    if key == "LF" {
                        lines.0 += count;
                    } else {
                        lines.1 += count;
                    }
                }
            }
            _ => (),
        }
    }
    modules
}

fn percent((found, hit): Lines) -> f64 {
    100.0 * hit as f64 / found.max(1) as f64
}

fn table(modules: &BTreeMap<String, Lines>) -> String {
    let mut text = format!("{:<12}{:>8}{:>8}{:>9}  wanted\n", "module", "lines", "run", "share");
    for (name, lines) in modules {
        let wanted = match WANTED.contains(&name.as_str()) {
            true => format!("{LEAST} %"),
            false => String::new(),
        };
        text += format!(
            "{name:<12}{:>8}{:>8}{:>7.1} %  {wanted}",
            lines.0,
            lines.1,
            percent(*lines)
        )
        .trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_summed_by_module() {
        let report = "SF:/x/src/kernels/mod.rs\nDA:1,3\nLF:10\nLH:9\nend_of_record\n\
                      SF:C:\\x\\src\\kernels\\cpu\\mod.rs\nLF:30\nLH:21\nend_of_record\n\
                      SF:/x/src/device.rs\nLF:4\nLH:1\nend_of_record\n";
        let modules = by_module(report);
        assert_eq!(modules["kernels"], (40, 30));
        assert_eq!(modules["device"], (4, 1));
        let table = table(&modules);
        assert!(table.contains("75.0 %  90 %\n"), "{table}");
        assert!(table.contains("25.0 %\n"), "{table}");
    }
}
