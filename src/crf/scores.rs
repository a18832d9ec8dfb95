//! The scores of one image from a file that anyone made: probabilities, logits or a label map.

use std::path::Path;
use std::sync::Once;

use image::{GrayImage, Luma};
use ndarray::{Array3, ArrayD, Axis, Ix3};

use super::error::{self, Error, Problem, Result};
use super::numpy::{read_npy, read_npz, without_batch};
use super::stored::{Names, Stored};
use super::unary::{UNSURE, unary_from_labels, unary_from_logits, unary_from_probabilities};
use crate::data::MaskValue;
use crate::data::decode::read_mask;

/// How far the probabilities of a pixel may be from a sum of one, and one of them outside of [0, 1].
pub const TOLERANCE: f32 = 1e-3;

/// The most channels that a PNG tells apart: 0 to 254, since 255 stands for no label.
pub const PNG_CHANNELS: usize = MaskValue::MOST_CLASSES + 1;

/// What the numbers of a `[C, H, W]` array are taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum As {
    /// Probabilities where every pixel's sum to one, logits where they do not and leave [0, 1], else an error.
    #[default]
    Auto,
    /// Probabilities; where a pixel's do not sum to one they are divided by their sum, with a warning.
    Probabilities,
    /// Logits, whose softmax over the channels are the probabilities.
    Logits,
    /// Probabilities of the foreground: one channel or map of 0 to 1, or of integers up to 255, or a channel for each
    /// class without one of the background. The background is the complement of the highest, as in psa.
    Foreground,
    /// A label map, whatever its labels.
    Labels,
}

/// The scores of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The numbers, by channel.
    pub content: Content,
    /// What a mask calls channel c: `labels[c]`. The channel's own index, unless the file is a label map, of which only
    /// the labels that occur are channels, or holds weakseg's maps, which are named by mask value, or a dictionary, whose
    /// keys they are. With [`As::Foreground`] channel 0 is the background, and a dictionary's class k is k + 1.
    pub labels: Vec<usize>,
}

/// What a file of scores can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `[C, H, W]`, not below -[`TOLERANCE`], of a sum of one at every pixel up to [`TOLERANCE`].
    Probabilities(Array3<f32>),
    /// `[C, H, W]`, finite.
    Logits(Array3<f32>),
    /// The channel of every pixel, [`UNSURE`] where it is not known.
    Labels(GrayImage),
}

impl Scores {
    /// Unary energies `[C, H, W]`. `confidence` in (0, 1) is the probability that a label is right; only label maps
    /// look at it.
    ///
    /// # Errors
    /// A confidence outside of (0, 1), with a label map.
    pub fn unary(self, confidence: f32) -> Result<Array3<f32>> {
        match self.content {
            Content::Probabilities(values) => Ok(unary_from_probabilities(values)),
            Content::Logits(values) => Ok(unary_from_logits(values)),
            Content::Labels(labels) => unary_from_labels(&labels, self.labels.len(), confidence),
        }
    }

    /// The values that a PNG gives to the channels: [`Scores::labels`] as bytes. `path` is the file for the error.
    ///
    /// # Errors
    /// More than [`PNG_CHANNELS`], or labels above 254.
    pub fn png_values(&self, path: &Path) -> Result<Vec<u8>> {
        let fits = |&label: &usize| MaskValue::of_channel(label).map(u8::from);
        let values: Option<Vec<u8>> = self.labels.iter().map(fits).collect();
        values.ok_or_else(|| Error::TooManyChannels {
            path: path.to_owned(),
            channels: self.labels.len(),
            highest: self.labels.iter().copied().max().unwrap_or(0),
        })
    }
}

