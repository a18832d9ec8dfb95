//! The methods: each is a list of stages.

mod share;

use anyhow::{Result, bail};

use crate::stages::joint::Objective;
use crate::stages::{Context, Stage};

pub use share::{common, share};

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

/// CIAN (Fan et al., AAAI 2020): classifier, maps, and a segmentation network whose images exchange messages.
pub const CIAN: [Stage; 4] = [Stage::Classify, Stage::Cam, Stage::Cross, Stage::Predict];

/// MCIS (Sun et al., ECCV 2020): classifier, co-attention on pairs, maps from related images, labels, segmentation
/// network.
pub const MCIS: [Stage; 6] = [
    Stage::Classify,
    Stage::Coattend,
    Stage::Cam,
    Stage::Label,
    Stage::Segment,
    Stage::Predict,
];

/// MCIS as in the LID challenge (Sec. 4.4): maps from each image alone, labels through AffinityNet.
pub const MCIS_LID: [Stage; 8] = [
    Stage::Classify,
    Stage::Coattend,
    Stage::Cam,
    Stage::Affinity,
    Stage::Propagate,
    Stage::Label,
    Stage::Segment,
    Stage::Predict,
];

/// The bound: the same segmentation network, from scratch, trained on the data set's own masks.
pub const SUPERVISED: [Stage; 2] = [Stage::Segment, Stage::Predict];

/// Names of all methods.
pub const NAMES: [&str; 8] = [
    "affinitynet",
    "rrm",
    "rrm-two-step",
    "aalr",
    "cian",
    "mcis",
    "mcis-lid",
    "supervised",
];

/// The stages of the method called `name`.
///
/// # Errors
/// Where there is no such method.
pub fn pipeline(name: &str) -> Result<&'static [Stage]> {
    match name {
        "affinitynet" => Ok(&AFFINITYNET),
        "rrm" | "aalr" => Ok(&RRM),
        "rrm-two-step" => Ok(&RRM_TWO_STEP),
        "cian" => Ok(&CIAN),
        "mcis" => Ok(&MCIS),
        "mcis-lid" => Ok(&MCIS_LID),
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

/// What the method called `name` changes in every recipe, as `key=value`.
pub fn overrides(name: &str) -> &'static [&'static str] {
    match name {
        // Sec. 4.4: "directly use its class-aware activation map", "background threshold is set as 0.2".
        "mcis-lid" => &["mcis.related=0", "propagate.threshold=0.2"],
        _ => &[],
    }
}

/// Runs all stages that are not finished.
///
/// # Errors
/// Those of the stage that fails; what was written stays, and the same call goes on from there.
pub fn run(context: &Context, method: &str) -> Result<()> {
    run_until(context, method, None)
}

/// As [`run`], up to the stage `until` where one is named.
///
/// # Errors
/// As [`run`].
pub fn run_until(context: &Context, method: &str, until: Option<Stage>) -> Result<()> {
    context.fetch_weights()?;
    let pipeline = pipeline(method)?;
    for stage in pipeline {
        context.stage(pipeline, *stage, false)?;
        if Some(*stage) == until {
            break;
        }
    }
    Ok(())
}
