//! Heads: what turns a backbone's feature maps into class activation maps, affinity features or segmentation scores.

pub mod affinity;
pub mod aspp;
pub mod aspp_l;
pub mod cam;
pub mod co_attention;
pub mod cross_affinity;
pub mod cross_attention;
pub mod deeplab;
pub mod imagenet;
pub mod large_fov;
pub mod segmentation;
pub mod self_pairs;

use super::params::{Role, belongs, entry};

/// Whether `parameter` belongs to a head, or to another layer that is fresh where the backbone is pretrained.
pub fn is_fresh(parameter: &str) -> bool {
    let lists: [&[&str]; 8] = [
        &cam::LAYERS,
        &affinity::LAYERS,
        &affinity::NORMS,
        &segmentation::LAYERS,
        &cross_affinity::LAYERS,
        &co_attention::LAYERS,
        &aspp_l::LAST,
        &large_fov::LAYERS,
    ];
    belongs(parameter, cross_affinity::NORM) || lists.into_iter().flatten().any(|layer| belongs(parameter, layer))
}

/// Whether `parameter` is the kernel of a layer that gives class scores.
pub fn is_last(parameter: &str) -> bool {
    cam::LAYERS
        .iter()
        .chain(&segmentation::LAST)
        .chain(&aspp_l::LAST)
        .chain([&aspp::LAST, &large_fov::LAST, &co_attention::CLASSIFIER])
        .any(|layer| parameter == entry(layer, Role::Kernel))
}
