//! Recipes: every hyper-parameter of a method at one scale, from `assets/recipes/*.toml` or the user's own file.

mod backbones;
mod check;
mod coattend;
mod crf;
mod cross;
mod joint;
mod overrides;
mod range;
mod seeds;
mod training;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::{Scaling, ShapesOptions};
use crate::kernels;
use crate::weights::keys::{self, Order};

pub use backbones::{BackboneSettings, Part};
pub use coattend::{Classifier, Coattend, LocalizationMaps};
pub use crf::Crf;
pub use cross::Cross;
pub use joint::{Energy, Joint, PairLoss, PairWeight, Reassign, Rule};
pub use seeds::Seeds;
pub use training::{AugmentSettings, Optimizer, Training};

/// Embedded recipes by name; `affinitynet-` before it may be written too.
const EMBEDDED: [(&str, &str); 12] = [
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
    (
        "vgg16",
        include_str!("../assets/recipes/affinitynet-vgg16.toml"),
    ),
    ("photos", include_str!("../assets/recipes/photos.toml")),
    ("resnet50", include_str!("../assets/recipes/resnet50.toml")),
    ("rrm-nano", include_str!("../assets/recipes/rrm-nano.toml")),
    (
        "rrm-resnet38",
        include_str!("../assets/recipes/rrm-resnet38.toml"),
    ),
    (
        "aalr-resnet38",
        include_str!("../assets/recipes/aalr-resnet38.toml"),
    ),
    (
        "cian-resnet101",
        include_str!("../assets/recipes/cian-resnet101.toml"),
    ),
    (
        "mcis-vgg16",
        include_str!("../assets/recipes/mcis-vgg16.toml"),
    ),
];

/// Hyper-parameters of all methods, stage by stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it needs, one line for people: weights, memory, a device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub needs: String,
    /// The network of all stages whose section has none of its own.
    pub backbone: BackboneSettings,
    /// Images on their way into it.
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
    /// Confident pixels by thresholds.
    pub seeds: Seeds,
    /// `[cian]`: the segmentation network with messages between related images.
    #[serde(rename = "cian")]
    pub cross: Cross,
    /// `[mcis]`: the classifier with co-attention.
    #[serde(rename = "mcis")]
    pub coattend: Coattend,
    /// The segmentation network and its training.
    pub segment: Training,
    /// Inference of the segmentation network.
    pub predict: Predict,
    /// Size of the built-in data set.
    pub shapes: ShapesOptions,
}

/// Images on their way into the network. What is absent belongs to the network, and is that of its weights
/// (`assets/weights/`); see [`keys::Input`] for what the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Images whose longer side exceeds this many pixels are scaled down to it, in training and after; 0 = no limit.
    pub max_side: u32,
    /// Order of the channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What a full pixel becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<f32>,
    /// Per channel in `order`, in units of `range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Per channel in `order`, in units of `range`; positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

/// How images go into a recipe's network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkInput {
    /// As [`Input::max_side`].
    pub max_side: u32,
    /// What the network sees of a pixel.
    pub scaling: Scaling,
}

/// Class activation maps (Eq. 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cam {
    /// That of the classifier, whose maps these are, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
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
    /// AffinityNet's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
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

impl From<Distance> for kernels::Distance {
    fn from(distance: Distance) -> kernels::Distance {
        match distance {
            Distance::Mean => kernels::Distance::Mean,
            Distance::Sum => kernels::Distance::Sum,
        }
    }
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
    /// Factor on the image's size for the features that it walks on: a finer grid.
    pub scale: f32,
    /// Background's score in [0, 1] everywhere, in place of that by `alpha`: MCIS for the LID challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// Pseudo-labels from scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Background exponent (AffinityNet Eq. 2) of labels that no random walk precedes (MCIS without saliency maps).
    pub alpha: f32,
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
    /// Reads the embedded recipe of this name (`nano`, `rrm-resnet38`, ...), or the file at a path that ends in `.toml`,
    /// and applies `overrides` of the form `key=value`, with dotted keys and TOML values (strings may be bare; `none`
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
            parse(embedded(name_or_path)?, name_or_path)?
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

