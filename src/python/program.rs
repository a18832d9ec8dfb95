//! The program, as the package's console script calls it.

use std::ffi::OsString;
use std::io::Write;
use std::panic::catch_unwind;

use pyo3::prelude::*;

use crate::bench::memory;
use crate::cli;

/// What a Rust program that panics ends with.
const PANICKED: u8 = 101;

/// Runs the program on its name and arguments; returns the exit status. Until then the process is the program: it ends
/// where there is no more memory.
#[pyfunction]
pub fn run_program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    memory::begin_program();
    let status = py.detach(|| catch_unwind(|| cli::answer(arguments)).unwrap_or(PANICKED));
    // A Rust program would do so at its end.
    let _ = std::io::stdout().flush();
    status
}
