//! Arrays of numpy's, by what they say of themselves (`__array_interface__`): a crate that knows more of them would have
//! the whole tree of dependencies built with other features.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What an array can be of.
pub trait Element: Copy + Send + Sync {
    /// As numpy writes it, in this machine's byte order.
    const TYPE: &'static str;
}

impl Element for f32 {
    const TYPE: &'static str = if cfg!(target_endian = "little") { "<f4" } else { ">f4" };
}

impl Element for u8 {
    const TYPE: &'static str = "|u1";
}

/// The elements and the shape of an array that is aligned and in C order, for as long as it is held.
///
/// # Errors
/// On an array of another type, layout or number of dimensions.
pub fn view<'a, T: Element, const D: usize>(array: &'a Bound<'_, PyAny>) -> PyResult<(&'a [T], [usize; D])> {
    let (address, shape) = interface::<T, D>(array)?;
    let count = shape.iter().product();
    if count == 0 {
        return Ok((&[], shape));
    }
    // SAFETY: numpy says that so many elements of this type lie there one after the other, aligned; they stay while the
    // array is held. Who writes to an array in another thread gets what they ask for, as from numpy itself.
    Ok((unsafe { std::slice::from_raw_parts(address as *const T, count) }, shape))
}

/// A new array of this shape, in C order, with what `fill` writes to its elements, which are zero before.
///
/// # Errors
/// Those of `fill`, and where there is no memory for the array.
pub fn filled<'py, T: Element, const D: usize>(
    py: Python<'py>,
    shape: [usize; D],
    fill: impl FnOnce(&mut [T]) -> PyResult<()>,
) -> PyResult<Bound<'py, PyAny>> {
    let array = py.import("numpy")?.call_method1("zeros", (shape.to_vec(), T::TYPE))?;
    let (address, shape) = interface::<T, D>(&array)?;
    let count = shape.iter().product();
    if count > 0 {
        // SAFETY: as in `view`, and nobody else knows of the array yet.
        fill(unsafe { std::slice::from_raw_parts_mut(address as *mut T, count) })?;
    }
    Ok(array)
}

/// Where the elements of an array lie, and its shape.
fn interface<T: Element, const D: usize>(array: &Bound<'_, PyAny>) -> PyResult<(usize, [usize; D])> {
    let interface = array.getattr("__array_interface__")?;
    let of_type: String = interface.get_item("typestr")?.extract()?;
    let (address, _): (usize, bool) = interface.get_item("data")?.extract()?;
    let shape: Vec<usize> = interface.get_item("shape")?.extract()?;
    let is_plain = interface.get_item("strides")?.is_none() && address.is_multiple_of(align_of::<T>());
    match <[usize; D]>::try_from(shape.as_slice()) {
        Ok(shape) if of_type == T::TYPE && is_plain => Ok((address, shape)),
        _ => Err(PyValueError::new_err(format!(
            "an array of type {of_type} and shape {shape:?} where an aligned one of {}, {D} dimensions and C order is needed",
            T::TYPE
        ))),
    }
}
