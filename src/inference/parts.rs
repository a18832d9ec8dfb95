//! Masks of images that are too large to be worked on at once. The network sees the image in tiles; what it says is
//! kept at its own resolution, and brought to the image's size some rows at a time.

use std::ops::Range;

use anyhow::Result;
use burn::tensor::Device;
use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};
use ndarray::{Array3, Axis, Zip, s};

use super::images::network_size;
use super::multi_scale::scaled;
use super::predictor::Prediction;
use super::refine::Refine;
use super::room::crf_bytes;
use super::sampled::{rows, source_rows};
use super::tiles;
use super::trained::Trained;
use crate::crf::DenseCrf;
use crate::maps::winners;
use crate::recipe::{Average, Predict};

/// Pixels that a CRF sees of an image at least, however little memory is left: 5 MB. Ours.
const CRF_SEES: f64 = (1 << 14) as f64;

/// How much is worked on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Pixels of a tile that the network sees.
    pub tile: usize,
    /// Scores that are at the image's size at a time.
    pub scores: usize,
    /// Bytes that the CRF may take: images for which it takes more are scaled down for it.
    pub crf: u64,
}

impl Limits {
    /// Rows of `maps` maps of this width that are worked on at a time.
    fn rows(self, maps: usize, width: usize) -> usize {
        (self.scores / (maps * width).max(1)).max(1)
    }
}

/// What a network says of an image at all sizes and flips, at its own resolution.
struct Said {
    /// One map `[C + 1, h, w]` per size: mean probabilities or scores of both flips; of [`Average::Maximum`] one per
    /// flip, scores, in a list per flip.
    maps: Vec<Vec<Array3<f32>>>,
    average: Average,
    /// Height and width of the image as the network sees it at scale 1.
    size: [usize; 2],
}

impl Said {
    fn of(trained: &Trained, settings: &Predict, image: &RgbImage, tile: usize) -> Result<Said> {
        let (width, height) = network_size(image.dimensions(), &trained.input);
        let small;
        let seen = match (width, height) == image.dimensions() {
            true => image,
            false => {
                small = imageops::resize(image, width, height, FilterType::Triangle);
                &small
            }
        };
        let size = [height as usize, width as usize];
        let flips: &[bool] = if settings.flip { &[false, true] } else { &[false] };
        let scales: &[f32] = match settings.scales.as_slice() {
            [] => &[1.0],
            scales => scales,
        };
        let mut maps: Vec<Vec<Array3<f32>>> = Vec::new();
        for mirrored in flips {
            let mut of_flip = Vec::new();
            for scale in scales {
                let mut scores = tiles::scores(trained, seen, scaled(size, *scale), *mirrored, tile)?;
                if *mirrored {
                    scores.invert_axis(Axis(2));
                }
                if settings.average == Average::Probabilities {
                    softmax(&mut scores);
                }
                of_flip.push(scores);
            }
            maps.push(of_flip);
        }
        if settings.average != Average::Maximum {
            // The mean of flips at one size is the same before it is enlarged.
            let count = maps.len() as f32;
            let mut flips = maps.into_iter();
            let mut mean = flips.next().unwrap_or_default();
            for other in flips {
                mean.iter_mut().zip(other).for_each(|(mean, other)| *mean += &other);
            }
            mean.iter_mut().for_each(|map| *map /= count);
            maps = vec![mean];
        }
        Ok(Said {
            maps,
            average: settings.average,
            size,
        })
    }

    /// Number of classes, background included.
    fn classes(&self) -> usize {
        self.maps
            .first()
            .and_then(|maps| maps.first())
            .map_or(0, |map| map.dim().0)
    }

    /// Probabilities of rows of the image as the network sees it, `[C + 1, rows, w]`.
    fn seen_rows(&self, range: Range<usize>) -> Array3<f32> {
        let shape = (self.classes(), range.len(), self.size[1]);
        let enlarged = |map: &Array3<f32>| rows(map.view(), (0, map.dim().1), self.size, range.clone());
        let mut sum = Array3::<f32>::zeros(shape);
        for maps in &self.maps {
            let mut largest = (self.average == Average::Maximum).then(|| Array3::from_elem(shape, f32::NEG_INFINITY));
            let mut of_flip = Array3::<f32>::zeros(shape);
            for map in maps {
                let map = enlarged(map);
                if let Some(largest) = &mut largest {
                    Zip::from(largest).and(&map).for_each(|l, m| *l = l.max(*m));
                }
                of_flip += &map;
            }
            let mut count = maps.len();
            if let Some(largest) = largest {
                of_flip += &largest;
                count += 1;
            }
            sum += &(of_flip / count as f32);
        }
        sum /= self.maps.len() as f32;
        if self.average != Average::Probabilities {
            softmax(&mut sum);
        }
        sum
    }

