//! The dense energy loss of a batch's crops, and its Gaussian filter.

use anyhow::Result;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::mining::{Crops, Mined};
use crate::crf::Pairwise;
use crate::inference;
use crate::kernels::Lattice;
use crate::losses::dense_energy::{dense_energy, every_second, half};
use crate::models::resize::resize;
use crate::recipe::Energy;

/// Values `[B, C, h, w]` on the device without autodiff → their sums over all pixels under a Gaussian of position and
/// colour, not normalised.
pub type Filter = Box<dyn Fn(Tensor<4>) -> Tensor<4>>;

/// The filter of a batch's images, all of one size, by the permutohedral lattice, whose sums are about half of the
/// exact ones, as those of the released code are, for values of so many `labels`. The standard deviations are those of
/// colour and, in pixels, position.
///
/// # Errors
/// As [`Lattice::new`] and [`Lattice::check_room`].
pub fn lattices(images: &[RgbImage], labels: usize, [rgb, xy]: [f32; 2], device: &Device) -> Result<Filter> {
    let kernel = Pairwise::bilateral(xy, rgb, 0.0);
    let lattices = inference::map(device, images, |image| {
        let lattice = Lattice::new(kernel.features(image, device)?)?;
        lattice.check_room(labels, 1)?;
        Ok(lattice)
    })?;
    Ok(Box::new(move |values| {
        let [_, c, h, w] = values.dims();
        let filtered = lattices.iter().zip(values.split(1, 0));
        let filtered =
            filtered.map(|(lattice, values)| lattice.filter(values.reshape([c, h * w])).reshape([1, c, h, w]));
        Tensor::cat(filtered.collect(), 0)
    }))
}

/// The dense energy loss of scores `[B, C + 1, S, S]` with autodiff, at half of the crops' resolution, as in the
/// released code (RRM Eq. 10–14).
///
/// # Errors
/// As [`lattices`].
pub fn energy(settings: &Energy, scores: Tensor<4>, mined: &Mined, crops: &Crops) -> Result<Tensor<1>> {
    let [_, labels, h, w] = scores.dims();
    let [small_h, small_w] = half([h, w]);
    let small: Vec<RgbImage> = crops
        .images
        .iter()
        .map(|crop| RgbImage::from_fn(small_w as u32, small_h as u32, |x, y| *crop.get_pixel(2 * x, 2 * y)))
        .collect();
    let sigmas = [settings.sigma_rgb, settings.sigma_xy / 2.0];
    let filter = lattices(&small, labels, sigmas, &scores.device().inner())?;
    Ok(dense_energy(
        resize(softmax(scores, 1), [small_h, small_w]),
        &every_second(&mined.labels, [h, w]),
        &every_second(&crops.inside, [h, w]),
        filter,
    ))
}
