//! Pairwise potentials over the pixels of an image, and their features.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use super::error::{Error, Result};
use crate::kernels::{Compatibility, Normalisation};

/// A pairwise potential: a Gaussian over positions, or over positions and colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairwise {
    /// Standard deviations of x and y in pixels (pydensecrf's `sxy`), greater than 0.
    pub position: [f32; 2],
    /// Standard deviations of red, green and blue on 0 to 255 (pydensecrf's `srgb`), greater than 0; `None`: positions
    /// alone.
    pub colour: Option<[f32; 3]>,
    /// What different labels cost each other.
    pub compatibility: Compatibility,
    /// What messages are divided by.
    pub normalisation: Normalisation,
}

impl Pairwise {
    /// pydensecrf's `addPairwiseGaussian(sxy, compat)`.
    pub fn gaussian(sxy: f32, compat: f32) -> Pairwise {
        Pairwise {
            position: [sxy; 2],
            colour: None,
            compatibility: Compatibility::Potts(compat),
            normalisation: Normalisation::Symmetric,
        }
    }

    /// pydensecrf's `addPairwiseBilateral(sxy, srgb, compat)`.
    pub fn bilateral(sxy: f32, srgb: f32, compat: f32) -> Pairwise {
        Pairwise {
            colour: Some([srgb; 3]),
            ..Pairwise::gaussian(sxy, compat)
        }
    }

    /// Whether no label changes because of it.
    pub fn is_without_effect(&self) -> bool {
        self.compatibility == Compatibility::Potts(0.0)
    }

    /// The features `[D, N]` of an image's pixels over their deviations: x, y and, with colours, red, green, blue.
    pub(crate) fn features(&self, image: &RgbImage, device: &Device) -> Result<Tensor<2>> {
        let (width, height) = image.dimensions();
        let mut features = positions([width as usize, height as usize], self.position)?;
        if let Some(deviations) = self.colour {
            colours(image.as_raw(), deviations, &mut features)?;
        }
        let n = width as usize * height as usize;
        let shape = [features.len() / n.max(1), n];
        Ok(Tensor::from_data(TensorData::new(features, shape), device))
    }
}

/// x and y of the pixels of an image of a width and height over their deviations, `[2, H W]`.
///
/// # Errors
/// On deviations that are not positive.
pub(crate) fn positions([width, height]: [usize; 2], deviations: [f32; 2]) -> Result<Vec<f32>> {
    check(&deviations)?;
    let n = width * height;
    let mut features = Vec::with_capacity(5 * n);
    features.extend((0..n).map(|i| (i % width) as f32 / deviations[0]));
    features.extend((0..n).map(|i| (i / width) as f32 / deviations[1]));
    Ok(features)
}

/// Appends the channels of an image's bytes `[H, W, 3]` over their deviations, `[3, H W]`.
///
/// # Errors
/// On deviations that are not positive.
pub(crate) fn colours(rgb: &[u8], deviations: [f32; 3], features: &mut Vec<f32>) -> Result<()> {
    check(&deviations)?;
    for (channel, deviation) in deviations.into_iter().enumerate() {
        features.extend(rgb.iter().skip(channel).step_by(3).map(|v| f32::from(*v) / deviation));
    }
    Ok(())
}

fn check(deviations: &[f32]) -> Result<()> {
    if deviations.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Ok(());
    }
    Err(Error::Deviation(deviations.to_vec()))
}
