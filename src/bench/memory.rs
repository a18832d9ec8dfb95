//! Peak memory of a piece of work: what the CPU backend allocates, or what the GPU's memory pools hold; and the end of
//! the program where there is no more to be had.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use anyhow::Result;
use burn::tensor::Device;
use mimalloc::MiMalloc;

use crate::progress;

/// The program's allocator: mimalloc, which keeps freed tensors' pages where the system's gives them back after every
/// operation, with a count of bytes, so that benchmarks of the CPU backend see what tensors take.
///
/// Where the system has no more memory it gives back what it has kept, and where that does not help either, the program
/// ends with status 1 and one line: what it worked on, how much was asked for, and what to do. Rust's own end is an
/// abort, which says nothing of that.
pub struct Counting;

unsafe extern "C" {
    /// mimalloc.h's; the wrapper crate declares it under a feature only.
    fn mi_option_set(option: c_int, value: c_long);
    /// mimalloc.h's.
    fn mi_collect(force: bool);
    /// Of the C library, on Windows as well.
    fn _exit(status: c_int) -> !;
    #[cfg(unix)]
    fn write(file: c_int, bytes: *const u8, count: usize) -> isize;
    #[cfg(windows)]
    #[link_name = "_write"]
    fn write(file: c_int, bytes: *const u8, count: u32) -> c_int;
}

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: c_int = 15;
/// Milliseconds. After mimalloc's own 10 every large tensor would be faulted in page by page again, a sixth of the time
/// of a network on the CPU backend.
const KEEP_FOR: c_long = 10_000;

/// Whether the process is the program, which ends where there is no more memory. Who imports a module is told instead.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Has the allocator keep freed memory longer, for the next tensor of its size, and end the process where there is no
/// more. To be called before any work.
pub fn begin_program() {
    ENDS.store(true, Relaxed);
    // SAFETY: the function takes any number, and sets an atomic one.
    unsafe { mi_option_set(PURGE_DELAY, KEEP_FOR) };
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

/// What `allocate` gives, if need be after kept memory has been given back.
fn or_end(bytes: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let first = allocate();
    if !first.is_null() {
        return first;
    }
    // SAFETY: it may be called from anywhere outside of mimalloc's own hooks, of which there are none.
    unsafe { mi_collect(true) };
    let second = allocate();
    if second.is_null() && ENDS.load(Relaxed) {
        end(bytes);
    }
    second
}

/// Ends the program because `bytes` cannot be had. Nothing here may allocate.
fn end(bytes: usize) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    while ENDING.swap(true, Relaxed) {
        // Another thread has the same to say, and is about to end this one.
        std::thread::yield_now();
    }
    let mut line = Line::default();
    // Behind a bar on a terminal a line has to be begun.
    if std::io::stderr().is_terminal() {
        line.add(b"\n");
    }
    line.say(&progress::current_task(), bytes);
    // SAFETY: the pointer and the length are those of a slice; `_exit` takes any status.
    unsafe {
        write(2, line.bytes.as_ptr(), line.length as _);
        _exit(1)
    }
}

/// A line of text that takes no allocation.
struct Line {
    bytes: [u8; 768],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            bytes: [0; 768],
            length: 0,
        }
    }
}

impl Line {
    /// Appends what there is room for.
    fn add(&mut self, text: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(text) {
            *place = *byte;
            self.length += 1;
        }
    }

    fn add_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.add(&digits[start..]);
    }

    /// The error of a program that works on `task`, zeros behind it, and cannot have `bytes`.
    fn say(&mut self, task: &[u8], bytes: usize) {
        self.add(b"error: ");
        let length = task.iter().position(|byte| *byte == 0);
        let task = &task[..length.unwrap_or(task.len())];
        if !task.is_empty() {
            self.add(task);
            self.add(b": ");
        }
        self.add(b"out of memory, ");
        self.add_number(bytes.div_ceil(1_000_000));
        self.add(
            b" MB more cannot be had: end other programs or raise the limit on memory, scale large images down, or take less at a time (a smaller batch or crop with --set); what is written stays\n",
        );
    }
}

// SAFETY: every call goes to mimalloc unchanged, or again where it has failed; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        or_end(layout.size(), || unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        or_end(layout.size(), || unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        or_end(size, || unsafe { MiMalloc.realloc(ptr, layout, size) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(task: &[u8], bytes: usize) -> String {
        let mut line = Line::default();
        line.say(task, bytes);
        String::from_utf8(line.bytes[..line.length].to_vec()).unwrap()
    }

    #[test]
    fn the_last_line_names_the_task_and_the_remedy() {
        let line = said(b"predict: big.jpg\0\0", 1_151_000_001);
        assert!(
            line.starts_with("error: predict: big.jpg: out of memory, 1152 MB more"),
            "{line}"
        );
        assert!(line.contains("scale large images down") && line.ends_with("stays\n"));
        assert_eq!(line.lines().count(), 1);
        assert!(said(b"", 0).starts_with("error: out of memory, 0 MB"));
        // Whatever the numbers and names, it stays a whole line.
        let longest = said(&[b'x'; 256], usize::MAX);
        assert!(longest.ends_with("stays\n"), "{longest}");
    }
}
