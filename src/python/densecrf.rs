//! A CRF over points for `weakseg.densecrf`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, ArrayView2, ShapeBuilder};
use numpy::{PyArray2, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::prelude::*;

use super::compute::{Place, check_memory, compute, failed};
use crate::crf::pairwise::{colours, positions};
use crate::crf::{Compatibility, Error, Normalisation, PointCrf};
use crate::kernels;

/// Values that are updated between two looks at whether Ctrl-C was pressed: about a second's work of one core.
const BETWEEN_SIGNALS: usize = 100_000_000;
/// Arrays of all labels and points that inference holds at a time, at most.
const ARRAYS: usize = 4;

/// A dense CRF over points.
#[pyclass(frozen, module = "weakseg._weakseg")]
pub struct Crf {
    /// Copied, which is cheap, before it is used, so that no thread waits for another's inference.
    crf: Mutex<PointCrf>,
    place: Place,
}

/// A Potts weight, or costs `[C, C]`.
#[derive(FromPyObject)]
pub enum Costs<'py> {
    Matrix(PyReadonlyArray2<'py, f32>),
    Weight(f64),
}

impl Costs<'_> {
    fn compatibility(self) -> Compatibility {
        match self {
            Costs::Weight(weight) => Compatibility::Potts(weight as f32),
            Costs::Matrix(matrix) => Compatibility::Matrix(matrix.as_array().iter().copied().collect()),
        }
    }
}

#[pymethods]
impl Crf {
    #[new]
    fn new(py: Python<'_>, points: usize, labels: usize, device: &str) -> PyResult<Crf> {
        let place = Place::named(py, device)?;
        Ok(Crf {
            crf: Mutex::new(PointCrf::new(points, labels, &place.device).map_err(told)?),
            place,
        })
    }

    fn set_unary(&self, py: Python<'_>, unary: PyReadonlyArray2<f32>) -> PyResult<()> {
        let mut crf = self.copy()?;
        let unary = unary.as_array();
        let changed = compute(py, move || crf.set_unary(unary).map(|()| crf))?;
        let changed = changed.map_err(told)?;
        self.lock().take_unary(changed);
        Ok(())
    }

    fn add(&self, py: Python<'_>, features: PyReadonlyArray2<f32>, compat: Costs, normalization: u8) -> PyResult<()> {
        let features = features.as_array();
        let dimensions = features.nrows();
        self.with_kernel(py, dimensions, compat, normalization, move || {
            Ok(features.iter().copied().collect())
        })
    }

    #[expect(clippy::too_many_arguments, reason = "a call across languages")]
    fn add_image(
        &self,
        py: Python<'_>,
        size: (usize, usize),
        sxy: [f32; 2],
        srgb: Option<[f32; 3]>,
        rgb: Option<PyReadonlyArray3<u8>>,
        compat: Costs,
        normalization: u8,
    ) -> PyResult<()> {
        let rgb = rgb.as_ref().map(|rgb| rgb.as_slice()).transpose()?;
        let dimensions = if srgb.is_some() { 5 } else { 2 };
        self.with_kernel(py, dimensions, compat, normalization, move || {
            let mut features = positions([size.0, size.1], sxy)?;
            if let (Some(deviations), Some(rgb)) = (srgb, rgb) {
                colours(rgb, deviations, &mut features)?;
            }
            Ok(features)
        })
    }

    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let crf = self.ready()?;
        if !crf.has_unary() {
            // As pydensecrf begins.
            let zeros = Array2::zeros((crf.labels(), crf.points()).f());
            return Ok(PyArray2::from_owned_array(py, zeros));
        }
        updated(py, &crf, None, 0)
    }

    fn infer<'py>(&self, py: Python<'py>, iterations: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        updated(py, &self.ready()?, None, iterations)
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        posterior: PyReadonlyArray2<'py, f32>,
        iterations: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let posterior = posterior.as_array().to_owned();
        updated(py, &self.ready()?, Some(posterior), iterations)
    }

    fn kl_divergence(&self, py: Python<'_>, posterior: PyReadonlyArray2<f32>) -> PyResult<f64> {
        let (crf, posterior) = (self.ready()?, posterior.as_array());
        compute(py, || crf.kl_divergence(posterior))?.map_err(told)
    }
}

