//! Peak memory of a piece of work: what the CPU backend allocates, or what the GPU's memory pools hold.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Result;
use burn::tensor::Device;
use mimalloc::MiMalloc;

/// The program's allocator: mimalloc, which keeps freed tensors' pages where the system's gives them back after every
/// operation, with a count of bytes, so that benchmarks of the CPU backend see what tensors take.
pub struct Counting;

unsafe extern "C" {
    /// mimalloc.h's; the wrapper crate declares it under a feature only.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: c_int = 15;
/// Milliseconds. After mimalloc's own 10 every large tensor would be faulted in page by page again, a sixth of the time
/// of a network on the CPU backend.
const KEEP_FOR: c_long = 10_000;

/// Has the allocator keep freed memory longer, for the next tensor of its size. To be called before any work.
pub fn keep_freed() {
    // SAFETY: the function takes any number, and sets an atomic one.
    unsafe { mi_option_set(PURGE_DELAY, KEEP_FOR) };
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: every call goes to mimalloc unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { MiMalloc.realloc(ptr, layout, size) }
    }
}

/// Bytes that tensors on `device` take now: allocations of this process on the CPU backend, what the memory pools have
/// handed out on a GPU.
pub fn in_use(device: &Device) -> u64 {
    match device.memory_pool_usage() {
        Some(usage) => usage.bytes_in_use,
        None => NOW.load(Relaxed) as u64,
    }
}

/// Peak bytes that `work` takes on `device` beyond what was taken before: allocations of this process on the CPU
/// backend, bytes reserved by the memory pools on a GPU (where pools round up).
pub fn peak(device: &Device, work: &(impl Fn() -> Result<()> + ?Sized)) -> Result<u64> {
    device.memory_cleanup();
    let _ = device.sync();
    let reserved = || device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    match reserved() {
        Some(before) => {
            work()?;
            let after = reserved().unwrap_or(before);
            device.memory_cleanup();
            Ok(after.saturating_sub(before))
        }
        None => {
            let before = NOW.load(Relaxed);
            PEAK.store(before, Relaxed);
            work()?;
            Ok(PEAK.load(Relaxed).saturating_sub(before) as u64)
        }
    }
}
