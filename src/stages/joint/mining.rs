//! Reliable labels of a batch, from the network that is being trained.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use ndarray::{Array2, Array3, ArrayView3, Axis};

use super::reliable::{Reliable, Thresholds, best_share, released};
use crate::crf::DenseCrf;
use crate::data::Batch;
use crate::inference::{self, Refine, download_maps, multi_scale, probabilities};
use crate::maps::{self, Maps, with_background};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::recipe::{Joint, Rule};

/// A batch, with what mining looks at beside its maps.
pub struct Crops<'a> {
    /// Tags and size.
    pub batch: &'a Batch,
    /// The crops in 8 bits.
    pub images: Vec<RgbImage>,
    /// `[B, S, S]`: false where a crop is padding.
    pub inside: Vec<bool>,
}

/// Labels of a batch's crops, `[B, S, S]`.
pub struct Mined {
    /// Mask value of a reliable pixel, 255 elsewhere.
    pub labels: Vec<i32>,
    /// Score of the label, 0 without one.
    pub confidence: Vec<f32>,
}

/// What labels are mined with.
pub struct Miner<'a> {
    /// Rule and scales.
    pub settings: &'a Joint,
    /// Dense CRF; none leaves the maps' scores.
    pub crf: Option<DenseCrf>,
    /// Where it computes.
    pub device: Device,
    /// Number of classes, without background.
    pub classes: usize,
}

impl Miner<'_> {
    /// Labels from the class activation maps of `images` `[B, 3, S, S]` under `parameters`, both without autodiff.
    /// `probability` `[B, C]` is the classifier's.
    pub fn mine(
        &self,
        network: &Network,
        parameters: &Parameters,
        images: Tensor<4>,
        crops: &Crops,
        probability: &[f32],
    ) -> Result<Mined> {
        let classifier = network.classifier()?;
        let maps = multi_scale(images, &self.settings.scales, false, |x| {
            classifier.maps(&Forward::new(parameters, Mode::Inference), x)
        });
        let maps = download_maps(maps)?;
        let size = crops.batch.size;
        let numbers: Vec<usize> = (0..crops.images.len()).collect();
        let labels = inference::map(&self.device, &numbers, |&i| {
            let row = i * self.classes..(i + 1) * self.classes;
            let (tags, sure) = (&crops.batch.tags[row.clone()], &probability[row]);
            let classes: Vec<usize> = (0..self.classes)
                .filter(|&c| tags[c] > 0.5 && sure[c] >= self.settings.min_class_probability)
                .collect();
            let pixels = i * size * size..(i + 1) * size * size;
            let inside = Array2::from_shape_vec((size, size), crops.inside[pixels].to_vec())?;
            let maps = maps.index_axis(Axis(0), i);
            let maps = normalise(maps.select(Axis(0), &classes), &inside);
            let maps = Maps {
                classes: classes.iter().map(|c| c + 1).collect(),
                maps,
            };
            // Maps that are silent about all tags do not make the objects background. An image without tags is.
            if tags.contains(&1.0) && maps.maps.iter().all(|v| *v == 0.0) {
                return Ok(Reliable::none(inside.dim()));
            }
            self.label(&maps, &crops.images[i], &inside)
        })?;
        let mut mined = Mined {
            labels: Vec::with_capacity(crops.inside.len()),
            confidence: Vec::with_capacity(crops.inside.len()),
        };
        for reliable in labels {
            mined.labels.extend(reliable.labels);
            mined.confidence.extend(reliable.confidence);
        }
        Ok(mined)
    }

    fn label(&self, maps: &Maps, crop: &RgbImage, inside: &Array2<bool>) -> Result<Reliable> {
        let Joint {
            rule,
            share,
            alpha_low,
            alpha_high,
            ..
        } = *self.settings;
        let (low, values) = with_background(maps, alpha_low);
        let share_of = |low: ArrayView3<f32>, crf: ArrayView3<f32>| best_share(low, crf, &values, inside.view(), share);
        let crf = self.crf.as_ref().filter(|_| rule != Rule::Cam);
        let on_crop = Refine::new(crf, || Ok(crop.clone()), &self.device)?;
        let refine = |scores: &Array3<f32>| on_crop.apply(probabilities(scores.clone()));
        Ok(match rule {
            Rule::Cam => share_of(low.view(), low.view()),
            Rule::Paper => {
                let crf = refine(&low)?;
                share_of(low.view(), crf.view())
            }
            Rule::Released => {
                let (high, _) = with_background(maps, alpha_high);
                let strong = refine(&low)?;
                let weak = refine(&high)?;
                let thresholds = Thresholds {
                    share,
                    ..Thresholds::default()
                };
                let crf = [strong.view(), weak.view()];
                released(high.view(), crf, &values, inside.view(), thresholds)
            }
        })
    }
}

