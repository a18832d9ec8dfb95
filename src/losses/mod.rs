//! Losses, one a file: plain functions of tensors that any method can combine.

pub mod adaptive_affinity;
pub mod affinity;
pub mod cross_entropy;
pub mod dense_energy;
pub mod label_reassign;
pub mod multilabel_soft_margin;
