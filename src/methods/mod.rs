//! The methods: each is a list of stages.

use anyhow::{Result, bail};

use crate::stages::joint::Objective;
use crate::stages::{Context, Stage};

/// AffinityNet (Ahn and Kwak, CVPR 2018): classifier, maps, AffinityNet, random walk, labels, segmentation network.
pub const AFFINITYNET: [Stage; 7] = [
    Stage::Classify,
    Stage::Cam,
    Stage::Affinity,
    Stage::Propagate,
    Stage::Label,
    Stage::Segment,
    Stage::Predict,
];

/// RRM (Zhang et al., AAAI 2020) and, with other losses, AALR (Zhang et al., ACM MM 2021): one network, which learns to
/// classify first.
pub const RRM: [Stage; 3] = [Stage::Classify, Stage::Joint, Stage::Predict];

/// RRM in two steps: the joint network labels the training images, and a segmentation network learns from that.
pub const RRM_TWO_STEP: [Stage; 5] = [
    Stage::Classify,
    Stage::Joint,
    Stage::Label,
    Stage::Segment,
    Stage::Predict,
];

/// The bound: the same segmentation network, from scratch, trained on the data set's own masks.
pub const SUPERVISED: [Stage; 2] = [Stage::Segment, Stage::Predict];

/// Names of all methods.
pub const NAMES: [&str; 5] = ["affinitynet", "rrm", "rrm-two-step", "aalr", "supervised"];

/// The stages of the method called `name`.
///
/// # Errors
/// Where there is no such method.
pub fn pipeline(name: &str) -> Result<&'static [Stage]> {
    match name {
        "affinitynet" => Ok(&AFFINITYNET),
        "rrm" | "aalr" => Ok(&RRM),
        "rrm-two-step" => Ok(&RRM_TWO_STEP),
        "supervised" => Ok(&SUPERVISED),
        _ => bail!("unknown method {name:?}: use one of {}", NAMES.join(", ")),
    }
}

/// The losses of a joint network in the method called `name`.
pub fn objective(name: &str) -> Objective {
    match name {
        "aalr" => Objective::Affinity,
        _ => Objective::Energy,
    }
}

/// Runs all stages that are not finished.
///
/// # Errors
/// Those of the stage that fails; what was written stays, and the same call goes on from there.
pub fn run(context: &Context, method: &str) -> Result<()> {
    let pipeline = pipeline(method)?;
    for stage in pipeline {
        context.stage(pipeline, *stage, false)?;
    }
    Ok(())
}