    /// Probabilities of the classes `kept`, rows of the image at `size` (height, width).
    fn rows(&self, kept: &[usize], size: [usize; 2], range: Range<usize>) -> Array3<f32> {
        if size == self.size {
            return self.seen_rows(range).select(Axis(0), kept);
        }
        let needed = source_rows(self.size[0], size[0], range.clone());
        let seen = self.seen_rows(needed.clone()).select(Axis(0), kept);
        rows(seen.view(), (needed.start, self.size[0]), size, range)
    }
}

/// The softmax over the first axis, in place.
fn softmax(scores: &mut Array3<f32>) {
    let largest = scores.fold_axis(Axis(0), f32::NEG_INFINITY, |a, b| a.max(*b));
    *scores -= &largest.insert_axis(Axis(0));
    scores.mapv_inplace(f32::exp);
    let sum = scores.sum_axis(Axis(0));
    *scores /= &sum.insert_axis(Axis(0));
}

/// The mask of one image, of classes that have the mask values `kept`, after `crf`.
///
/// # Errors
/// Where the device fails.
pub(super) fn mask(
    trained: &Trained,
    settings: &Predict,
    image: &RgbImage,
    kept: &[usize],
    crf: Option<&DenseCrf>,
    limits: Limits,
) -> Result<Prediction> {
    let said = Said::of(trained, settings, image, limits.tile)?;
    let values: Vec<u8> = kept.iter().map(|row| *row as u8).collect();
    let size = [image.height() as usize, image.width() as usize];
    let step = limits.rows(said.classes(), size[1]);
    let network = in_stripes(size, step, &values, |range| said.rows(kept, size, range));
    let Some(crf) = crf else {
        return Ok(Prediction {
            mask: network.clone(),
            network,
        });
    };
    let refined = refined(&said, image, kept, crf, limits, &trained.device)?;
    let height = refined.dim().1;
    let mask = in_stripes(size, step, &values, |range| {
        let needed = source_rows(height, size[0], range.clone());
        let part = refined.slice(s![.., needed.clone(), ..]);
        rows(part, (needed.start, height), size, range)
    });
    Ok(Prediction { mask, network })
}

/// Who wins in scores that `of` gives of `step` rows at a time of an image of `size`.
fn in_stripes(size: [usize; 2], step: usize, values: &[u8], of: impl Fn(Range<usize>) -> Array3<f32>) -> GrayImage {
    let mut mask = Vec::with_capacity(size[0] * size[1]);
    for start in (0..size[0]).step_by(step) {
        let scores = of(start..(start + step).min(size[0]));
        mask.extend(winners(scores.view(), values).into_raw());
    }
    GrayImage::from_raw(size[1] as u32, size[0] as u32, mask).unwrap_or_default()
}

/// What the sides of an image of this size and number of labels are multiplied by for a CRF that may take so many bytes,
/// at most 1.
fn crf_factor((width, height): (u32, u32), labels: usize, bytes: u64) -> f64 {
    let least = CRF_SEES / (f64::from(width) * f64::from(height));
    let fits = bytes as f64 / crf_bytes((width, height), labels) as f64;
    fits.max(least).sqrt().min(1.0)
}

