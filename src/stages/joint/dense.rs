//! The Gaussian filter of the dense energy loss.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use image::RgbImage;

use crate::crf::Pairwise;
use crate::kernels::Lattice;
use crate::stages::refine;

/// Values `[B, C, h, w]` on the device without autodiff → their sums over all pixels under a Gaussian of position and
/// colour, not normalised.
pub type Filter = Box<dyn Fn(Tensor<4>) -> Tensor<4>>;

/// The filter of a batch's images, all of one size, by the permutohedral lattice, whose sums are about half of the exact
/// ones, as those of the released code are. The standard deviations are those of colour and, in pixels, position.
///
/// # Errors
/// As [`Lattice::new`].
pub fn lattices(images: &[RgbImage], [rgb, xy]: [f32; 2], device: &Device) -> Result<Filter> {
    let kernel = Pairwise::bilateral(xy, rgb, 0.0);
    let lattices = refine::map(device, images, |image| {
        Lattice::new(kernel.features(image, device)?)
    })?;
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
