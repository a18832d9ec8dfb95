//! From 8-bit images to normalised tensors, with random augmentation.

use std::borrow::Cow;

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::MaskValue;

/// Random augmentation of an image and its label: resize, flip, crop and colour jitter.
#[derive(Clone, Debug, PartialEq)]
pub struct Augment {
    /// Longer sides in pixels are scaled down to this one before everything else; 0 is no limit.
    pub max_side: u32,
    /// Range, both ends included, of the long side in pixels after resizing; `None` leaves the size.
    pub long_side: Option<(u32, u32)>,
    /// Whether the whole image is resized to the crop's square, its shape given up, in place of `long_side`.
    pub squash: bool,
    /// Side of the square crop in pixels.
    pub crop: u32,
    /// By how many pixels the crop may reach over each border of the image.
    pub shift: u32,
    /// Whether to mirror left and right half of the time.
    pub flip: bool,
    /// Strength of brightness, contrast, saturation and hue changes, as in torchvision's `ColorJitter`; zero is off.
    pub jitter: [f32; 4],
    /// What the network sees of a pixel.
    pub scaling: Scaling,
}

/// What a network sees of a pixel: per channel `(pixel - mean) / std`, pixels in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Whether the network's channels are blue, green, red.
    pub bgr: bool,
    /// Per channel of the network, in its order.
    pub mean: [f32; 3],
    /// Per channel of the network, in its order; positive.
    pub std: [f32; 3],
}

impl Scaling {
    /// The network's channels of an RGB pixel in [0, 1].
    pub fn apply(&self, mut pixel: [f32; 3]) -> [f32; 3] {
        if self.bgr {
            pixel.reverse();
        }
        std::array::from_fn(|c| (pixel[c] - self.mean[c]) / self.std[c])
    }

    /// The RGB pixel, in [0, 1], that a network sees as 0.
    pub fn mean_colour(&self) -> [f32; 3] {
        let mut pixel = self.mean;
        if self.bgr {
            pixel.reverse();
        }
        pixel
    }
}

impl Augment {
    /// A random view of the image, `[3, crop, crop]` in [0, 1], and of its label, `[crop, crop]`.
    ///
    /// The window lies inside the image extended by `shift` on each side; an image smaller than the window lies at a
    /// random place inside of it. Outside of the image the view has the mean colour and the label is 255. The mean that
    /// contrast is changed about is that of the window.
    ///
    /// # Panics
    /// Where the label's size is not the image's.
    pub fn apply(
        &self,
        image: &RgbImage,
        label: Option<&GrayImage>,
        rng: &mut impl Rng,
    ) -> (Vec<f32>, Option<Vec<i32>>) {
        assert!(
            label.is_none_or(|l| l.dimensions() == image.dimensions()),
            "a label has the size of its image"
        );
        let (mut image, mut label) = (Cow::Borrowed(image), label.map(Cow::Borrowed));
        let size = limited(image.dimensions(), self.max_side);
        resize(&mut image, &mut label, size);
        if self.squash {
            resize(&mut image, &mut label, (self.crop, self.crop));
        } else if let Some((low, high)) = self.long_side {
            let size = scaled(image.dimensions(), rng.random_range(low..=high));
            resize(&mut image, &mut label, size);
        }
        let (width, height) = image.dimensions();

        let flip = self.flip && rng.random_bool(0.5);
        let (x, y) = (self.window_start(width, rng), self.window_start(height, rng));
        let window = Window {
            x: (x, width),
            y: (y, height),
            size: self.crop,
            flip,
        };
        let mut pixels = Vec::with_capacity((self.crop as usize).pow(2));
        window.visit(|_, (x, y)| pixels.push(image.get_pixel(x, y).0.map(|v| f32::from(v) / 255.0)));
        self.change_colours(&mut pixels, rng);

        let plane = (self.crop as usize).pow(2);
        let mut view: Vec<f32> = self
            .scaling
            .mean_colour()
            .into_iter()
            .flat_map(|v| vec![v; plane])
            .collect();
        let mut next = pixels.iter();
        window.visit(|at, _| {
            let Some(pixel) = next.next() else { return };
            for (channel, value) in pixel.iter().enumerate() {
                view[channel * plane + at] = *value;
            }
        });
        let label = label.map(|label| {
            let mut values = vec![MaskValue::IGNORED.into(); plane];
            window.visit(|at, (x, y)| values[at] = label.get_pixel(x, y).0[0].into());
            values
        });
        (view, label)
    }

    fn window_start(&self, side: u32, rng: &mut impl Rng) -> i64 {
        let (side, shift, crop) = (i64::from(side), i64::from(self.shift), i64::from(self.crop));
        let (first, last) = (-shift, side + shift - crop);
        rng.random_range(first.min(last)..=first.max(last))
    }

