//! Masks by a run's network.

use std::path::PathBuf;

use anyhow::anyhow;
use image::RgbImage;
use ndarray::{Array2, ArrayView3};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray3};
use pyo3::prelude::*;

use super::compute::{Place, compute, failed};
use crate::cli::finished_run::FinishedRun;
use crate::inference::Predictor;

/// Images `[H, W, 3]` → masks `[H, W]`, one image after the other.
#[pyfunction]
pub fn predict<'py>(
    py: Python<'py>,
    images: Vec<PyReadonlyArray3<'py, u8>>,
    run: PathBuf,
    device: &str,
) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
    let place = Place::named(py, device)?;
    place.check()?;
    let opened = compute(py, || {
        let run = FinishedRun::read(&run)?;
        let stage = run.method.segmenter()?;
        run.need(stage, "")?;
        let trained = run.trained(stage, &place.device)?;
        Ok((run, trained))
    })?;
    let (run, trained) = opened.map_err(failed)?;
    let settings = &run.recipe.predict;
    let predictor = Predictor { trained, settings };
    let mut masks = Vec::new();
    for image in &images {
        let pixels = image.as_array();
        let mask = compute(py, || mask(&predictor, pixels))?;
        masks.push(PyArray2::from_owned_array(py, mask.map_err(failed)?));
        py.check_signals()?;
    }
    Ok(masks)
}

fn mask(predictor: &Predictor, pixels: ArrayView3<u8>) -> anyhow::Result<Array2<u8>> {
    let (height, width, _) = pixels.dim();
    let bytes = pixels.iter().copied().collect();
    let image = RgbImage::from_raw(u32::try_from(width)?, u32::try_from(height)?, bytes);
    let image = image.ok_or_else(|| anyhow!("an image of shape {:?} is not [H, W, 3]", pixels.dim()))?;
    let predictions = predictor.masks(&[&image], None, &predictor.settings.crf)?;
    let prediction = predictions.into_iter().next();
    let prediction = prediction.ok_or_else(|| anyhow!("the network gave no mask"))?;
    Ok(Array2::from_shape_vec((height, width), prediction.mask.into_raw())?)
}
