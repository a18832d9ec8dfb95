//! Running a trained network over many images: decoding ahead of the device, batching images of one size, and
//! averaging over scales and flips.

use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use image::imageops::FilterType;
use image::{ImageBuffer, Luma, RgbImage};
use ndarray::{Array3, Array4};

use crate::data::{limited, normalize};
use crate::device::download;
use crate::device::fault::{self, Fault};
pub use crate::models::resize::resize;
use crate::recipe::NetworkInput;

/// Images decoded ahead.
const AHEAD: usize = 16;
/// The shortest side that networks see: less would vanish under their strides. Smaller images are scaled up.
const MIN_SIDE: u32 = 16;
/// Most pixels that go through a network at once, whatever the recipe's batch size; all scales and flips counted.
const MAX_PIXELS: f32 = (4 << 20) as f32;

/// Images `items` read by `read` on a thread of its own, in batches of at most `size` neighbours of one size.
/// `work` gets each batch as (item, image) pairs; an image that cannot be read goes to `skip`, and the rest go on.
/// `passes` is how often a pixel is seen at the largest scale, which bounds the batch too. A batch that `device` has no
/// memory for is worked on in halves, and those after it are no larger.
///
/// # Errors
/// Those of `work`, but for a full device with more than one image: then `work` has to do all that can fail on the device
/// before anything that must not be done twice.
pub fn batches<T: Copy + Send + Sync>(
    items: &[T],
    size: usize,
    passes: f32,
    device: &Device,
    read: impl Fn(T) -> Result<RgbImage> + Send,
    mut work: impl FnMut(&[(T, RgbImage)]) -> Result<()>,
    mut skip: impl FnMut(T, anyhow::Error),
) -> Result<()> {
    let mut size = size.max(1);
    thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        scope.spawn(move || {
            for item in items {
                if send.send((*item, read(*item))).is_err() {
                    return;
                }
            }
        });
        let mut batch: Vec<(T, RgbImage)> = Vec::new();
        for (item, image) in receive {
            let image = match image {
                Ok(image) => image,
                Err(error) => {
                    skip(item, error);
                    continue;
                }
            };
            let fits = batch
                .first()
                .is_none_or(|(_, first)| first.dimensions() == image.dimensions());
            let (w, h) = image.dimensions();
            let room = (MAX_PIXELS / (passes * w as f32 * h as f32)).max(1.0) as usize;
            if !fits || batch.len() >= size.min(room) {
                size = size.min(halved(&batch, device, &mut work)?);
                batch.clear();
            }
            batch.push((item, image));
        }
        if batch.is_empty() {
            Ok(())
        } else {
            halved(&batch, device, &mut work).map(|_| ())
        }
    })
}

/// Does `work` on a batch, on halves of it where `device` is full, and returns the most images that it had room for, or
/// more.
fn halved<T>(
    batch: &[T],
    device: &Device,
    work: &mut impl FnMut(&[T]) -> Result<()>,
) -> Result<usize> {
    let Err(error) = fault::caught(|| work(batch)) else {
        return Ok(usize::MAX);
    };
    if batch.len() < 2 || Fault::in_error(&error) != Some(Fault::Full) {
        return Err(error);
    }
    let (first, second) = batch.split_at(batch.len().div_ceil(2));
    log::warn!(
        "the device has no memory for a batch of {} images: going on with {}",
        batch.len(),
        first.len()
    );
    device.memory_cleanup();
    let most = halved(first, device, work)?;
    Ok(most.min(halved(second, device, work)?).min(first.len()))
}

/// Passes over a pixel at the largest of `scales`, with `flip` or without, for [`batches`].
pub fn passes(scales: &[f32], flip: bool) -> f32 {
    let largest = scales.iter().fold(1.0f32, |m, s| m.max(*s));
    largest * largest * if flip { 2.0 } else { 1.0 }
}

/// The size (width, height) at which networks see an image: its own, or within `MIN_SIDE` and the recipe's
/// `max_side` (0 = no limit).
pub fn network_size(size: (u32, u32), input: &NetworkInput) -> (u32, u32) {
    let (w, h) = limited(size, input.max_side);
    (w.max(MIN_SIDE), h.max(MIN_SIDE))
}

