//! Why a task ended early, and the exit code that says so.

use std::fmt;
use std::process::ExitStatus;

/// A message of one line, and the exit code of the process.
#[derive(Debug)]
pub struct Failure {
    message: String,
    /// The exit code of the program that failed, 2 for wrong arguments, else 1.
    pub code: i32,
}

impl Failure {
    /// Something outside is missing or does not work.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    /// The arguments make no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }

    /// `program` ended with `status`, whose code is passed on; after a signal it is 128 + its number, as in shells.
    pub fn exit(program: &str, status: ExitStatus) -> Self {
        Self {
            message: format!("`{program}` failed ({status})"),
            code: exit_code(status),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(unix)]
fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

#[cfg(not(unix))]
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}
