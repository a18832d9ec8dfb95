//! The methods: a table, of which names, help and the README's table are made.

mod readme;
#[cfg(test)]
mod reproduce;
mod share;

use std::fmt;

use anyhow::{Context as _, Result};

use crate::pipeline::{Context, Objective, Purpose, Stage, last_network};
use crate::stages::{affinity, cam, classify, coattend, cross, joint, label, predict, propagate, segment};

pub use readme::readme_table;
pub use share::{common, share};

/// A method: a list of stages, and what it changes in them.
pub struct Method {
    /// In commands and `config.toml`.
    pub name: &'static str,
    /// As the paper calls it.
    pub title: &'static str,
    /// Where it was published, if it was.
    pub paper: Option<Paper>,
    /// What it does, in order.
    pub stages: &'static [Stage],
    /// The losses of its joint network.
    pub objective: Objective,
    /// What it changes in every recipe.
    pub overrides: &'static [Override],
    /// What is particular about it: a phrase for help and README.
    pub summary: &'static str,
}

/// A publication.
pub struct Paper {
    /// Authors, venue and year.
    pub reference: &'static str,
    /// Where it can be read.
    pub link: &'static str,
}

/// A value that a method has in every recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// `key=value`.
    pub set: &'static str,
    /// The first stage that does something else because of it.
    pub stage: Stage,
}

const AFFINITYNET: Paper = Paper {
    reference: "Ahn and Kwak, CVPR 2018",
    link: "https://openaccess.thecvf.com/content_cvpr_2018/html/Ahn_Learning_Pixel-Level_Semantic_CVPR_2018_paper.html",
};
const RRM: Paper = Paper {
    reference: "Zhang et al., AAAI 2020",
    link: "https://arxiv.org/abs/1911.08039",
};
const AALR: Paper = Paper {
    reference: "Zhang et al., ACM MM 2021",
    link: "https://arxiv.org/abs/2108.01344",
};
const CIAN: Paper = Paper {
    reference: "Fan et al., AAAI 2020",
    link: "https://arxiv.org/abs/1811.10842",
};
const MCIS: Paper = Paper {
    reference: "Sun et al., ECCV 2020",
    link: "https://arxiv.org/abs/2007.01947",
};

/// All methods; the first is the usual one.
pub const METHODS: &[Method] = &[
    Method {
        name: "affinitynet",
        title: "AffinityNet",
        paper: Some(AFFINITYNET),
        stages: &[
            classify::STAGE,
            cam::STAGE,
            affinity::STAGE,
            propagate::STAGE,
            label::STAGE,
            segment::STAGE,
            predict::STAGE,
        ],
        objective: Objective::Energy,
        overrides: &[],
        summary: "maps spread along learnt affinities of neighbouring pixels",
    },
    Method {
        name: "rrm",
        title: "RRM",
        paper: Some(RRM),
        stages: &[classify::STAGE, joint::STAGE, predict::STAGE],
        objective: Objective::Energy,
        overrides: &[],
        summary: "classification and segmentation in one network, on reliable labels that every step finds itself",
    },
    Method {
        name: "rrm-two-step",
        title: "RRM, two steps",
        paper: Some(RRM),
        stages: &[
            classify::STAGE,
            joint::STAGE,
            label::STAGE,
            segment::STAGE,
            predict::STAGE,
        ],
        objective: Objective::Energy,
        overrides: &[],
        summary: "a segmentation network that learns from what RRM's network labels",
    },
    Method {
        name: "aalr",
        title: "AALR",
        paper: Some(AALR),
        stages: &[classify::STAGE, joint::STAGE, predict::STAGE],
        objective: Objective::Affinity,
        overrides: &[],
        summary: "RRM with losses of adaptive affinity and label reassignment",
    },
    Method {
        name: "cian",
        title: "CIAN",
        paper: Some(CIAN),
        stages: &[classify::STAGE, cam::STAGE, cross::STAGE, predict::STAGE],
        objective: Objective::Energy,
        overrides: &[],
        summary: "pixels take messages from similar pixels of related images; --rounds 2 trains again on its own predictions",
    },
    Method {
        name: "mcis",
        title: "MCIS",
        paper: Some(MCIS),
        stages: &[
            classify::STAGE,
            coattend::STAGE,
            cam::STAGE,
            label::STAGE,
            segment::STAGE,
            predict::STAGE,
        ],
        objective: Objective::Energy,
        overrides: &[],
        summary: "a classifier that names what two images share and what they do not; maps from three related images per class",
    },
    Method {
        name: "mcis-lid",
        title: "MCIS for the LID challenge",
        paper: Some(MCIS),
        stages: &[
            classify::STAGE,
            coattend::STAGE,
            cam::STAGE,
            affinity::STAGE,
            propagate::STAGE,
            label::STAGE,
            segment::STAGE,
            predict::STAGE,
        ],
        objective: Objective::Energy,
        overrides: &[
            // Sec. 4.4: "directly use its class-aware activation map", "background threshold is set as 0.2".
            Override {
                set: "mcis.related=0",
                stage: cam::STAGE,
            },
            Override {
                set: "propagate.threshold=0.2",
                stage: propagate::STAGE,
            },
        ],
        summary: "maps from each image alone, labels through AffinityNet",
    },
    Method {
        name: "supervised",
        title: "Full supervision",
        paper: None,
        stages: &[segment::STAGE, predict::STAGE],
        objective: Objective::Energy,
        overrides: &[],
        summary: "the same segmentation network, trained on the data set's own masks, as the bound",
    },
];

impl Method {
    /// Whether nothing of it learns from tags: it needs masks to learn from.
    pub fn needs_masks(&self) -> bool {
        let is_classifier = |s: &Stage| s.trains_for(Purpose::ClassMaps);
        !self.stages.iter().any(is_classifier)
    }

    /// The stage that trains the network which it predicts with.
    ///
    /// # Errors
    /// Where there is none, which no method of the table is without.
    pub fn segmenter(&self) -> Result<Stage> {
        last_network(self.stages, Purpose::Masks)
            .with_context(|| format!("the method {} trains no network for masks", self.name))
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The method that runs where none is named.
pub const USUAL: &Method = &METHODS[0];

/// Names of all methods.
pub fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name)
}

/// The method called `name`.
///
/// # Errors
/// Where there is no such method.
pub fn named(name: &str) -> Result<&'static Method> {
    let found = METHODS.iter().find(|method| method.name == name);
    found.with_context(|| {
        let known: Vec<&str> = names().collect();
        format!("unknown method {name:?}: use one of {}", known.join(", "))
    })
}

/// Runs all stages of the context's method that are not finished, up to the stage `until` where one is named.
///
/// # Errors
/// Those of the stage that fails; what was written stays, and the same call goes on from there.
pub fn run(context: &Context, until: Option<Stage>) -> Result<()> {
    context.fetch_weights()?;
    for stage in stages_until(context.pipeline, until) {
        context.run_stage(*stage, false)?;
    }
    Ok(())
}

/// The first of `stages`, up to `until` where that is named and among them.
pub fn stages_until(stages: &[Stage], until: Option<Stage>) -> &[Stage] {
    let last = stages.iter().position(|s| Some(*s) == until);
    &stages[..last.map_or(stages.len(), |last| last + 1)]
}

#[cfg(test)]
mod tests;
