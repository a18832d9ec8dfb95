//! Who is told how far a long piece of work is.

use std::sync::OnceLock;

/// Progress of one piece of work, as a program shows it.
pub trait Progress {
    /// `n` more units are done.
    fn inc(&self, n: u64);

    /// `done` units are done already, by an earlier process.
    fn set(&self, done: u64);

    /// The work is done. It is dropped without where it fails.
    fn finish(&self);
}

/// Begins the progress of work of a total, in units of a name ("MB"), under a label.
pub type Begin = fn(total: u64, unit: &str, label: &str) -> Box<dyn Progress>;

/// What progress counts in.
pub(super) const MEGABYTE: u64 = 1_000_000;

static BEGIN: OnceLock<Begin> = OnceLock::new();

/// Has `begin` called at the start of every download and of every check of a whole file, in this process. The first
/// call counts; without one nobody is told.
pub fn on_progress(begin: Begin) {
    // A second program in one process has nothing to show.
    let _ = BEGIN.set(begin);
}

pub(super) fn begin(total: u64, unit: &str, label: &str) -> Box<dyn Progress> {
    match BEGIN.get() {
        Some(begin) => begin(total, unit, label),
        None => Box::new(Nobody),
    }
}

struct Nobody;

impl Progress for Nobody {
    fn inc(&self, _: u64) {}
    fn set(&self, _: u64) {}
    fn finish(&self) {}
}
