//! What a run came to: scores of its stages, `metrics.json` and the page.

mod page;
mod scores;
mod summary;

pub use scores::{NETWORK, NETWORK_CRF, mean_gamma, scores};
pub use summary::{Summary, write};
