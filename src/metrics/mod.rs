//! How good masks are: confusion matrix, mean IoU, the best background threshold of a CAM, score tables, and what the
//! papers report.

mod confusion;
pub mod papers;
mod table;
mod threshold;

pub use confusion::Confusion;
pub use table::{StageScore, print_table};
pub use threshold::ThresholdSweep;

/// Value of a pixel in a mask that belongs to no class: left out of every score.
pub const IGNORE: u8 = 255;
