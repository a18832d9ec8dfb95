//! The random walk on arrays.

use burn::tensor::{Tensor, TensorData};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{filled, view};
use super::compute::{Place, check_memory, compute, failed};
use crate::device::download;
use crate::kernels::{self, Distance, Walk};

/// Features `[B, D, H, W]` and scores `[B, C, H, W]`, finite, → scores `[B, C, H, W]`.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a call across languages")]
pub fn random_walk<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    scores: &Bound<'py, PyAny>,
    radius: usize,
    beta: f32,
    steps: usize,
    distance: &str,
    device: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let refuse = |text: String| Err(PyValueError::new_err(text));
    let distance = match distance {
        "mean" => Distance::Mean,
        "sum" => Distance::Sum,
        other => return refuse(format!("distance {other:?}: use 'mean' or 'sum'")),
    };
    if !(2..=64).contains(&radius) {
        return refuse(format!("radius {radius}: use 2 to 64"));
    }
    if !(beta.is_finite() && beta > 0.0) {
        return refuse(format!("beta {beta}: use a positive number"));
    }
    let (features, of_features) = view::<f32, 4>(features)?;
    let (scores, of_scores) = view::<f32, 4>(scores)?;
    let [b, _, h, w] = of_features;
    let [images, c, height, width] = of_scores;
    if (b, h, w) != (images, height, width) {
        return refuse(format!(
            "features of {b} images of {h} x {w}, but scores of {images} images of {height} x {width}"
        ));
    }
    let place = Place::named(py, device)?;
    place.check()?;
    let neighbours = kernels::offsets(radius).len();
    check_memory((b * h * w).checked_mul(2 * (neighbours + 2 * c)))?;
    let walk = Walk {
        radius,
        beta,
        steps,
        distance,
    };
    let walked = compute(py, move || {
        let upload = |values: &[f32], shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &place.device)
        };
        let (features, scores) = (upload(features, of_features), upload(scores, of_scores));
        download(kernels::random_walk(features, scores, walk))
    })?;
    let walked = walked.map_err(failed)?;
    py.check_signals()?;
    filled::<f32, 4>(py, of_scores, |values| {
        values.copy_from_slice(&walked);
        Ok(())
    })
}
