//! What the joint training takes from outside: a dense CRF and a Gaussian filter.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use ndarray::{Array3, ArrayView3};

use crate::crf::Pairwise;
use crate::kernels::Lattice;
use crate::stages::refine::probabilities;

/// Scores `[K, H, W]` in [0, 1] of an image, row 0 the background's → a posterior of the same shape.
pub type Refine = dyn Fn(&RgbImage, ArrayView3<f32>) -> Result<Array3<f32>>;

/// Values `[B, C, h, w]` on the device without autodiff → their sums over all pixels under a Gaussian of position and
/// colour, not normalised.
pub type Filter = Box<dyn Fn(Tensor<4>) -> Tensor<4>>;

/// The images of a batch, of one size, with the standard deviations of colour and position in their pixels → their
/// filter on a device.
pub type Filters = dyn Fn(&[RgbImage], [f32; 2], &Device) -> Result<Filter>;

/// Without a CRF: the scores themselves, as probabilities.
pub fn unrefined(_: &RgbImage, scores: ArrayView3<f32>) -> Result<Array3<f32>> {
    Ok(probabilities(scores.to_owned()))
}

/// [`Filters`] by the permutohedral lattice, whose sums are about half of the exact ones, as those of the released
/// code are.
pub fn lattices(images: &[RgbImage], [rgb, xy]: [f32; 2], device: &Device) -> Result<Filter> {
    let kernel = Pairwise::bilateral(xy, rgb, 0.0);
    let lattices: Vec<Lattice> = images
        .iter()
        .map(|image| Lattice::new(kernel.features(image, device)?))
        .collect::<Result<_>>()?;
    Ok(Box::new(move |values| {
        let [_, c, h, w] = values.dims();
        let filtered = lattices.iter().zip(values.split(1, 0));
        let filtered = filtered.map(|(lattice, values)| {
            lattice
                .filter(values.reshape([c, h * w]))
                .reshape([1, c, h, w])
        });
        Tensor::cat(filtered.collect(), 0)
    }))
}