    /// How images go into a network with the backbone called `backbone`: as its weights ask for, with what the recipe says
    /// in place of it.
    ///
    /// # Errors
    /// On a backbone that is not known, which no checked recipe has.
    pub fn network_input(&self, backbone: &str) -> Result<NetworkInput> {
        let own = keys::input(backbone)?;
        let range = self.input.range.unwrap_or(own.range);
        let unit = |values: [f32; 3]| values.map(|v| v / range);
        Ok(NetworkInput {
            max_side: self.input.max_side,
            scaling: Scaling {
                bgr: self.input.order.unwrap_or(own.order) == Order::Bgr,
                mean: unit(self.input.mean.unwrap_or(own.mean)),
                std: unit(self.input.std.unwrap_or(own.std)),
            },
        })
    }

    /// What the recipe says of the input against the network's weights, one line; `None` where it says nothing else.
    pub fn foreign_input(&self) -> Option<String> {
        let mut own = self.clone();
        own.input = Input {
            max_side: self.input.max_side,
            order: None,
            range: None,
            mean: None,
            std: None,
        };
        let backbone = &self.backbone.name;
        if own.network_input(backbone).ok()? == self.network_input(backbone).ok()? {
            return None;
        }
        let published = keys::input(backbone).ok()?;
        let order = match published.order {
            Order::Rgb => "rgb",
            Order::Bgr => "bgr",
        };
        Some(format!(
            "the recipe's [input] is not that of the weights of {}, order {order}, range {}, mean {:?}, std {:?}: unset input.order, input.range, input.mean and input.std (--set input.mean=none), unless your weights are others",
            backbone, published.range, published.mean, published.std
        ))
    }

    /// The recipe as a TOML table, each f32 as the shortest decimal that reads back to it.
    pub fn to_table(&self) -> Table {
        let mut table = Table::try_from(self).unwrap_or_default();
        table.iter_mut().for_each(|(_, value)| shorten(value));
        table
    }
}

/// The text of the embedded recipe called `name`.
fn embedded(name: &str) -> Result<&'static str> {
    let short = name.strip_prefix("affinitynet-").unwrap_or(name);
    let found = EMBEDDED.iter().find(|(known, _)| *known == short);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = EMBEDDED.iter().map(|(known, _)| *known).collect();
        anyhow!(
            "there is no recipe \"{name}\": use one of {}, or a path that ends in .toml",
            known.join(", ")
        )
    })
}

/// Reads a recipe. One that begins with `base = "NAME"` needs to hold only what differs from that embedded recipe.
fn parse(text: &str, name: &str) -> Result<Recipe> {
    let at_line = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        let what = error.message().replace('\n', " ");
        anyhow!("recipe {name}, line {line}: {what}: compare it with assets/recipes")
    };
    let mut own: Table = toml::from_str(text).map_err(at_line)?;
    let Some(base) = own.remove("base") else {
        return toml::from_str(text).map_err(at_line);
    };
    let Some(base) = base.as_str() else {
        bail!("recipe {name}: base is {base}: write the name of a recipe, such as \"resnet38\"");
    };
    let base = embedded(base).with_context(|| format!("recipe {name}, base"))?;
    let mut table = parse(base, name)?.to_table();
    merge(&mut table, own);
    table.try_into().map_err(|error: toml::de::Error| {
        let what = error.message().replace('\n', " ");
        anyhow!("recipe {name}: {what}: compare it with assets/recipes")
    })
}

/// Puts the values of `own` into `table`. A table with another `name`, such as another optimizer, replaces the old one.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new))
                if !new.contains_key("name") || new.get("name") == old.get("name") =>
            {
                merge(old, new);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
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
mod tests;
