//! Recipes: every hyper-parameter of a method at one scale, from `assets/recipes/*.toml` or the user's own file.

mod check;
mod crf;
mod joint;
mod overrides;
mod training;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::ShapesOptions;

pub use crf::Crf;
pub use joint::{Energy, Joint, PairLoss, PairWeight, Reassign, Rule};
pub use training::{AugmentSettings, Optimizer, Training};

/// Embedded recipes by short name.
const EMBEDDED: [(&str, &str); 4] = [
    (
        "nano",
        include_str!("../assets/recipes/affinitynet-nano.toml"),
    ),
    (
        "demo",
        include_str!("../assets/recipes/affinitynet-demo.toml"),
    ),
    (
        "smoke",
        include_str!("../assets/recipes/affinitynet-smoke.toml"),
    ),
    (
        "resnet38",
        include_str!("../assets/recipes/affinitynet-resnet38.toml"),
    ),
];

/// Hyper-parameters of all methods, stage by stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The network that all stages share.
    pub backbone: Backbone,
    /// Normalisation of its input.
    pub input: Input,
    /// Training of the CAM classifier.
    pub classify: Training,
    /// Localisation by class activation maps.
    pub cam: Cam,
    /// Affinity labels and the training of AffinityNet.
    pub affinity: AffinityTraining,
    /// The random walk.
    pub propagate: Propagate,
    /// Pseudo-labels.
    pub label: Label,
    /// The joint network of RRM and AALR.
    pub joint: Joint,
    /// Training of the segmentation network.
    pub segment: Training,
    /// Inference of the segmentation network.
    pub predict: Predict,
    /// Size of the built-in data set.
    pub shapes: ShapesOptions,
}

/// A backbone and where its weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backbone {
    /// One of [`crate::models::backbones::NAMES`].
    pub name: String,
    /// Divides every channel count; 1 = full width.
    pub width_divisor: usize,
    /// Pretrained weights; `None` trains from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

/// The network sees (RGB / 255 - mean) / std.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Images whose longer side exceeds this many pixels are scaled down to it, in training and after; 0 = no limit.
    pub max_side: u32,
    /// Per RGB channel, in [0, 1].
    pub mean: [f32; 3],
    /// Per RGB channel, positive.
    pub std: [f32; 3],
}

/// Class activation maps (Eq. 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cam {
    /// Image sizes whose maps are summed; 1 = the image's own.
    pub scales: Vec<f32>,
    /// Adds the mirrored image at each scale.
    pub flip: bool,
    /// Images of one shape per forward pass.
    pub batch: usize,
    /// Takes the square root of the maps, as the released VGG16 variant does.
    pub square_root: bool,
}

/// Affinity labels and AffinityNet (Sec. 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffinityTraining {
    /// Background exponent (Eq. 2) under which a pixel of a class is confident foreground.
    pub alpha_low: f32,
    /// Background exponent under which a pixel of the background is confident background.
    pub alpha_high: f32,
    /// Least CAM score of confident foreground, in [0, 1]; 0 leaves it to the exponent, as in the paper.
    pub min_foreground: f32,
    /// Pairs closer than this many feature pixels (gamma in Eq. 4).
    pub radius: u32,
    /// The L1 distance of Eq. 3 over channels.
    pub distance: Distance,
    /// Output channels of the 1x1 convolutions on the backbone's three levels.
    pub channels: [usize; 3],
    /// Refines the scores, at both exponents, that confident labels come from (Sec. 3.2.1).
    pub crf: Crf,
    /// How AffinityNet is trained.
    pub training: Training,
}

/// How the L1 distance of Eq. 3 adds up over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// The released code.
    Mean,
    /// The paper.
    Sum,
}

/// The random walk (Eq. 11, 12).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propagate {
    /// Background exponent (Eq. 2) of the scores that walk.
    pub alpha: f32,
    /// Exponent of the affinities.
    pub beta: f32,
    /// Length of the walk (t).
    pub steps: u32,
    /// Reach of one step, feature pixels.
    pub radius: u32,
}

/// Pseudo-labels from scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Pixels whose winning score is below this become 255 (ignore); 0 = none.
    pub ignore_below: f32,
    /// Refines the scores after the walk (Sec. 3.4).
    pub crf: Crf,
}

