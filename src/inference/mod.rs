//! Using trained networks: images on their way in, batches of them, scales and flips, masks on their way out, and the
//! dense CRF in between.

mod batches;
mod images;
mod multi_scale;
mod parallel;
mod parts;
mod predictor;
mod refine;
mod room;
mod sampled;
mod tiles;
mod trained;

pub use batches::{batches, together};
pub use images::{network_size, upload};
pub use multi_scale::{download_maps, multi_scale, passes, scaled};
pub use parallel::{each, map};
pub use predictor::{Prediction, Predictor};
pub use refine::{Refine, probabilities};
pub use room::crf_bytes;
pub use trained::Trained;
