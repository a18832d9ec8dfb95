//! The random walk on arrays.

use burn::tensor::{Tensor, TensorData};
use ndarray::Array4;
use numpy::{PyArray4, PyArrayMethods, PyReadonlyArray4};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::compute::{Place, check_memory, compute, failed};
use crate::device::download;
use crate::kernels::{self, Distance, Walk};

/// Features `[B, D, H, W]` and scores `[B, C, H, W]`, finite, → scores `[B, C, H, W]`.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "a call across languages")]
pub fn random_walk<'py>(
    py: Python<'py>,
    features: PyReadonlyArray4<f32>,
    scores: PyReadonlyArray4<f32>,
    radius: usize,
    beta: f32,
    steps: usize,
    distance: &str,
    device: &str,
) -> PyResult<Bound<'py, PyArray4<f32>>> {
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
    let (features, scores) = (features.as_array(), scores.as_array());
    let [(b, _, h, w), (of_scores, c, height, width)] = [features.dim(), scores.dim()];
    if (b, h, w) != (of_scores, height, width) {
        return refuse(format!(
            "features of {b} images of {h} x {w}, but scores of {of_scores} images of {height} x {width}"
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
    let walked = compute(py, || {
        let upload = |values: ndarray::ArrayView4<f32>| {
            let (b, c, h, w) = values.dim();
            let values: Vec<f32> = values.iter().copied().collect();
            Tensor::<4>::from_data(TensorData::new(values, [b, c, h, w]), &place.device)
        };
        let walked = kernels::random_walk(upload(features), upload(scores), walk);
        let values = download(walked)?;
        Ok(Array4::from_shape_vec((b, c, h, w), values)?)
    })?;
    py.check_signals()?;
    Ok(PyArray4::from_owned_array(py, walked.map_err(failed)?))
}
