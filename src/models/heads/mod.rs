//! Heads: what turns a backbone's feature maps into class activation maps, affinity features or segmentation scores.

pub mod affinity;
pub mod cam;
pub mod segmentation;
