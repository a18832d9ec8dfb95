//! Where and how work is done for Python: without its lock, on threads that a fork does not lose, and never by a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use burn::tensor::Device;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::device::fault::Fault;
use crate::device::{Choice, choose};

/// Threads, and the process that they are of.
struct Pool {
    process: u32,
    threads: ThreadPool,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());
/// The process that first used a GPU; 0 where none did.
static ON_GPU: AtomicU32 = AtomicU32::new(0);

/// Does `work` without Python's lock.
///
/// # Errors
/// A `RuntimeError` where it panics.
pub fn compute<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> PyResult<R> {
    let result = py.detach(|| {
        catch_unwind(AssertUnwindSafe(|| match pool() {
            Some(threads) => threads.install(work),
            None => work(),
        }))
    });
    result.map_err(|panic| PyRuntimeError::new_err(format!("a mistake in weakseg: {}", message(&*panic))))
}

/// The threads of this process. A fork takes no threads with it, and whoever waits for rayon's own ones there waits for
/// ever; so the first to ask in a process makes some. Those of the process before are lost on purpose: to end them would
/// be to wait for them. `None` where no thread can be started.
fn pool() -> Option<&'static ThreadPool> {
    let process = std::process::id();
    loop {
        let there = POOL.load(Ordering::Acquire);
        // SAFETY: what is stored came from `Box::into_raw`, and is never freed.
        if let Some(pool) = unsafe { there.as_ref() }
            && pool.process == process
        {
            return Some(&pool.threads);
        }
        let threads = ThreadPoolBuilder::new().build().ok()?;
        let made = Box::into_raw(Box::new(Pool { process, threads }));
        if (POOL.compare_exchange(there, made, Ordering::AcqRel, Ordering::Acquire)).is_err() {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

/// A device that Python has asked for.
#[derive(Clone)]
pub struct Place {
    /// burn's.
    pub device: Device,
    on_gpu: bool,
}

impl Place {
    /// The device of this name, as `--device` has them.
    ///
    /// # Errors
    /// A `ValueError` on another name, a `RuntimeError` where there is no such device.
    pub fn named(py: Python<'_>, name: &str) -> PyResult<Place> {
        let choice: Choice = name
            .parse()
            .map_err(|advice| PyValueError::new_err(format!("device {name:?}: {advice}")))?;
        if choice == Choice::Cpu {
            return Ok(Place {
                device: Device::flex(),
                on_gpu: false,
            });
        }
        check_process()?;
        let chosen = py.detach(|| choose(choice));
        let chosen = chosen.map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))?;
        let on_gpu = chosen.adapter.is_some();
        if on_gpu {
            ON_GPU.store(std::process::id(), Ordering::Release);
        }
        Ok(Place {
            device: chosen.device,
            on_gpu,
        })
    }

    /// Errors where this process is a fork of one that has used a GPU, which a fork cannot.
    pub fn check(&self) -> PyResult<()> {
        if self.on_gpu { check_process() } else { Ok(()) }
    }
}

fn check_process() -> PyResult<()> {
    let first = ON_GPU.load(Ordering::Acquire);
    if first == 0 || first == std::process::id() {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "this process was forked from one that has used a GPU: start processes with the method 'spawn', or use device='cpu'",
    ))
}

/// An error of a device or a run, as Python has it.
pub fn failed(error: anyhow::Error) -> PyErr {
    let text = format!("{error:#}");
    match Fault::in_error(&error) {
        Some(Fault::Full) => PyMemoryError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}

/// A `MemoryError` where so many numbers cannot be had: who computes would end the process.
pub fn check_memory(count: Option<usize>) -> PyResult<()> {
    let mut trial = Vec::<f32>::new();
    match count.map(|count| trial.try_reserve_exact(count)) {
        Some(Ok(())) => Ok(()),
        _ => Err(PyMemoryError::new_err(
            "there is not memory enough for arrays of this size",
        )),
    }
}
