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
pub mod posterior;
mod preset;
pub mod scores;
mod stored;
pub mod unary;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array3, ArrayView3};

use crate::device::download;
use crate::kernels::{Lattice, mean_field};

pub use crate::kernels::Compatibility;
pub use error::{Error, Problem, Result};
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

/// A pairwise potential: a Gaussian over positions, or over positions and colours, normalised symmetrically.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairwise {
    /// Standard deviation of positions in pixels (pydensecrf's `sxy`), greater than 0.
    pub position: f32,
    /// Standard deviation of colours on 0 to 255 (pydensecrf's `srgb`), greater than 0; `None`: positions alone.
    pub colour: Option<f32>,
    /// What different labels cost each other.
    pub compatibility: Compatibility,
}

impl Pairwise {
    /// pydensecrf's `addPairwiseGaussian(sxy, compat)`.
    pub fn gaussian(sxy: f32, compat: f32) -> Pairwise {
        Pairwise {
            position: sxy,
            colour: None,
            compatibility: Compatibility::Potts(compat),
        }
    }

    /// pydensecrf's `addPairwiseBilateral(sxy, srgb, compat)`.
    pub fn bilateral(sxy: f32, srgb: f32, compat: f32) -> Pairwise {
        Pairwise {
            colour: Some(srgb),
            ..Pairwise::gaussian(sxy, compat)
        }
    }

    /// Whether no label changes because of it.
    pub fn is_without_effect(&self) -> bool {
        self.compatibility == Compatibility::Potts(0.0)
    }

    /// The features `[D, N]` of an image's pixels over their deviations: x, y and, with colours, red, green, blue.
    pub(crate) fn features(&self, image: &RgbImage, device: &Device) -> Result<Tensor<2>> {
        let deviations = [Some(self.position), self.colour];
        let is_positive = |s: &f32| s.is_finite() && *s > 0.0;
        if !deviations.iter().flatten().all(is_positive) {
            return Err(Error::Deviation(deviations));
        }
        let (width, height) = image.dimensions();
        let n = width as usize * height as usize;
        let mut features = Vec::with_capacity(5 * n);
        features.extend((0..n).map(|i| (i % width as usize) as f32 / self.position));
        features.extend((0..n).map(|i| (i / width as usize) as f32 / self.position));
        if let Some(deviation) = self.colour {
            for channel in 0..3 {
                features.extend(image.pixels().map(|p| f32::from(p.0[channel]) / deviation));
            }
        }
        let shape = [features.len() / n.max(1), n];
        Ok(Tensor::from_data(TensorData::new(features, shape), device))
    }
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

    /// This CRF for images that are scaled by `factor`: with deviations of positions that follow, unless those do so by
    /// themselves ([`Self::reference_side`]).
    pub(crate) fn scaled(&self, factor: f32) -> DenseCrf {
        let mut scaled = self.clone();
        if scaled.reference_side.is_none() {
            scaled.pairwise.iter_mut().for_each(|p| p.position *= factor);
        }
        scaled
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
                    position: pairwise.position * factor,
                    ..pairwise.clone()
                };
                let features = scaled.features(image, device)?;
                let lattice = Lattice::new(features).map_err(error::device)?;
                Ok((lattice, pairwise.compatibility.clone()))
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
    kernels: Vec<(Lattice, Compatibility)>,
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
        for (lattice, compatibility) in &self.kernels {
            lattice.check_room(c, self.kernels.len()).map_err(error::device)?;
            if let Compatibility::Matrix(matrix) = compatibility
                && matrix.len() != c * c
            {
                return Err(Error::Compatibility {
                    values: matrix.len(),
                    labels: c,
                });
            }
        }
        let values: Vec<f32> = unary.iter().copied().collect();
        let unary = Tensor::from_data(TensorData::new(values, [c, h * w]), &self.device);
        let posterior = mean_field(unary, &self.kernels, self.iterations);
        let posterior = download(posterior).map_err(error::device)?;
        Array3::from_shape_vec((c, h, w), posterior).map_err(error::device)
    }
}
