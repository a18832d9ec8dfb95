//! What stages are made of and work with. The stages themselves are in [`crate::stages`].
//!
//! A [`Stage`] is an entry of a table: its name, its files, what it costs and does, and its [`Product`], which is what
//! other stages, scores and the report ask for. So no stage knows which others a method has: it asks its [`Context`]
//! for the last class maps, labels or network before it.

mod asking;
mod cost;
mod execution;
mod need;
mod networks;
mod stage;
mod task;

pub use asking::{LabelSource, OWN_LABELS, label_in};
pub use cost::{Load, Workload};
pub use stage::{Context, Definition, Objective, Product, Purpose, Stage, Trains, last_network};
pub use task::Task;
