//! The built-in data set: generated pictures that are hard in the way of real weak supervision.
//!
//! Each class has a small discriminative part, a marker with the pattern the class is named after, on a large body
//! whose colour overlaps with that of other classes, before a background that often goes with the class. So the
//! class activation map finds the marker, misses much of the body, and leaks into the background.
//!
//! Any picture is generated on its own from the seed, the split's name and its number.

mod export;
mod layout;
mod noise;
mod object;
mod paint;
mod scene;

use std::sync::Arc;

use anyhow::{Result, bail};
use image::{GrayImage, RgbImage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::split::{Item, Pixels, Split};
use super::{Data, Kind, Seen};

pub use export::write_voc;

/// The class names, which are those of the marker patterns.
pub const CLASSES: [&str; 6] = ["stripes", "checker", "rings", "cross", "star", "dots"];

/// Size and difficulty of the generated data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesOptions {
    /// Side of the square pictures in pixels, 48 to 1024; everything in them grows with it.
    pub size: u32,
    /// Number of training pictures.
    pub train: usize,
    /// Number of validation pictures.
    pub val: usize,
    /// Standard deviation of a body's hue around that of its class, in full circles; classes are 1/6 apart.
    pub hue_noise: f64,
}

impl Default for ShapesOptions {
    fn default() -> Self {
        Self {
            size: 96,
            train: 1500,
            val: 150,
            hue_noise: 0.09,
        }
    }
}

/// Generates the picture number `index` of a split: image, mask and sorted tags.
///
/// The same arguments give the same bits, whatever else is generated. Every tagged class is visible with some of its
/// marker; in the mask 0 is the background and c + 1 is the class c of [`CLASSES`].
pub fn generate(options: &ShapesOptions, seed: u64, split: &str, index: usize) -> (RgbImage, GrayImage, Vec<usize>) {
    // FNV-1a keeps splits apart in the seed; the number selects one of the generator's independent streams.
    let split = split.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ split);
    rng.set_stream(index as u64);
    let layout = layout::Layout::random(options, &mut rng);
    let image = paint::picture(&layout, &mut rng);
    (image, layout.mask(), layout.tags())
}

/// Generates both splits in parallel and keeps them in memory.
pub(super) fn open(options: &ShapesOptions, seed: u64) -> Result<Data> {
    if !(48..=1024).contains(&options.size) {
        bail!("the size of shapes is {}; give 48 to 1024 pixels", options.size);
    }
    if !(options.hue_noise >= 0.0 && options.hue_noise.is_finite()) {
        bail!(
            "the hue noise of shapes is {}; give a number of at least 0",
            options.hue_noise
        );
    }
    if options.train == 0 {
        bail!("shapes has no training pictures; give at least one");
    }
    let split = |name: &str, count: usize| {
        let item = |index| {
            let (image, mask, tags) = generate(options, seed, name, index);
            Item {
                name: format!("{name}_{index:05}"),
                tags,
                pixels: Pixels::Memory {
                    image: Arc::new(image),
                    mask: Arc::new(mask),
                    source: format!("shapes {name} #{index}"),
                },
            }
        };
        Split::new((0..count).into_par_iter().map(item).collect(), CLASSES.len())
    };
    Ok(Data {
        kind: Kind::Shapes,
        classes: CLASSES.map(str::to_owned).to_vec(),
        train: split("train", options.train),
        val: split("val", options.val),
        val_is_train: false,
        skipped: 0,
        seen: Seen {
            taken_for: "the built-in data set, because it is called shapes".to_owned(),
            ..Seen::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_depend_on_seed_split_and_number_only() {
        let options = ShapesOptions {
            train: 3,
            val: 1,
            ..Default::default()
        };
        let data = open(&options, 7).unwrap();
        let (image, mask, tags) = generate(&options, 7, "train", 2);
        assert_eq!(data.train.image(2).unwrap(), image);
        assert_eq!(data.train.mask(2).unwrap().unwrap(), mask);
        assert_eq!(data.train.tags(2), tags);
        assert_eq!(data.train.source(2), "shapes train #2");
        for other in [(8, "train", 2), (7, "val", 2), (7, "train", 3)] {
            assert_ne!(generate(&options, other.0, other.1, other.2).0, image);
        }
    }

    #[test]
    fn tags_are_the_visible_classes_and_all_occur() {
        let options = ShapesOptions::default();
        let mut seen = [0; 6];
        for index in 0..60 {
            let (image, mask, tags) = generate(&options, 1, "train", index);
            assert_eq!(image.dimensions(), (96, 96));
            let mut counts = [0; 7];
            mask.as_raw().iter().for_each(|&v| counts[usize::from(v)] += 1);
            let visible: Vec<_> = (0..6).filter(|c| counts[c + 1] > 0).collect();
            assert_eq!(tags, visible);
            for tag in tags {
                assert!(counts[tag + 1] >= 60);
                seen[tag] += 1;
            }
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }

    #[test]
    fn size_is_free_and_nonsense_is_refused() {
        let small = ShapesOptions {
            size: 48,
            train: 1,
            val: 0,
            ..Default::default()
        };
        assert_eq!(open(&small, 1).unwrap().train.image(0).unwrap().dimensions(), (48, 48));
        let large = ShapesOptions {
            size: 200,
            ..small.clone()
        };
        assert_eq!(generate(&large, 1, "val", 0).1.dimensions(), (200, 200));
        for bad in [
            ShapesOptions {
                size: 20,
                ..small.clone()
            },
            ShapesOptions {
                train: 0,
                ..small.clone()
            },
            ShapesOptions {
                hue_noise: f64::NAN,
                ..small.clone()
            },
        ] {
            assert!(open(&bad, 1).is_err());
        }
    }
}
