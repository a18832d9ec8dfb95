//! Weakly supervised semantic segmentation: image tags in, pixel masks out, on any GPU.
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`] | the commands |
//! | [`methods`] | the table of the methods, each a list of stages |
//! | [`stages`] | the table of the stages, a file for each |
//! | [`pipeline`] | what a stage is, and the context that stages ask for what they need |
//! | [`maps`], [`inference`] | score maps and labels from them; trained networks on images |
//! | [`results`] | scores of a run's stages, `metrics.json` and the page |
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
pub mod inference;
pub mod kernels;
pub mod losses;
pub mod maps;
pub mod methods;
pub mod metrics;
pub mod models;
pub mod pipeline;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod results;
pub mod run;
pub mod stages;
pub mod train;
pub mod weights;
