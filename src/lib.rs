//! Weakly supervised semantic segmentation: image tags in, pixel masks out, on any GPU.
//!
//! A network that has learnt which images show a dog knows roughly where in them the dog is. The methods here make
//! masks of that: class activation maps, spread by random walks or shared between images, refined by a dense CRF, and
//! learnt by a segmentation network. Everything runs on [burn](burn::tensor::Tensor): on a GPU by way of wgpu, with
//! kernels of our own where an operator's plain form takes too much memory or time, and on a CPU with the same results.
//!
//! Beside the program there are parts for others to use: the operators ([`kernels`]), the dense CRF ([`crf`]), the
//! networks and losses of the papers ([`models`], [`losses`]), and weight files of PyTorch, MXNet and Caffe
//! ([`weights`]). Scores of any origin, refined by what the image shows:
//!
//! ```
//! use burn::tensor::Device;
//! use image::{Rgb, RgbImage};
//! use ndarray::Array3;
//! use weakseg::crf::unary::unary_from_probabilities;
//! use weakseg::crf::{DenseCrf, Pairwise};
//!
//! # fn main() -> Result<(), weakseg::crf::Error> {
//! // A dark and a bright half, and the probability [C, H, W] of either, which is wrong at one pixel.
//! let image = RgbImage::from_fn(12, 8, |x, _| Rgb([if x < 6 { 20 } else { 220 }; 3]));
//! let mut probabilities = Array3::from_shape_fn((2, 8, 12), |(c, _, x)| {
//!     if (c == 0) == (x < 6) { 0.7 } else { 0.3 }
//! });
//! probabilities.swap([0, 4, 2], [1, 4, 2]);
//!
//! let crf = DenseCrf {
//!     pairwise: vec![Pairwise::gaussian(3.0, 3.0), Pairwise::bilateral(20.0, 13.0, 5.0)],
//!     iterations: 10,
//!     reference_side: None,
//! };
//! let unary = unary_from_probabilities(probabilities);
//! let posterior = crf.refine(&image, unary.view(), &Device::flex())?;
//! assert!(posterior[[0, 4, 2]] > 0.9);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has this and three more: a random walk, attention between images, and a checkpoint that goes into a
//! network of other classes.
//!
//! # Modules
//!
//! | module | what lives there |
//! |---|---|
//! | [`kernels`] | our own operators: random walk, pair affinity, cross attention, lattice, mean field, convolution |
//! | [`crf`] | the fully connected CRF over images |
//! | [`models`], [`losses`] | networks and objectives |
//! | [`weights`] | weight files of PyTorch, MXNet and Caffe |
//! | [`data`], [`maps`], [`metrics`] | data sets and masks, score maps and labels from them, scores |
//! | [`device`] | adapters |
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `cli` | the program: commands, methods, stages, recipes, run directories, reports, benchmarks |
//! | `autotune` | the fastest of burn's kernels for every shape, found on the device |
//! | `persistence` | what autotune has found is kept from one start to the next |
//! | `python` | the extension module of the Python package (`docs/python.md`) |
//!
//! All but the last are on by default. A program that wants the library alone asks for `default-features = false`.

#![warn(missing_docs)]

pub mod crf;
pub mod data;
pub mod device;
mod dtype;
#[doc(hidden)]
pub mod files;
pub mod kernels;
pub mod losses;
pub mod maps;
pub mod metrics;
pub mod models;
mod pickle;
pub mod weights;

// The program. Public for its binary and for the tests, and no part of what the library promises.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod doctor;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod inference;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod methods;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod pipeline;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod progress;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod recipe;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod report;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod results;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod run;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod stages;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod train;

/// The Rust in the pages of `docs/` compiles.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/crf.md")]
    struct Crf;
}
