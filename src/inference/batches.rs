//! Going through many images: decoding ahead of the device, and batching images of one size.

use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use anyhow::Result;
use burn::tensor::Device;
use image::RgbImage;

use crate::device::fault::{self, Fault};

/// Images decoded ahead.
const AHEAD: usize = 16;
/// Images of more pixels wait until those before them are worked on, so that memory holds one or two of them.
const LARGE: u64 = 4 << 20;
/// Most pixels that go through a network at once, whatever the recipe's batch size; all scales and flips counted.
const MAX_PIXELS: f32 = (4 << 20) as f32;

/// Images `items` read by `read` on a thread of its own, in batches of at most `size` neighbours of one size.
/// `work` gets each batch as (item, image) pairs; an image that cannot be read goes to `skip`, and the rest go on.
/// `passes` is how often a pixel is seen at the largest scale, which bounds the batch too. A batch that `device` has no
/// memory for is worked on in halves, and those after it are no larger.
///
/// # Errors
/// Those of `work`, but for a full device with more than one image: then `work` has to do all that can fail on the
/// device before anything that must not be done twice.
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
        let (taken, taken_from) = channel();
        scope.spawn(move || {
            let mut ahead = 0;
            for item in items {
                let image = read(*item);
                let pixels = |image: &RgbImage| u64::from(image.width()) * u64::from(image.height());
                let is_large = image.as_ref().is_ok_and(|image| pixels(image) > LARGE);
                if is_large && !all_taken(&taken_from, &mut ahead) {
                    return;
                }
                if send.send((*item, image)).is_err() {
                    return;
                }
                ahead += 1;
                if is_large && !all_taken(&taken_from, &mut ahead) {
                    return;
                }
            }
        });
        let mut batch: Vec<(T, RgbImage)> = Vec::new();
        for (item, image) in receive {
            // Where all is read nobody wants to know.
            let _ = taken.send(());
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
            if !fits || batch.len() >= together(size, passes, image.dimensions()) {
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

/// Images of this size that [`batches`] gives to a network at once, of at most `size`, where a pixel is seen `passes`
/// times at the largest scale.
pub fn together(size: usize, passes: f32, (w, h): (u32, u32)) -> usize {
    let room = (MAX_PIXELS / (passes * w as f32 * h as f32)).max(1.0) as usize;
    size.clamp(1, room)
}

/// Waits until of the images sent `ahead` all are taken; false where nobody takes any more.
fn all_taken(taken: &Receiver<()>, ahead: &mut usize) -> bool {
    while *ahead > 0 {
        if taken.recv().is_err() {
            return false;
        }
        *ahead -= 1;
    }
    true
}

/// Does `work` on a batch, on halves of it where `device` is full, and returns the most images that it had room for, or
/// more.
fn halved<T>(batch: &[T], device: &Device, work: &mut impl FnMut(&[T]) -> Result<()>) -> Result<usize> {
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
    fn large_images_wait_for_those_before_them() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let (read, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..8).collect();
        let each = |items: &[usize]| {
            batches(
                items,
                1,
                1.0,
                &Device::flex(),
                |_| {
                    most.fetch_max(read.fetch_add(1, SeqCst) + 1 - done.load(SeqCst), SeqCst);
                    Ok(RgbImage::new(2049, 2049))
                },
                |batch| {
                    done.fetch_add(batch.len(), SeqCst);
                    if items.len() == 3 {
                        bail!("no more");
                    }
                    Ok(())
                },
                |_, _| (),
            )
        };
        each(&items).unwrap();
        assert_eq!(done.load(SeqCst), 8);
        // One that is worked on, one that is batched, one that was taken and one that was read.
        assert!(most.load(SeqCst) <= 4, "{most:?}");
        // And nobody waits where the work ends early.
        each(&items[..3]).unwrap_err();
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
