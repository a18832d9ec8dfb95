//! Score maps of images: what they are, as files, and what labels follow from them.
//!
//! Scores are `[K, H, W]` in [0, 1], one row per tagged class and, where it says so, one of the background before them.

mod background;
mod balance;
mod cells;
mod competing;
mod enlarge;
mod file;
mod saliency;
mod scores;
mod seeds;

pub use background::{background, confident, with_background};
pub use balance::Balance;
pub use cells::over_cells;
pub use competing::competing;
pub use enlarge::enlarge;
pub use file::{read_maps, write_maps};
pub use saliency::Saliency;
pub use scores::{Maps, normalise, winners};
pub use seeds::{SeedThresholds, seeds};