/// The CRF's posterior `[K, h, w]` of the image, or of a smaller one where it has more pixels than the CRF may see.
fn refined(
    said: &Said,
    image: &RgbImage,
    kept: &[usize],
    crf: &DenseCrf,
    limits: Limits,
    device: &Device,
) -> Result<Array3<f32>> {
    let (width, height) = image.dimensions();
    let factor = crf_factor((width, height), kept.len(), limits.crf);
    let [w, h] = [width, height].map(|side| ((f64::from(side) * factor).round() as u32).max(1));
    if factor < 1.0 {
        log::warn!("there is no memory for the dense CRF on {width} x {height} pixels: it sees {w} x {h} of them");
    }
    let small = (factor < 1.0).then(|| imageops::resize(image, w, h, FilterType::Triangle));
    let size = [h as usize, w as usize];
    let step = limits.rows(said.classes(), size[1]);
    let mut scores = Array3::zeros((kept.len(), size[0], size[1]));
    for start in (0..size[0]).step_by(step) {
        let range = start..(start + step).min(size[0]);
        let part = said.rows(kept, size, range.clone());
        scores.slice_mut(s![.., range, ..]).assign(&part);
    }
    let crf = crf.scaled(factor as f32);
    let image = || Ok(small.unwrap_or_else(|| image.clone()));
    Refine::new(Some(&crf), image, device)?.apply(scores)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use image::Rgb;
    use proptest::prelude::*;

    use super::*;
    use crate::crf::Preset;
    use crate::inference::Predictor;
    use crate::models::params::Parameters;
    use crate::models::{Head, Network};
    use crate::recipe::{Crf, Part, Recipe};

    /// A network whose receptive field is 94 pixels, with values that no training has made alike.
    fn trained(recipe: &Recipe) -> Trained {
        let device = Device::flex();
        let head = Head::Segmentation { classes: 3 };
        let network: Network = recipe.network(Part::Segment, head).unwrap();
        let parameters: Parameters = network.init(5, &device).unwrap();
        Trained::new(network, parameters, recipe, &device).unwrap()
    }

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let wave = |f: f32| ((((x as f32) * f).sin() + ((y as f32) * f * 0.7).cos()) * 60.0 + 128.0) as u8;
            Rgb([wave(0.11), wave(0.053), ((x * 7) ^ (y * 13)) as u8])
        })
    }

    /// Share of the pixels that differ. Ties break by the last bit of a sum, so that a few may.
    fn difference(a: &GrayImage, b: &GrayImage) -> f64 {
        assert_eq!(a.dimensions(), b.dimensions());
        let other = a.iter().zip(b.iter()).filter(|(a, b)| a != b).count();
        other as f64 / a.as_raw().len() as f64
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn an_image_in_tiles_has_the_mask_of_the_whole(width in 200u32..420, height in 200u32..420, which in 0usize..3) {
            let mut recipe = Recipe::load("nano", &[]).unwrap();
            recipe.input.max_side = 0;
            recipe.predict.scales = vec![1.0, 0.75];
            recipe.predict.flip = true;
            recipe.predict.average = [Average::Probabilities, Average::Logits, Average::Maximum][which];
            let predictor = Predictor { trained: trained(&recipe), settings: &recipe.predict };
            let image = picture(width, height);
            let none = Crf::preset(Preset::None);
            let whole = predictor.whole(&[&image], None, &none).unwrap().remove(0);
            // Tiles of at most 224 x 224: margins of 48 and more, half of the field of view.
            let limits = Limits { tile: 224 * 224, scores: 20_000, crf: u64::MAX };
            let kept = [0, 1, 2, 3];
            let tiled = mask(&predictor.trained, &recipe.predict, &image, &kept, None, limits).unwrap();
            prop_assert!(difference(&whole.mask, &tiled.mask) < 1e-3);
            // Something is to be seen.
            prop_assert!(whole.mask.iter().collect::<BTreeSet<_>>().len() > 1);
        }
    }

    #[test]
    fn a_crf_sees_something_of_an_image_whatever_memory_is_left() {
        let (size, labels) = ((4096, 1024), 3);
        let all = crf_bytes(size, labels);
        for (bytes, expected) in [(u64::MAX, 1.0), (all, 1.0), (all / 4, 0.5), (0, 1.0 / 16.0)] {
            assert!((crf_factor(size, labels, bytes) - expected).abs() < 1e-6, "{bytes}");
        }
        assert_eq!(crf_factor((60, 40), labels, 0), 1.0);
    }

    #[test]
    fn networks_that_see_less_and_crfs_work_in_parts_too() {
        let mut recipe = Recipe::load("nano", &[]).unwrap();
        recipe.input.max_side = 160;
        let predictor = Predictor {
            trained: trained(&recipe),
            settings: &recipe.predict,
        };
        let image = picture(330, 250);
        let crf = Crf::preset(Preset::Inference);
        let kept = [0, 2, 3];
        let whole = predictor.whole(&[&image], Some(&[&[1, 2]]), &crf).unwrap().remove(0);
        let part = |limit| {
            let limits = Limits {
                tile: 224 * 224,
                scores: 20_000,
                crf: limit,
            };
            let crf = crf.build();
            mask(&predictor.trained, &recipe.predict, &image, &kept, crf.as_ref(), limits).unwrap()
        };
        let same = part(u64::MAX);
        assert!(difference(&whole.network, &same.network) < 1e-3);
        assert!(difference(&whole.mask, &same.mask) < 1e-2);
        // A quarter of the pixels: nearly the same.
        let smaller = part(crf_bytes((330, 250), 3) / 4);
        assert_eq!(smaller.network, same.network);
        assert!(difference(&whole.mask, &smaller.mask) < 0.15);
    }
}