/// Reads the scores of an image of `size` (width, height) from a `.npy`, `.npz` or `.png` file.
///
/// A `.npy`, or an array of a `.npz`, is `[C, H, W]` or `[1, C, H, W]` of integers or floats of 8 to 64 bits (no
/// float16) in either byte order and memory order, or a label map `[H, W]` or `[1, H, W]` of integers. A label map, as
/// a PNG too, holds 0 to 254, and 255 where the label is not known. A `.npz` holds one array, or one called `scores`,
/// `probs` or `arr_0`, or weakseg's class maps. A `.npy` may hold a dictionary `{class: array [H, W]}`, as psa saves it.
///
/// # Errors
/// One line that names the file: missing, damaged or of another kind, not of the image's size, no channels, NaN or
/// infinity and where, or numbers that are not what `how` says and where.
pub fn read(path: &Path, how: As, size: (u32, u32)) -> Result<Scores> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let stored = match extension.to_ascii_lowercase().as_str() {
        "png" => {
            let labels = read_mask(path, PNG_CHANNELS - 1, size).map_err(error::file)?;
            let scores = match how {
                As::Foreground => {
                    let (width, height) = labels.dimensions();
                    let values = labels.iter().map(|value| f32::from(*value)).collect();
                    Array3::from_shape_vec((1, height as usize, width as usize), values)
                        .map_err(|error| Problem::Shape(error.to_string()))
                        .and_then(|values| foreground(values, true, Names::Channels))
                }
                _ => from_labels(labels, how),
            };
            return scores.map_err(|problem| unusable(path, problem));
        }
        "npy" => read_npy(path).map_err(unreadable),
        "npz" => read_npz(path).map_err(unreadable),
        _ => Err(Problem::Unreadable("scores are .npy, .npz or .png files".into())),
    };
    stored
        .and_then(|stored| from_array(path, stored, how, size))
        .map_err(|problem| unusable(path, problem))
}

fn unusable(path: &Path, problem: Problem) -> Error {
    Error::Scores {
        path: path.to_owned(),
        problem,
    }
}

/// What a library says of a file, in one line.
fn unreadable(error: anyhow::Error) -> Problem {
    let reason = format!("{error:#}");
    let reason: Vec<&str> = reason.split_whitespace().collect();
    Problem::Unreadable(reason.join(" "))
}

fn from_array(path: &Path, stored: Stored, how: As, size: (u32, u32)) -> Result<Scores, Problem> {
    let values = without_batch(stored.values);
    let shape = values.shape().to_vec();
    let (width, height) = (size.0 as usize, size.1 as usize);
    let wrong = match shape[..] {
        [0, ..] if shape.len() == 3 => Some(format!("there are no channels in the shape {shape:?}")),
        [_, h, w] | [h, w] if (h, w) == (height, width) => None,
        [h, w, _] if (h, w) == (height, width) => Some(format!(
            "the channels come last in the shape {shape:?}; save a.transpose(2, 0, 1), which is [C, H, W]"
        )),
        [_, h, w] | [h, w] => Some(format!(
            "they are {w} x {h} (shape {shape:?}), but the image is {width} x {height}; make both the same size"
        )),
        _ => Some(format!(
            "the shape is {shape:?}; scores are [C, H, W], label maps [H, W]"
        )),
    };
    if let Some(text) = wrong {
        return Err(Problem::Shape(text));
    }
    let is_one = matches!(shape[..], [_, _] | [1, _, _]);
    if is_one && stored.integers && how != As::Foreground {
        let map = match shape.len() {
            2 => values,
            _ => values.index_axis_move(Axis(0), 0),
        };
        return from_labels(label_map(&map, size)?, how);
    }
    if how == As::Labels {
        return Err(Problem::NotLabels);
    }
    let values = match (shape.len(), how) {
        (2, As::Foreground) => values.insert_axis(Axis(0)),
        (2, _) => {
            return Err(Problem::OneChannel(format!(
                "the shape {shape:?} is that of a label map, but the numbers are floats; scores are [C, H, W], label maps integers"
            )));
        }
        _ => values,
    };
    // The loops over pixels want their rows in one piece, whatever order the file has.
    let values: Array3<f32> = values
        .into_dimensionality::<Ix3>()
        .map_err(|error| Problem::Shape(error.to_string()))?;
    let values = match values.is_standard_layout() {
        true => values,
        false => values.as_standard_layout().into_owned(),
    };
    if how == As::Foreground {
        return foreground(values, stored.integers, stored.names);
    }
    let content = classify(path, values, stored.integers, how)?;
    let labels = match stored.names {
        Names::Channels => (0..shape[0]).collect(),
        Names::MaskValues(labels) | Names::Classes(labels) => labels,
    };
    Ok(Scores { content, labels })
}

/// The integers `[H, W]` as an image.
fn label_map(values: &ArrayD<f32>, (width, height): (u32, u32)) -> Result<GrayImage, Problem> {
    let mut labels = GrayImage::new(width, height);
    for (pixel, (place, &value)) in labels.pixels_mut().zip(values.indexed_iter()) {
        if !(0.0..=255.0).contains(&value) {
            return Err(Problem::Value(format!(
                "the label {value} at (y, x) = ({}, {}) is none of 0 to 254, and 255 for unsure",
                place[0], place[1]
            )));
        }
        *pixel = Luma([value as u8]);
    }
    Ok(labels)
}

