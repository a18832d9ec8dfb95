//! Runs cargo, and the program that it builds.
//!
//! Every command uses the release profile, the target folder that xtask itself was built in and the default features,
//! which make `--package weakseg`, `--bin weakseg` and `--workspace` resolve to the same dependencies: nothing is
//! compiled twice. Packages are named, so that a task works from every folder of the workspace.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

const BUILD_WEAKSEG: [&str; 6] = [
    "build",
    "--release",
    "--locked",
    "--package=weakseg",
    "--bin",
    "weakseg",
];

/// The command `cargo ARGS`, with the cargo that runs xtask.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Builds weakseg, with cargo's own progress, and runs it with `args` in the current folder.
pub fn weakseg<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, env: &[(&str, &str)]) -> Result<(), Failure> {
    build_weakseg()?;
    run(with_env(Command::new(program_path()?).args(args), env))
}

/// Builds weakseg, with cargo's own progress.
pub fn build_weakseg() -> Result<(), Failure> {
    run(&mut cargo(BUILD_WEAKSEG))
}

/// Sets those variables that the user has not set.
pub fn with_env<'a>(command: &'a mut Command, env: &[(&str, &str)]) -> &'a mut Command {
    command.envs(env.iter().filter(|(name, _)| std::env::var_os(name).is_none()).copied())
}

/// Waits for `command`; an exit code other than 0 becomes a [`Failure`] of the same code.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command_line(command);
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("cannot run `{name}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::exit(&name, status))
    }
}

/// `command` as one would type it: the program without its folder, and the arguments.
pub fn command_line(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let mut line = program
        .file_stem()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// weakseg lies next to xtask: cargo built both with one profile into one target folder, wherever that is.
pub fn program_path() -> Result<PathBuf, Failure> {
    let xtask = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot tell which folder xtask runs from: {error}")))?;
    Ok(xtask.with_file_name(format!("weakseg{}", std::env::consts::EXE_SUFFIX)))
}
