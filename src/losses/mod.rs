//! Losses, one a file: plain functions of tensors that any method can combine.

pub mod affinity;
pub mod cross_entropy;
pub mod multilabel_soft_margin;
