//! Masks by a run's network.

use std::path::PathBuf;

use anyhow::anyhow;
use image::{GrayImage, RgbImage};
use pyo3::prelude::*;

use super::arrays::{filled, view};
use super::compute::{Place, compute, failed};
use crate::cli::finished_run::FinishedRun;
use crate::inference::Predictor;

/// Images `[H, W, 3]` → masks `[H, W]`, one image after the other.
#[pyfunction]
pub fn predict<'py>(
    py: Python<'py>,
    images: Vec<Bound<'py, PyAny>>,
    run: PathBuf,
    device: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
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
        let (pixels, [height, width, _]) = view::<u8, 3>(image)?;
        let mask = compute(py, || mask(&predictor, pixels, [height, width]))?.map_err(failed)?;
        masks.push(filled::<u8, 2>(py, [height, width], |values| {
            values.copy_from_slice(mask.as_raw());
            Ok(())
        })?);
        py.check_signals()?;
    }
    Ok(masks)
}

/// The mask of `pixels` `[H, W, 3]`.
fn mask(predictor: &Predictor, pixels: &[u8], [height, width]: [usize; 2]) -> anyhow::Result<GrayImage> {
    let image = RgbImage::from_raw(u32::try_from(width)?, u32::try_from(height)?, pixels.to_vec());
    let image = image.ok_or_else(|| anyhow!("an image of {height} x {width} that is not [H, W, 3]"))?;
    let predictions = predictor.masks(&[&image], None, &predictor.settings.crf)?;
    let prediction = predictions.into_iter().next();
    Ok(prediction.ok_or_else(|| anyhow!("the network gave no mask"))?.mask)
}
