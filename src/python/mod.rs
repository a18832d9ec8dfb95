//! The extension module `weakseg._weakseg` of the Python package, whose other half is in `weakseg/`: here are the parts
//! that compute, there names, defaults and checks of arguments.

mod arrays;
mod compute;
mod densecrf;
mod predict;
mod program;
mod walk;

use pyo3::prelude::*;

use crate::bench::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Everything in Rust that the package uses.
#[pymodule]
#[pyo3(name = "_weakseg")]
fn extension(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<densecrf::Crf>()?;
    m.add_function(wrap_pyfunction!(walk::random_walk, m)?)?;
    m.add_function(wrap_pyfunction!(predict::predict, m)?)?;
    m.add_function(wrap_pyfunction!(program::run_program, m)?)
}