    /// torchvision's `ColorJitter`: the four changes in random order, pixels kept in [0, 1].
    fn change_colours(&self, pixels: &mut [[f32; 3]], rng: &mut impl Rng) {
        let mut order = [0, 1, 2, 3];
        order.shuffle(rng);
        for change in order {
            let strength = self.jitter[change];
            if strength <= 0.0 {
                continue;
            }
            if change == 3 {
                let turn = rng.random_range(-strength..=strength);
                pixels.iter_mut().for_each(|p| *p = turn_hue(*p, turn));
                continue;
            }
            let factor = rng.random_range((1.0 - strength).max(0.0)..=1.0 + strength);
            let count = pixels.len().max(1) as f64;
            let mean = pixels.iter().map(|p| f64::from(luma(*p))).sum::<f64>() / count;
            for pixel in pixels.iter_mut() {
                let anchor = match change {
                    0 => 0.0,
                    1 => mean as f32,
                    _ => luma(*pixel),
                };
                *pixel = pixel.map(|v| (anchor + factor * (v - anchor)).clamp(0.0, 1.0));
            }
        }
    }
}

/// The size (width, height) at which networks see an image, in training and after: scaled down so that neither side has
/// more than `max_side` pixels; 0 is no limit.
pub fn limited((width, height): (u32, u32), max_side: u32) -> (u32, u32) {
    if (1..width.max(height)).contains(&max_side) {
        scaled((width, height), max_side)
    } else {
        (width, height)
    }
}

