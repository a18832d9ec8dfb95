//! Weakly supervised semantic segmentation: image tags in, pixel masks out, on any GPU.
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`] | the commands |
//! | [`methods`] | each method as a list of stages |
//! | [`stages`] | classify, localize, propagate, label, segment, predict, evaluate |
//! | [`train`] | the training loop, optimizers, schedules |
//! | [`models`], [`losses`], [`kernels`] | networks, objectives, and our own operators |
//! | [`crf`] | the fully connected CRF over images |
//! | [`weights`] | weight files of PyTorch, MXNet and Caffe |
//! | [`data`], [`metrics`], [`run`], [`report`] | data sets, scores, the run directory, the page |
//! | [`doctor`] | whether an adapter computes what it should |
//! | [`recipe`], [`device`], [`progress`], [`mod@bench`] | hyper-parameters, adapters, bars and logs, benchmarks |

#![warn(missing_docs)]

pub mod bench;
pub mod cli;
pub mod crf;
pub mod data;
pub mod device;
pub mod doctor;
pub mod kernels;
pub mod losses;
pub mod methods;
pub mod metrics;
pub mod models;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod run;
pub mod stages;
pub mod train;
pub mod weights;
