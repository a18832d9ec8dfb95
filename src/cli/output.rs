//! Results on standard output.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

use anyhow::{Result, anyhow};
use serde::Serialize;

/// Prints `value` as one JSON document.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(serde_json::to_string_pretty(value)?)
}

/// Prints `text` and a line end on standard output; a reader that has closed it has seen enough.
///
/// # Errors
/// Where it cannot be written to, such as a file on a full disk.
pub fn print(text: impl Display) -> Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(anyhow!(
            "cannot write to standard output: {error}: free some space, or send it elsewhere"
        )),
        _ => Ok(()),
    }
}
