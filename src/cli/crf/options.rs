//! The dense CRF's parameters as options: what they may be, and what they make of a recipe's table.

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::crf::Preset;
use crate::crf::scores::As;
use crate::recipe;

/// `crf` with `overrides`, each a `key=value` with a key of a recipe's table.
///
/// # Errors
/// One line for an unknown key or a value that does not fit.
pub fn with(mut crf: recipe::Crf, overrides: &[String]) -> Result<recipe::Crf> {
    for text in overrides {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let number: f32 = value
            .trim()
            .parse()
            .with_context(|| format!("--set-crf {text}: write it as key=number"))?;
        match key.trim() {
            "iterations" if number >= 0.0 && number.fract() == 0.0 => {
                crf.iterations = Some(number as u32);
            }
            "reference_side" => crf.reference_side = Some(number),
            "gaussian_sxy" => crf.gaussian_sxy = Some(number),
            "gaussian_compat" => crf.gaussian_compat = Some(number),
            "bilateral_sxy" => crf.bilateral_sxy = Some(number),
            "bilateral_srgb" => crf.bilateral_srgb = Some(number),
            "bilateral_compat" => crf.bilateral_compat = Some(number),
            "iterations" => bail!("--set-crf {text}: iterations are a whole number"),
            key => {
                let known = recipe::Crf::OPTIONAL.map(|k| k.trim_start_matches("crf."));
                bail!("--set-crf {key}: there is no such key: use {}", known.join(", "))
            }
        }
    }
    crf.check("--set-crf")?;
    Ok(crf)
}

impl ValueEnum for Preset {
    fn value_variants<'a>() -> &'a [Self] {
        &[Preset::Default, Preset::Inference, Preset::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Preset::Default => (
                "default",
                "For labels: sxy 3 compat 3, and sxy 80 srgb 13 compat 10; 10 iterations (released AffinityNet)",
            ),
            Preset::Inference => (
                "inference",
                "For predictions: sxy 3 compat 3, and sxy 83 srgb 5 compat 4; 10 iterations (released RRM)",
            ),
            Preset::None => ("none", "No CRF"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for As {
    fn value_variants<'a>() -> &'a [Self] {
        &[As::Auto, As::Probabilities, As::Logits, As::Foreground, As::Labels]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            As::Auto => (
                "auto",
                "Probabilities where every pixel's sum to one, logits where they do not and leave [0, 1], else an error",
            ),
            As::Probabilities => (
                "probabilities",
                "Probabilities; where a pixel's do not sum to one they are divided by their sum, with a warning",
            ),
            As::Logits => (
                "logits",
                "Logits, whose softmax over the channels are the probabilities",
            ),
            As::Foreground => (
                "foreground",
                "Probabilities of the foreground, one channel or one for each class; the background is the complement of the highest",
            ),
            As::Labels => ("labels", "A label map, in which 255 is a pixel that nobody labelled"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}
