//! What a run directory knows of a stage.

/// A stage's name, and which files in a run directory are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageFiles {
    /// In `run.json`.
    pub name: &'static str,
    /// Its folder in the run directory.
    pub folder: &'static str,
    /// Extensions of the files that it writes there and in folders within; other files are not the run's.
    pub extensions: &'static [&'static str],
}