/// Makes a channel of every label that occurs.
fn from_labels(mut map: GrayImage, how: As) -> Result<Scores, Problem> {
    if !matches!(how, As::Auto | As::Labels) {
        return Err(Problem::IsLabels);
    }
    let mut occurs = [false; PNG_CHANNELS];
    for label in map.iter() {
        if let Some(occurs) = occurs.get_mut(usize::from(*label)) {
            *occurs = true;
        }
    }
    let labels: Vec<usize> = (0..PNG_CHANNELS).filter(|&label| occurs[label]).collect();
    if labels.is_empty() {
        return Err(Problem::Value(format!("every pixel is {UNSURE}, which is no label")));
    }
    if how == As::Auto && labels == [0] && map.contains(&UNSURE) {
        return Err(Problem::ZeroAndUnsure);
    }
    let mut channels = [UNSURE; 256];
    for (&label, channel) in labels.iter().zip(0_u8..) {
        channels[label] = channel;
    }
    for label in map.iter_mut() {
        *label = channels[usize::from(*label)];
    }
    Ok(Scores {
        content: Content::Labels(map),
        labels,
    })
}

/// Finds out what the numbers `[C, H, W]` are, and whether they are what `how` says.
fn classify(path: &Path, mut values: Array3<f32>, integers: bool, how: As) -> Result<Content, Problem> {
    let Found { outside, unsummed } = inspect(&values)?;
    let is_certain = how != As::Logits && outside.is_none() && unsummed.is_none();
    if values.len_of(Axis(0)) == 1 && !is_certain {
        return Err(Problem::OneChannel(
            "there is one channel, with which every pixel would be label 0".into(),
        ));
    }
    match (how, outside, unsummed) {
        (As::Logits, ..) => Ok(Content::Logits(values)),
        (As::Auto | As::Probabilities, None, None) => Ok(Content::Probabilities(values)),
        (As::Auto, None, Some(sum)) => Err(Problem::Unclear(format!(
            "the channels lie in [0, 1], but sum to {sum} instead of 1"
        ))),
        (As::Auto, Some(value), None) => Err(Problem::Unclear(format!(
            "the channels sum to 1, but {value} is no probability"
        ))),
        (As::Auto, Some(value), Some(_)) if integers => {
            Err(Problem::Unclear(format!("the numbers are integers, {value}")))
        }
        (As::Auto, Some(_), Some(_)) => match one_sum(&values) {
            Some(sum) => Err(Problem::Unclear(format!(
                "the channels are not negative and sum to {sum} at every pixel, as shares of that would"
            ))),
            None => Ok(Content::Logits(values)),
        },
        // Neither of the last two comes here.
        (As::Probabilities | As::Foreground | As::Labels, ..) => {
            normalise(&mut values)?;
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                log::warn!(
                    "the scores {} do not sum to 1 everywhere: divided by their sum, as in all that follow",
                    path.display()
                );
            });
            Ok(Content::Probabilities(values))
        }
    }
}

