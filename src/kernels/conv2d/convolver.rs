//! Who computes a convolution, and how a test or benchmark asks for one of them.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

/// How our shaders compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Design {
    /// Tiles of two matrices in workgroup memory, for GPUs.
    Tiles,
    /// Every invocation on its own, for adapters in software.
    Runs,
}

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Convolver {
    /// burn's convolution.
    Burn,
    /// Ours: on the CPU its twin, on a device shaders of this design.
    Ours(Design),
}

thread_local! {
    static ASKED: Cell<Option<Convolver>> = const { Cell::new(None) };
}

/// What `work` gives, with every convolution of this thread computed by `convolver`, for tests and benchmarks; shapes that
/// are beyond the limits of ours are burn's all the same.
pub fn convolve_by<T>(convolver: Convolver, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Convolver>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ASKED.set(self.0);
        }
    }
    let _restore = Restore(ASKED.replace(Some(convolver)));
    work()
}

/// Who was asked for on this thread.
pub(super) fn asked() -> Option<Convolver> {
    ASKED.get()
}