/// Images of one size → `[B, 3, h, w]` at their [`network_size`], normalised.
pub fn upload<'a>(
    images: impl Iterator<Item = &'a RgbImage>,
    input: &NetworkInput,
    device: &Device,
) -> Tensor<4> {
    let mut values = Vec::new();
    let (mut b, mut size) = (0, (0, 0));
    for image in images {
        size = network_size(image.dimensions(), input);
        if size == image.dimensions() {
            values.extend(normalize(image, &input.scaling));
        } else {
            let small = image::imageops::resize(image, size.0, size.1, FilterType::Triangle);
            values.extend(normalize(&small, &input.scaling));
        }
        b += 1;
    }
    let shape = [b, 3, size.1 as usize, size.0 as usize];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Mean of `map(images)` over `scales` and, where `flip`, mirrored images.
///
/// `images` `[B, 3, H, W]`; `map` may return any resolution `[B, C, h, w]`; the result is `[B, C, H, W]`.
pub fn multi_scale(
    images: Tensor<4>,
    scales: &[f32],
    flip: bool,
    map: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [b, _, h, w] = images.dims();
    let size = [h, w];
    let mut sum: Option<Tensor<4>> = None;
    for scale in scales {
        let scaled = |side: usize| ((side as f32 * scale).round() as usize).max(MIN_SIDE as usize);
        let x = resize(images.clone(), [scaled(h), scaled(w)]);
        let y = if flip {
            // The mirrored images ride in the same batch: one pass, one shape.
            let y = map(Tensor::cat(vec![x.clone(), x.flip([3])], 0));
            y.clone().narrow(0, 0, b) + y.narrow(0, b, b).flip([3])
        } else {
            map(x)
        };
        let y = resize(y, size);
        sum = Some(match sum {
            Some(sum) => sum + y,
            None => y,
        });
    }
    let passes = scales.len().max(1) * if flip { 2 } else { 1 };
    match sum {
        Some(sum) => sum / passes as f32,
        None => resize(map(images), size),
    }
}

/// Copies maps `[B, C, h, w]` to host memory.
pub fn download_maps(maps: Tensor<4>) -> Result<Array4<f32>> {
    let [b, c, h, w] = maps.dims();
    Ok(Array4::from_shape_vec((b, c, h, w), download(maps)?)?)
}

/// Maps `[K, h, w]` at `size` (width, height), bilinear. On the host and for the rows that are needed, because results
/// at the size of a large photograph need not fit the device.
pub fn enlarge(maps: Array3<f32>, (width, height): (u32, u32)) -> Array3<f32> {
    let (k, h, w) = maps.dim();
    if (h, w) == (height as usize, width as usize) {
        return maps;
    }
    let mut out = Array3::zeros((k, height as usize, width as usize));
    for (map, mut out) in maps.outer_iter().zip(out.outer_iter_mut()) {
        let plane: Vec<f32> = map.iter().copied().collect();
        if let Some(plane) = ImageBuffer::<Luma<f32>, _>::from_raw(w as u32, h as u32, plane) {
            let large = image::imageops::resize(&plane, width, height, FilterType::Triangle);
            for (to, from) in out.iter_mut().zip(large.into_raw()) {
                *to = from;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    /// The sizes of the batches that went through a device with room for `room` images, of seven in batches of four.
    fn sizes(room: usize, error: &str) -> Result<Vec<usize>> {
        let items: Vec<usize> = (0..7).collect();
        let (mut done, mut sizes) = (Vec::new(), Vec::new());
        batches(
            &items,
            4,
            1.0,
            &Device::flex(),
            |_| Ok(RgbImage::new(4, 4)),
            |batch| {
                match (batch.len() > room, done.len()) {
                    (true, 0) => bail!("{error}"),
                    (true, _) => panic!("{error}"),
                    _ => (),
                }
                done.extend(batch.iter().map(|(i, _)| *i));
                sizes.push(batch.len());
                Ok(())
            },
            |_, _| (),
        )?;
        assert_eq!(done, items);
        Ok(sizes)
    }

    #[test]
    fn a_full_device_halves_the_batch_and_does_every_image_once() {
        let full = "wgpu error: Out of Memory";
        assert_eq!(sizes(4, full).unwrap(), [4, 3]);
        assert_eq!(sizes(3, full).unwrap(), [2, 2, 2, 1]);
        assert_eq!(sizes(1, full).unwrap(), [1; 7]);
        assert!(sizes(0, full).unwrap_err().to_string().contains(full));
        let other = sizes(3, "the device was lost").unwrap_err();
        assert!(other.to_string().contains("lost"), "{other}");
    }
}