/// Adds the background to probabilities `[C, H, W]` of the foreground: the complement of a pixel's highest. Integers up
/// to 255 are parts of 255. One map of nothing but 0 and 1 (or 255) is a label map.
///
/// # Errors
/// A value that is no probability, or a map of the background among them.
fn foreground(mut values: Array3<f32>, integers: bool, names: Names) -> Result<Scores, Problem> {
    let Found { outside, .. } = inspect(&values)?;
    if let Some(place) = outside {
        if !integers || !values.iter().all(|v| (0.0..=255.0).contains(v)) {
            return Err(Problem::Value(format!(
                "{place} is no probability of the foreground; divide by 255 what goes up to 255, and save 1 / (1 + exp(-a)) of logits a"
            )));
        }
        values /= 255.0;
    }
    let (classes, height, width) = values.dim();
    let labels = match names {
        Names::Channels => (0..=classes).collect(),
        Names::MaskValues(values) if values.contains(&0) => return Err(Problem::HasBackground),
        Names::MaskValues(values) => [vec![0], values].concat(),
        Names::Classes(classes) => std::iter::once(0)
            .chain(classes.into_iter().map(|class| class + 1))
            .collect(),
    };
    if classes == 1 && values.iter().all(|v| *v == 0.0 || *v == 1.0) {
        let map = values.iter().map(|v| *v as u8).collect();
        let map = GrayImage::from_raw(width as u32, height as u32, map);
        let map = map.ok_or_else(|| Problem::Shape("it is too large".into()))?;
        return Ok(Scores {
            content: Content::Labels(map),
            labels,
        });
    }
    let mut all = Array3::zeros((classes + 1, height, width));
    for (mut channel, given) in all.outer_iter_mut().skip(1).zip(values.outer_iter()) {
        channel.zip_mut_with(&given, |p, v| *p = v.clamp(0.0, 1.0));
    }
    let highest = all.fold_axis(Axis(0), 0.0_f32, |highest, p| highest.max(*p));
    let mut background = all.index_axis_mut(Axis(0), 0);
    background.zip_mut_with(&highest, |p, highest| *p = 1.0 - highest);
    normalise(&mut all)?;
    Ok(Scores {
        content: Content::Probabilities(all),
        labels,
    })
}

/// The first numbers that tell what the scores are not, in words.
struct Found {
    /// One outside of [0, 1].
    outside: Option<String>,
    /// A sum over the channels other than 1.
    unsummed: Option<String>,
}

/// # Errors
/// The first NaN or infinity.
fn inspect(values: &Array3<f32>) -> Result<Found, Problem> {
    let mut found = Found {
        outside: None,
        unsummed: None,
    };
    let possible = -TOLERANCE..=1.0 + TOLERANCE;
    let mut sums = vec![0.0_f64; values.len_of(Axis(2))];
    for (y, row) in values.axis_iter(Axis(1)).enumerate() {
        sums.fill(0.0);
        for (c, channel) in row.outer_iter().enumerate() {
            for (x, (sum, &v)) in sums.iter_mut().zip(channel).enumerate() {
                *sum += f64::from(v);
                if possible.contains(&v) {
                    continue;
                }
                let place = || format!("{v} at (channel, y, x) = ({c}, {y}, {x})");
                if !v.is_finite() {
                    return Err(Problem::Value(format!(
                        "{}; scores are finite numbers, see numpy.nan_to_num",
                        place()
                    )));
                }
                found.outside.get_or_insert_with(place);
            }
        }
        if found.unsummed.is_none() {
            let off = |sum: &f64| (sum - 1.0).abs() > f64::from(TOLERANCE);
            let at = sums.iter().position(off);
            found.unsummed = at.map(|x| format!("{} at (y, x) = ({y}, {x})", sums[x]));
        }
    }
    Ok(found)
}

/// The sum of every pixel's numbers, where it is one and none of them is negative.
fn one_sum(values: &Array3<f32>) -> Option<f32> {
    let sums = values.sum_axis(Axis(0));
    let sum = *sums.first()?;
    let is_same = |other: &f32| (other - sum).abs() <= TOLERANCE * sum.abs();
    (sums.len() > 1 && sum > 1.0 && sums.iter().all(is_same) && values.iter().all(|v| *v >= 0.0)).then_some(sum)
}

/// Divides every pixel's numbers by their sum; where all are zero they become equal.
///
/// # Errors
/// The first negative number.
fn normalise(values: &mut Array3<f32>) -> Result<(), Problem> {
    let classes = values.len_of(Axis(0)) as f32;
    let mut sums = vec![0.0_f64; values.len_of(Axis(2))];
    for (y, mut row) in values.axis_iter_mut(Axis(1)).enumerate() {
        sums.fill(0.0);
        for (c, mut channel) in row.outer_iter_mut().enumerate() {
            for (x, (sum, v)) in sums.iter_mut().zip(&mut channel).enumerate() {
                if *v < -TOLERANCE {
                    return Err(Problem::Negative(format!(
                        "{v} at (channel, y, x) = ({c}, {y}, {x}) is no probability"
                    )));
                }
                *v = v.max(0.0);
                *sum += f64::from(*v);
            }
        }
        for mut channel in row.outer_iter_mut() {
            for (sum, v) in sums.iter().zip(&mut channel) {
                *v = match *sum > 0.0 {
                    true => (f64::from(*v) / sum) as f32,
                    false => 1.0 / classes,
                };
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