/// Inference of the segmentation network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// Image sizes whose class probabilities are averaged; 1 = the image's own.
    pub scales: Vec<f32>,
    /// Adds the mirrored image at each scale.
    pub flip: bool,
    /// Images of one shape per forward pass.
    pub batch: usize,
    /// Leaves out classes that an image is not tagged with, where its tags are known ("rfpc" in the papers).
    pub use_tags: bool,
    /// Refines the predicted probabilities.
    pub crf: Crf,
}

impl Recipe {
    /// Reads the recipe `nano`, `demo`, `smoke` or `resnet38`, or the file at a path that ends in `.toml`, and
    /// applies `overrides` of the form `key=value`, with dotted keys and TOML values (strings may be bare; `none`
    /// unsets an optional one), in order. Changing `optimizer.name` brings that optimizer's usual values.
    ///
    /// # Errors
    /// One line for an unknown recipe, a file that cannot be read, an unknown key (with the nearest known ones), a
    /// value of the wrong type, and one out of range.
    pub fn load(name_or_path: &str, overrides: &[String]) -> Result<Self> {
        let path = Path::new(name_or_path);
        let mut recipe = if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the recipe {name_or_path}"))?;
            parse(&text, name_or_path)?
        } else {
            let name = name_or_path
                .strip_prefix("affinitynet-")
                .unwrap_or(name_or_path);
            let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = EMBEDDED.iter().map(|(known, _)| *known).collect();
                bail!(
                    "there is no recipe \"{name_or_path}\": use one of {}, or a path that ends in .toml",
                    known.join(", ")
                );
            };
            parse(text, name_or_path)?
        };
        recipe = recipe
            .with(overrides)
            .with_context(|| format!("recipe {name_or_path}"))?;
        Ok(recipe)
    }

    /// This recipe with `overrides`, each a `key=value`.
    ///
    /// # Errors
    /// Where a key is unknown or a value does not fit.
    pub fn with(mut self, overrides: &[String]) -> Result<Self> {
        for text in overrides {
            self = overrides::apply(&self, text)?;
        }
        self.check()?;
        Ok(self)
    }

    /// The recipe as a TOML table, each f32 as the shortest decimal that reads back to it.
    pub fn to_table(&self) -> Table {
        let mut table = Table::try_from(self).unwrap_or_default();
        table.iter_mut().for_each(|(_, value)| shorten(value));
        table
    }
}

fn parse(text: &str, name: &str) -> Result<Recipe> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        let what = error.message().replace('\n', " ");
        anyhow!("recipe {name}, line {line}: {what}: compare it with assets/recipes")
    })
}

/// Widening f32 to TOML's f64 turns 0.1 into 0.10000000149011612; this goes by way of the shortest decimal instead.
fn shorten(value: &mut Value) {
    match value {
        Value::Float(float) => {
            if let Ok(short) = (*float as f32).to_string().parse() {
                *float = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten(value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_recipe_is_good_and_survives_its_table() {
        for (name, text) in EMBEDDED {
            let recipe = Recipe::load(name, &[]).unwrap();
            let table = recipe.to_table();
            assert_eq!(
                table.clone().try_into::<Recipe>().unwrap(),
                recipe,
                "{name}"
            );
            assert_eq!(toml::from_str::<Table>(text).unwrap(), table, "{name}");
            for line in text.lines().filter(|line| line.contains(" = ")) {
                assert!(line.contains('#'), "{name}: no comment: {line}");
            }
        }
    }

    #[test]
    fn own_files_and_their_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Recipe::load(path.to_str().unwrap(), &[])
        };
        let nano = EMBEDDED[0].1;
        assert_eq!(load(nano).unwrap(), Recipe::load("nano", &[]).unwrap());
        for (text, part) in [
            (nano.replace("epochs = 12.0", "epochs = true"), "line 15: "),
            (nano.replace("beta1 = ", "beta9 = "), "beta9"),
            (
                nano.replace("name = \"nano\"", "name = nano"),
                "mine.toml, line 5",
            ),
            (
                nano.replace("radius = 5", "radius = 0"),
                "affinity.radius is 0",
            ),
        ] {
            let error = format!("{:#}", load(&text).unwrap_err());
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
        let error = Recipe::load("nanoo", &[]).unwrap_err().to_string();
        assert!(error.contains("nano, demo, smoke, resnet38"), "{error}");
    }
}