impl Crf {
    fn lock(&self) -> MutexGuard<'_, PointCrf> {
        self.crf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self) -> PyResult<PointCrf> {
        self.place.check()?;
        Ok(self.lock().clone())
    }

    /// A copy, if there is memory for inference.
    fn ready(&self) -> PyResult<PointCrf> {
        let crf = self.copy()?;
        let values = crf.labels().checked_mul(crf.points());
        check_memory(values.and_then(|values| values.checked_mul(ARRAYS)))?;
        Ok(crf)
    }

    /// Adds the kernel over what `features` makes, `[D, N]`.
    fn with_kernel(
        &self,
        py: Python<'_>,
        dimensions: usize,
        compat: Costs,
        normalization: u8,
        features: impl FnOnce() -> Result<Vec<f32>, Error> + Send,
    ) -> PyResult<()> {
        let normalisation = match normalization {
            0 => Normalisation::None,
            1 => Normalisation::Before,
            2 => Normalisation::After,
            3 => Normalisation::Symmetric,
            other => return Err(PyValueError::new_err(format!("{other} is no normalization"))),
        };
        let mut crf = self.copy()?;
        let kernels = crf.kernels();
        // Features, corners of simplices, and twice as much for points and their table.
        check_memory(crf.points().checked_mul(8 * (dimensions + 1)))?;
        let compatibility = compat.compatibility();
        let added = compute(py, move || {
            crf.add_values(features()?, compatibility, normalisation)?;
            Ok(crf)
        })?;
        let added: PointCrf = added.map_err(told)?;
        // Another thread may have added one in the meantime: its kernel stays.
        self.lock().take_kernels(added, kernels);
        Ok(())
    }
}

/// The posterior in Fortran order after so many updates, with a look at the signals in between.
fn updated<'py>(
    py: Python<'py>,
    crf: &PointCrf,
    start: Option<Array2<f32>>,
    iterations: usize,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let work = crf.labels() * crf.points().max(1) * crf.kernels().max(1);
    let most = (BETWEEN_SIGNALS / work).max(1);
    let mut left = iterations;
    let mut posterior = start;
    loop {
        let batch = most.min(left);
        let next = compute(py, || match posterior {
            Some(posterior) => crf.step(posterior.view(), batch),
            None => crf.infer(batch),
        })?;
        let next = next.map_err(told)?;
        py.check_signals()?;
        left -= batch;
        if left == 0 {
            let interleaved = compute(py, || interleaved(next.view()))?;
            return Ok(PyArray2::from_owned_array(py, interleaved));
        }
        posterior = Some(next);
    }
}

/// The same values in Fortran order: pydensecrf's layout.
fn interleaved(planes: ArrayView2<f32>) -> Array2<f32> {
    /// Points that are moved at a time, few enough for their cache lines to stay.
    const BLOCK: usize = 256;
    let (labels, points) = planes.dim();
    let mut rows = vec![0.0f32; labels * points];
    rows.par_chunks_mut(BLOCK * labels).enumerate().for_each(|(i, rows)| {
        let first = i * BLOCK;
        let count = rows.len() / labels;
        for (label, plane) in planes.outer_iter().enumerate() {
            let plane = plane.slice(ndarray::s![first..first + count]);
            for (row, value) in rows.chunks_exact_mut(labels).zip(plane) {
                row[label] = *value;
            }
        }
    });
    Array2::from_shape_vec((labels, points).f(), rows).unwrap_or_else(|_| planes.to_owned())
}

/// An error of the CRF as Python has it: of a value, unless the device is at fault.
fn told(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Device(cause) => match cause.downcast::<kernels::Error>() {
            Ok(cause) if matches!(*cause, kernels::Error::Unread(_) | kernels::Error::Misread(_)) => {
                PyRuntimeError::new_err(text)
            }
            Ok(_) => PyValueError::new_err(text),
            Err(cause) => failed(anyhow::Error::from_boxed(cause)),
        },
        _ => PyValueError::new_err(text),
    }
}