/// Maps `[K, S, S]`, each divided by its maximum inside and 0 outside; one that fires nowhere stays 0.
fn normalise(mut maps: Array3<f32>, inside: &Array2<bool>) -> Array3<f32> {
    for mut map in maps.outer_iter_mut() {
        map.zip_mut_with(inside, |v, inside| *v = if *inside { v.max(0.0) } else { 0.0 });
    }
    maps::normalise(&mut maps);
    maps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Head;
    use crate::models::backbones::Backbone;
    use crate::models::params::Value;
    use crate::recipe::Recipe;
    use burn::tensor::TensorData;
    use ndarray::array;

    /// What is mined from a crop of 16 x 16 pixels, the last row of them padding, by a network whose maps are all zero
    /// or all positive.
    fn mine(rule: Rule, tags: [f32; 2], fires: bool) -> Vec<i32> {
        let recipe = Recipe::load("nano", &[]).unwrap();
        let network = Network {
            backbone: Backbone::named("nano", 1).unwrap(),
            head: Head::Joint { classes: 2 },
        };
        let device = Device::flex();
        let mut parameters = network.init(0, &device).unwrap();
        if let Some(Value::Kernel(kernel)) = parameters.0.get_mut("fc8.weight").map(|p| &mut p.value) {
            *kernel = kernel.zeros_like() + if fires { 1.0 } else { 0.0 };
        }
        let batch = Batch {
            step: 0,
            indices: vec![0],
            size: 16,
            images: (0..3 * 256).map(|i| (i % 7) as f32 / 7.0).collect(),
            scaling: recipe.network_input("nano").unwrap().scaling,
            tags: tags.to_vec(),
            labels: None,
        };
        let settings = Joint {
            rule,
            scales: vec![1.0],
            ..recipe.joint
        };
        let miner = Miner {
            settings: &settings,
            crf: None,
            device: device.clone(),
            classes: 2,
        };
        let crops = Crops {
            images: batch.crops(),
            batch: &batch,
            inside: (0..256).map(|i| i < 240).collect(),
        };
        let x = Tensor::from_data(TensorData::new(batch.normalised(), [1, 3, 16, 16]), &device);
        let mined = miner.mine(&network, &parameters, x, &crops, &[0.9, 0.9]);
        let labels = mined.unwrap().labels;
        assert!(labels[240..].iter().all(|l| *l == 255), "padding");
        labels[..240].to_vec()
    }

    #[test]
    fn only_tags_whose_maps_fire_are_labelled() {
        for rule in [Rule::Cam, Rule::Paper, Rule::Released] {
            let silent = mine(rule, [0.0, 1.0], false);
            assert!(silent.iter().all(|l| *l == 255), "{rule:?}");
            let untagged = mine(rule, [0.0, 0.0], true);
            assert!(untagged.iter().all(|l| *l == 0), "{rule:?}");
            let fires = mine(rule, [0.0, 1.0], true);
            assert!(fires.contains(&2) && !fires.contains(&1), "{rule:?}");
        }
    }

    #[test]
    fn padding_does_not_count_for_the_maximum() {
        let inside = array![[true, true], [true, false]];
        let maps = normalise(array![[[-1.0, 2.0], [1.0, 9.0]]], &inside);
        assert_eq!(maps, array![[[0.0, 1.0], [0.5, 0.0]]]);
    }
}
