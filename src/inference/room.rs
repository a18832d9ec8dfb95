//! How much of an image there is memory for at a time.

use burn::tensor::Device;
use image::RgbImage;

use super::images::network_size;
use super::multi_scale::passes;
use super::parts::Limits;
use super::trained::Trained;
use crate::device::host;
use crate::recipe::Predict;

/// Most pixels of an image that go through a network as a whole, all flips at the largest scale counted. Four times as
/// many as of a batch: an image that fits has what its head takes from all of it.
const WHOLE: f64 = (16 << 20) as f64;
/// Most pixels of a tile.
const TILE: f64 = (2 << 20) as f64;
/// Scores of an image in parts that are at its size at a time: 64 MB.
const SCORES: usize = 16 << 20;
/// Share of the memory that is left which an image may take: what else is read and written meanwhile takes some too.
const SHARE: f64 = 0.6;
/// Arrays of scores at the image's size that exist at once where it is worked on as a whole.
const ARRAYS: f64 = 4.0;

/// Bytes per pixel of a dense CRF's two lattices, and per pixel and label of its mean field.
///
/// Measured with `weakseg crf` as the difference of the most that the process held at 1.9 and 0.5 megapixels, of 2 and 8
/// labels of a photograph: 150 and 233 bytes a pixel, scores included; a prediction holds its scores once more. Lattices
/// grow with the points that pixels touch: noise of all colours takes 1,250 bytes a pixel, photographs are never that.
const LATTICES: f64 = 250.0;
const LABEL: f64 = 24.0;

/// Bytes that a dense CRF takes on the CPU for an image of this size and number of labels, about.
pub fn crf_bytes((width, height): (u32, u32), labels: usize) -> u64 {
    let pixels = f64::from(width) * f64::from(height);
    (pixels * (LATTICES + LABEL * labels as f64)) as u64
}

/// The memory that there is, and what images take of it.
pub(super) struct Room<'a> {
    trained: &'a Trained,
    settings: &'a Predict,
    has_crf: bool,
    /// Bytes.
    bytes: f64,
}

impl Room<'_> {
    /// What there is now for `trained`, used as `settings` say.
    pub fn of<'a>(trained: &'a Trained, settings: &'a Predict, has_crf: bool) -> Room<'a> {
        Room {
            trained,
            settings,
            has_crf,
            bytes: host::available().map_or(f64::INFINITY, |found| SHARE * found.bytes as f64),
        }
    }

    /// Whether an image can be worked on as a whole, as far as can be told before.
    pub fn takes(&self, image: &RgbImage) -> bool {
        let (w, h) = network_size(image.dimensions(), &self.trained.input);
        let seen = f64::from(w) * f64::from(h);
        let all = seen * f64::from(passes(&self.settings.scales, self.settings.flip));
        let pixels = f64::from(image.width()) * f64::from(image.height());
        let labels = self.trained.network.head.classes() + 1;
        let mut bytes = ARRAYS * 4.0 * labels as f64 * pixels.max(seen);
        if self.trained.device == Device::flex() {
            bytes += all * self.trained.network.inference_bytes();
        }
        if self.has_crf {
            bytes += crf_bytes(image.dimensions(), labels) as f64;
        }
        all <= WHOLE && bytes <= self.bytes
    }

    /// How large its parts may be.
    pub fn limits(&self) -> Limits {
        let tile = match self.trained.device == Device::flex() {
            true => TILE.min(self.bytes / self.trained.network.inference_bytes()),
            false => TILE,
        };
        Limits {
            tile: tile as usize,
            scores: SCORES,
            crf: self.bytes as u64,
        }
    }
}
