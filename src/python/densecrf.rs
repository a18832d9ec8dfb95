//! A CRF over points for `weakseg.densecrf`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, ArrayView2};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::prelude::*;

use super::arrays::{filled, view};
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

    fn set_unary(&self, py: Python<'_>, unary: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut crf = self.copy()?;
        let unary = matrix(unary)?;
        let changed = compute(py, move || crf.set_unary(unary).map(|()| crf))?;
        let changed = changed.map_err(told)?;
        self.lock().take_unary(changed);
        Ok(())
    }

    fn add(
        &self,
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        compat: &Bound<'_, PyAny>,
        normalization: u8,
    ) -> PyResult<()> {
        let (features, [dimensions, _]) = view::<f32, 2>(features)?;
        self.with_kernel(py, dimensions, compat, normalization, move || Ok(features.to_vec()))
    }

    #[expect(clippy::too_many_arguments, reason = "a call across languages")]
    fn add_image(
        &self,
        py: Python<'_>,
        size: (usize, usize),
        sxy: [f32; 2],
        srgb: Option<[f32; 3]>,
        rgb: Option<Bound<'_, PyAny>>,
        compat: &Bound<'_, PyAny>,
        normalization: u8,
    ) -> PyResult<()> {
        let rgb = rgb.as_ref().map(view::<u8, 3>).transpose()?;
        let dimensions = if srgb.is_some() { 5 } else { 2 };
        self.with_kernel(py, dimensions, compat, normalization, move || {
            let mut features = positions([size.0, size.1], sxy)?;
            if let (Some(deviations), Some((rgb, _))) = (srgb, rgb) {
                colours(rgb, deviations, &mut features)?;
            }
            Ok(features)
        })
    }

    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let crf = self.ready()?;
        if !crf.has_unary() {
            // As pydensecrf begins.
            return filled::<f32, 2>(py, [crf.points(), crf.labels()], |_| Ok(()))?.getattr("T");
        }
        updated(py, crf, None, 0)
    }

    fn infer<'py>(&self, py: Python<'py>, iterations: usize) -> PyResult<Bound<'py, PyAny>> {
        updated(py, self.ready()?, None, iterations)
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        posterior: &Bound<'py, PyAny>,
        iterations: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let posterior = matrix(posterior)?.to_owned();
        updated(py, self.ready()?, Some(posterior), iterations)
    }

    fn kl_divergence(&self, py: Python<'_>, posterior: &Bound<'_, PyAny>) -> PyResult<f64> {
        let (crf, posterior) = (self.ready()?, matrix(posterior)?);
        compute(py, move || crf.kl_divergence(posterior))?.map_err(told)
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
        compat: &Bound<'_, PyAny>,
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
        let compatibility = match compat.extract::<f64>() {
            Ok(weight) => Compatibility::Potts(weight as f32),
            Err(_) => Compatibility::Matrix(view::<f32, 2>(compat)?.0.to_vec()),
        };
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

/// An array `[C, N]`.
fn matrix<'a>(array: &'a Bound<'_, PyAny>) -> PyResult<ArrayView2<'a, f32>> {
    let (values, shape) = view::<f32, 2>(array)?;
    ArrayView2::from_shape(shape, values).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The posterior `[C, N]` in Fortran order after so many updates, with a look at the signals in between.
fn updated(py: Python<'_>, crf: PointCrf, start: Option<Array2<f32>>, iterations: usize) -> PyResult<Bound<'_, PyAny>> {
    let work = crf.labels() * crf.points().max(1) * crf.kernels().max(1);
    let most = (BETWEEN_SIGNALS / work).max(1);
    let mut left = iterations;
    let mut posterior = start;
    loop {
        let (batch, crf) = (most.min(left), crf.clone());
        let next = compute(py, move || match posterior {
            Some(posterior) => crf.step(posterior.view(), batch),
            None => crf.infer(batch),
        })?;
        let next = next.map_err(told)?;
        py.check_signals()?;
        left -= batch;
        if left == 0 {
            let (labels, points) = next.dim();
            let rows = filled::<f32, 2>(py, [points, labels], |rows| {
                compute(py, || interleave(next.view(), rows))
            })?;
            return rows.getattr("T");
        }
        posterior = Some(next);
    }
}

/// `[C, N]` → `[N, C]`.
fn interleave(planes: ArrayView2<f32>, rows: &mut [f32]) {
    /// Points that are moved at a time, few enough for their cache lines to stay.
    const BLOCK: usize = 256;
    let labels = planes.nrows();
    rows.par_chunks_mut(BLOCK * labels).enumerate().for_each(|(i, rows)| {
        let first = i * BLOCK;
        let count = rows.len() / labels;
        for (label, plane) in planes.outer_iter().enumerate() {
            let plane = plane.slice_move(ndarray::s![first..first + count]);
            for (row, value) in rows.chunks_exact_mut(labels).zip(plane) {
                row[label] = *value;
            }
        }
    });
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
