//! Work on many images that has no batches: side by side where it is the CPU's.

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use rayon::prelude::*;

use crate::data::Split;
use crate::progress;

/// `work` for each item, in order: side by side on the CPU, one after another on a device.
///
/// # Errors
/// The first that `work` returns.
pub fn map<T: Sync, R: Send>(device: &Device, items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    if *device == Device::flex() {
        items.par_iter().map(&work).collect()
    } else {
        items.iter().map(work).collect()
    }
}

/// Does `work` for each of the `images` of `split`, under a bar; otherwise as [`map`].
///
/// # Errors
/// As [`map`], with the image's name.
pub fn each(
    device: &Device,
    split: &Split,
    images: &[usize],
    label: &'static str,
    work: impl Fn(usize) -> Result<()> + Sync,
) -> Result<()> {
    let bar = progress::bar(images.len() as u64, "image", label);
    map(device, images, |i| {
        work(*i).with_context(|| split.source(*i))?;
        bar.inc(1);
        Ok(())
    })?;
    bar.finish();
    Ok(())
}
