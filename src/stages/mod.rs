//! The stages that methods are composed of, one file each. Each reads the run directory's files of the stages before
//! it, writes its own, and can be run alone, looked at, replaced and resumed.
//!
//! All that the program knows of a stage is the [`Definition`](crate::pipeline::Definition) in its file's `STAGE`:
//! name, files, cost, command and work. No stage imports another; what several need is in [`crate::pipeline`],
//! [`crate::maps`], [`crate::inference`] and [`crate::train`].

pub mod affinity;
pub mod cam;
pub mod classify;
pub mod coattend;
pub mod cross;
pub mod joint;
pub mod label;
pub mod predict;
pub mod propagate;
pub mod segment;

use crate::pipeline::Stage;
use crate::run::StageFiles;

/// All stages, in the order of their commands.
pub const ALL: [Stage; 10] = [
    classify::STAGE,
    coattend::STAGE,
    cam::STAGE,
    affinity::STAGE,
    propagate::STAGE,
    joint::STAGE,
    cross::STAGE,
    label::STAGE,
    segment::STAGE,
    predict::STAGE,
];

/// The stage called `name`.
pub fn named(name: &str) -> Option<Stage> {
    ALL.into_iter().find(|stage| stage.name() == name)
}

/// The files of all stages, for opening a run directory.
pub fn files() -> [StageFiles; ALL.len()] {
    ALL.map(Stage::files)
}

#[cfg(test)]
mod tests;
