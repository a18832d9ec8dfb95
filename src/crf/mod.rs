//! The fully connected CRF (Krähenbühl and Koltun 2011) over images: what pydensecrf does, on any device.
//!
//! ```no_run
//! use weakseg::crf::{DenseCrf, Pairwise, unary::unary_from_probabilities};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image = image::open("photo.jpg")?.to_rgb8();
//! # let probabilities = ndarray::Array3::<f32>::zeros((2, 1, 1));
//! let crf = DenseCrf {
//!     pairwise: vec![Pairwise::gaussian(3.0, 3.0), Pairwise::bilateral(80.0, 13.0, 10.0)],
//!     iterations: 10,
//!     reference_side: None,
//! };
//! let device = burn::tensor::Device::flex();
//! let posterior = crf.refine(&image, unary_from_probabilities(probabilities).view(), &device)?;
//! # Ok(())
//! # }
//! ```

mod dictionary;
mod error;
mod numpy;
pub mod pairs;
pub(crate) mod pairwise;
mod points;
pub mod posterior;
mod preset;
pub mod scores;
mod stored;
pub mod unary;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array3, ArrayView3};

use crate::device::download;
use crate::kernels::{Kernel, Lattice, mean_field};

pub use crate::kernels::{Compatibility, Normalisation};
pub use error::{Error, Problem, Result};
pub use pairwise::Pairwise;
pub use points::PointCrf;
pub use preset::ITERATIONS;
pub use preset::Preset;

/// A fully connected CRF: pairwise potentials and how often the mean field is updated.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseCrf {
    /// Pairwise potentials; none leaves the softmax of the unary.
    pub pairwise: Vec<Pairwise>,
    /// Updates of the mean field.
    pub iterations: usize,
    /// Longer side, in pixels, of the images that the deviations of positions are meant for; on others they are scaled
    /// with the image. `None`: pixels of whatever image.
    pub reference_side: Option<f32>,
}

impl DenseCrf {
    /// Posterior `[C, H, W]` of an image's labels from `unary` `[C, H, W]`, negative log probabilities (see
    /// [`unary`]).
    ///
    /// # Errors
    /// As [`DenseCrf::on`] and [`OnImage::refine`].
    pub fn refine(&self, image: &RgbImage, unary: ArrayView3<f32>, device: &Device) -> Result<Array3<f32>> {
        self.on(image, device)?.refine(unary)
    }

    /// This CRF with the lattices of one image, for any number of unaries.
    ///
    /// # Errors
    /// On a deviation that is not positive, and where the image is too large for the device's buffers.
    pub fn on(&self, image: &RgbImage, device: &Device) -> Result<OnImage> {
        let side = image.width().max(image.height()) as f32;
        let factor = self.reference_side.map_or(1.0, |reference| side / reference);
        let kernels = self
            .pairwise
            .iter()
            .filter(|_| self.iterations > 0)
            .map(|pairwise| {
                let scaled = Pairwise {
                    position: pairwise.position.map(|deviation| deviation * factor),
                    ..pairwise.clone()
                };
                let features = scaled.features(image, device)?;
                let lattice = Lattice::new(features).map_err(error::device)?;
                Ok(Kernel {
                    lattice,
                    compatibility: pairwise.compatibility.clone(),
                    normalisation: pairwise.normalisation,
                })
            })
            .collect::<Result<_>>()?;
        Ok(OnImage {
            kernels,
            iterations: self.iterations,
            size: image.dimensions(),
            device: device.clone(),
        })
    }
}

/// A CRF on one image.
pub struct OnImage {
    kernels: Vec<Kernel>,
    iterations: usize,
    size: (u32, u32),
    device: Device,
}

impl OnImage {
    /// Posterior `[C, H, W]` from `unary` `[C, H, W]`.
    ///
    /// # Errors
    /// On a unary of another size than the image, without labels, or with values that are not numbers; on a label
    /// compatibility of another number of labels; on more labels than the device's buffers hold.
    pub fn refine(&self, unary: ArrayView3<f32>) -> Result<Array3<f32>> {
        let (c, h, w) = unary.dim();
        if c == 0 {
            return Err(Error::NoLabels);
        }
        if (w, h) != (self.size.0 as usize, self.size.1 as usize) {
            return Err(Error::Size {
                scores: [w, h],
                image: self.size.into(),
            });
        }
        if !unary.iter().all(|v| v.is_finite()) {
            return Err(Error::NotFinite);
        }
        for kernel in &self.kernels {
            (kernel.lattice.check_room(c, self.kernels.len())).map_err(error::device)?;
            check_compatibility(&kernel.compatibility, c)?;
        }
        let values: Vec<f32> = unary.iter().copied().collect();
        let unary = Tensor::from_data(TensorData::new(values, [c, h * w]), &self.device);
        let posterior = mean_field(unary, &self.kernels, self.iterations);
        let posterior = download(posterior).map_err(error::device)?;
        Array3::from_shape_vec((c, h, w), posterior).map_err(error::device)
    }
}

/// Errors where a matrix is not of so many labels.
fn check_compatibility(compatibility: &Compatibility, labels: usize) -> Result<()> {
    match compatibility {
        Compatibility::Matrix(matrix) if matrix.len() != labels * labels => Err(Error::Compatibility {
            values: matrix.len(),
            labels,
        }),
        _ => Ok(()),
    }
}