/// The size whose longer side is `long_side`, with the sides' proportion, at least 1.
fn scaled((width, height): (u32, u32), long_side: u32) -> (u32, u32) {
    let scale = f64::from(long_side) / f64::from(width.max(height));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

/// Scales an image and its label to the size (width, height).
fn resize(image: &mut Cow<RgbImage>, label: &mut Option<Cow<GrayImage>>, (w, h): (u32, u32)) {
    if (w, h) == image.dimensions() {
        return;
    }
    *image = Cow::Owned(imageops::resize(&**image, w, h, FilterType::Triangle));
    if let Some(label) = label {
        *label = Cow::Owned(imageops::resize(&**label, w, h, FilterType::Nearest));
    }
}

/// A square window over an image: where it starts and the image's length, for both axes.
struct Window {
    x: (i64, u32),
    y: (i64, u32),
    size: u32,
    flip: bool,
}

impl Window {
    /// Calls `f(position in the window, pixel of the image)` wherever the window is over the image, row by row.
    fn visit(&self, mut f: impl FnMut(usize, (u32, u32))) {
        let inside =
            |(start, length): (i64, u32), at: u32| u32::try_from(start + i64::from(at)).ok().filter(|&p| p < length);
        for row in 0..self.size {
            let Some(y) = inside(self.y, row) else {
                continue;
            };
            for column in 0..self.size {
                let Some(x) = inside(self.x, column) else {
                    continue;
                };
                let x = if self.flip { self.x.1 - 1 - x } else { x };
                f((row * self.size + column) as usize, (x, y));
            }
        }
    }
}

fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Turns the hue of an RGB pixel by a part of a full circle, in HSV.
fn turn_hue([r, g, b]: [f32; 3], turn: f32) -> [f32; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = high - low;
    if chroma <= 0.0 {
        return [r, g, b];
    }
    let sixth = if high == r {
        (g - b) / chroma
    } else if high == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    let hue = sixth + 6.0 * turn;
    // The common closed form of HSV to RGB: channels lag 5, 3 and 1 sixths of the circle.
    [5.0, 3.0, 1.0].map(|lag| {
        let k = (lag + hue).rem_euclid(6.0);
        high - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

/// The whole image as `[3, H, W]`, as the network sees it.
pub fn normalize(image: &RgbImage, scaling: &Scaling) -> Vec<f32> {
    let plane = image.as_raw().len() / 3;
    let mut values = vec![0.0; 3 * plane];
    for (at, pixel) in image.pixels().enumerate() {
        let channels = scaling.apply(pixel.0.map(|v| f32::from(v) / 255.0));
        for (channel, value) in channels.into_iter().enumerate() {
            values[channel * plane + at] = value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Luma, Rgb};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const PLAIN: Scaling = Scaling {
        bgr: false,
        mean: [0.0; 3],
        std: [1.0; 3],
    };

    fn plain(crop: u32) -> Augment {
        Augment {
            max_side: 0,
            long_side: None,
            squash: false,
            crop,
            shift: 0,
            flip: false,
            jitter: [0.0; 4],
            scaling: PLAIN,
        }
    }

    /// An image whose red is the label, so that both can be compared after any geometry.
    fn pair(width: u32, height: u32) -> (RgbImage, GrayImage) {
        let value = |x, y| (1 + (x * 7 + y * 13) % 200) as u8;
        (
            RgbImage::from_fn(width, height, |x, y| Rgb([value(x, y), 0, 255])),
            GrayImage::from_fn(width, height, |x, y| Luma([value(x, y)])),
        )
    }

    #[test]
    fn crop_shift_and_flip_move_image_and_label_alike() {
        let augment = Augment {
            shift: 3,
            flip: true,
            ..plain(12)
        };
        for (seed, size) in [(20, 9), (9, 20), (5, 5), (12, 12), (30, 40)].into_iter().enumerate() {
            let (image, label) = pair(size.0, size.1);
            for repeat in 0..20 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed as u64 * 100 + repeat);
                let (view, label) = augment.apply(&image, Some(&label), &mut rng);
                let label = label.unwrap();
                assert!(label.iter().any(|&v| v != 255));
                for (at, &value) in label.iter().enumerate() {
                    let expected = if value == 255 { 0.0 } else { value as f32 / 255.0 };
                    assert_eq!(view[at], expected);
                    assert_eq!(view[288 + at], f32::from(value != 255));
                }
            }
        }
    }

    #[test]
    fn a_window_as_large_as_the_image_is_the_image() {
        let (image, label) = pair(8, 8);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (view, values) = plain(8).apply(&image, Some(&label), &mut rng);
        assert_eq!(view, normalize(&image, &PLAIN));
        assert!(
            values
                .unwrap()
                .iter()
                .zip(label.as_raw())
                .all(|(a, b)| *a == i32::from(*b))
        );

        let flip = Augment { flip: true, ..plain(8) };
        let mirrored = imageops::flip_horizontal(&image);
        let mut seen = [false; 2];
        for seed in 0..20 {
            let (view, _) = flip.apply(&image, None, &mut ChaCha8Rng::seed_from_u64(seed));
            let is_mirrored = view == normalize(&mirrored, &PLAIN);
            assert!(is_mirrored || view == normalize(&image, &PLAIN));
            seen[usize::from(is_mirrored)] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn resizing_keeps_label_values_and_hits_the_long_side() {
        let image = RgbImage::from_fn(40, 20, |x, _| Rgb(if x < 20 { [0; 3] } else { [255; 3] }));
        let label = GrayImage::from_fn(40, 20, |x, _| Luma([if x < 20 { 0 } else { 3 }]));
        let augment = Augment {
            long_side: Some((80, 80)),
            ..plain(80)
        };
        let (view, values) = augment.apply(&image, Some(&label), &mut ChaCha8Rng::seed_from_u64(2));
        let values = values.unwrap();
        assert_eq!(values.iter().filter(|&&v| v == 0).count(), 40 * 40);
        assert_eq!(values.iter().filter(|&&v| v == 3).count(), 40 * 40);
        let bright = |at: usize| view[at] > 0.5;
        assert!((0..6400).all(|at| values[at] == 255 || bright(at) == (values[at] == 3)));

        for (max_side, covered) in [(0, 40 * 20), (40, 40 * 20), (20, 20 * 10)] {
            let augment = Augment { max_side, ..plain(40) };
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let values = augment.apply(&image, Some(&label), &mut rng).1.unwrap();
            assert_eq!(values.iter().filter(|&&v| v != 255).count(), covered);
        }
    }

    #[test]
    fn squashing_keeps_the_whole_image_and_not_its_shape() {
        let image = RgbImage::from_fn(40, 20, |x, _| Rgb(if x < 20 { [0; 3] } else { [255; 3] }));
        let label = GrayImage::from_fn(40, 20, |_, y| Luma([if y < 10 { 0 } else { 3 }]));
        let augment = Augment {
            squash: true,
            long_side: Some((5, 5)),
            ..plain(16)
        };
        let (view, values) = augment.apply(&image, Some(&label), &mut ChaCha8Rng::seed_from_u64(2));
        for (at, value) in values.unwrap().into_iter().enumerate() {
            let (x, y) = (at % 16, at / 16);
            assert_eq!(value, if y < 8 { 0 } else { 3 });
            assert_eq!(view[at] > 0.5, x >= 8, "{x} {y}");
        }
    }

    #[test]
    fn hue_turns_and_jitter_stays_in_range() {
        let turned = turn_hue([1.0, 0.5, 0.0], 1.0 / 3.0);
        for (value, expected) in turned.into_iter().zip([0.0, 1.0, 0.5]) {
            assert!((value - expected).abs() < 1e-5, "{turned:?}");
        }
        let (image, _) = pair(16, 16);
        let augment = Augment {
            jitter: [0.4, 0.4, 0.4, 0.1],
            ..plain(16)
        };
        let (view, _) = augment.apply(&image, None, &mut ChaCha8Rng::seed_from_u64(3));
        assert!(view.iter().all(|v| (0.0..=1.0).contains(v)));
        assert_ne!(view, normalize(&image, &PLAIN));
    }

    #[test]
    fn normalize_is_planar_and_in_the_networks_order() {
        let image = RgbImage::from_raw(2, 1, vec![255, 0, 51, 0, 102, 255]).unwrap();
        let mut scaling = Scaling {
            bgr: false,
            mean: [0.0, 0.0, 0.2],
            std: [1.0, 0.5, 1.0],
        };
        for (bgr, expected) in [
            (false, [1.0, 0.0, 0.0, 0.8, 0.0, 0.8]),
            (true, [0.2, 1.0, 0.0, 0.8, 0.8, -0.2]),
        ] {
            scaling.bgr = bgr;
            let values = normalize(&image, &scaling);
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-6, "{values:?}");
            }
            assert_eq!(scaling.apply(scaling.mean_colour()), [0.0; 3]);
        }
    }
}
