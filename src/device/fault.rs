//! What goes wrong with a device while it computes: it is full, it is lost, or its driver panics.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use anyhow::{Result, anyhow};

/// What a device reports that is no mistake of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no memory for what was asked: with less at a time it may go on.
    Full,
    /// A driver reset, a timeout, a card that went away: nothing works on the device in this process any more.
    Lost,
}

/// In what burn, cubecl and wgpu say of a full device; what reaches us of their error types is their text. An allocation
/// that fails late leaves a handle without memory, which whoever reads it is told of.
const FULL: [&str; 7] = [
    "out of memory",
    "out of device memory",
    "out-of-memory",
    "not enough memory left",
    "can't allocate",
    "couldn't find resource for that handle",
    "no allocation for that handle",
];
const LOST: [&str; 6] = [
    "device is poisoned",
    "device was poisoned",
    "device is lost",
    "device was lost",
    "device runner channel disconnected",
    "staging buffer could not be mapped",
];

impl Fault {
    /// The fault that a message speaks of, if any.
    pub fn of(message: &str) -> Option<Fault> {
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        // A lost device has no memory either.
        if says(&LOST) {
            Some(Fault::Lost)
        } else {
            says(&FULL).then_some(Fault::Full)
        }
    }

    /// [`Fault::of`] all that an error says.
    pub fn in_error(error: &anyhow::Error) -> Option<Fault> {
        Fault::of(&format!("{error:#}"))
    }
}

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic inside becomes its error.
///
/// # Errors
/// Those of `work`, and one line for a panic.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    result.unwrap_or_else(|panic| Err(anyhow!(describe(&*panic, &PLACE.take()))))
}

/// For the panic hook: the line to print, or nothing where an error will say the same.
pub fn panic_line(panic: &PanicHookInfo) -> Option<String> {
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_default();
    if CAUGHT.get() {
        PLACE.set(place);
        return None;
    }
    // Who waits for a device's thread learns of its faults.
    let waited_for = std::thread::current().name() != Some("main");
    let is_fault = Fault::of(text(panic.payload())).is_some();
    (!(waited_for && is_fault)).then(|| describe(panic.payload(), &place))
}

fn text(panic: &dyn Any) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message")
}

fn describe(panic: &dyn Any, place: &str) -> String {
    let what = text(panic).split_whitespace().collect::<Vec<_>>().join(" ");
    match (Fault::of(&what), place) {
        (Some(_), _) => what,
        (None, "") => format!("{what}: this is a bug in weakseg or its graphics driver"),
        (None, place) => format!(
            "{what} ({place}); this is a bug in weakseg or its graphics driver: try --device cpu, and report it with RUST_BACKTRACE=1"
        ),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use burn::backend::Dispatch;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::device::{Choice, choose, download};
    use crate::kernels::Memory;

    #[test]
    fn panics_become_errors_and_errors_stay() {
        let panicked = caught(|| -> Result<()> { panic!("wgpu error: Out of Memory") });
        assert_eq!(Fault::in_error(&panicked.unwrap_err()), Some(Fault::Full));
        let bug = caught(|| -> Result<()> { panic!("index\nout of bounds") }).unwrap_err();
        assert_eq!(Fault::in_error(&bug), None);
        assert!(bug.to_string().starts_with("index out of bounds"), "{bug}");
        let error = caught(|| -> Result<()> { bail!("no such file") }).unwrap_err();
        assert_eq!(error.to_string(), "no such file");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn a_buffer_that_no_device_holds_is_a_full_device() {
        let device = choose(Choice::Vulkan).unwrap().device;
        let small = Tensor::<1>::ones([1], &device);
        let room = Dispatch::largest_buffer(small.into_dispatch());
        let huge = || download(Tensor::<1>::ones([room / 2], &device));
        let error = caught(huge).unwrap_err();
        assert_eq!(Fault::in_error(&error), Some(Fault::Full), "{error:#}");
        // And it goes on afterwards.
        assert_eq!(download(Tensor::<1>::ones([2], &device)).unwrap(), [1.0; 2]);
    }

    /// A device of burn's, and the graphics API's handle of it.
    fn fresh_device() -> (Device, wgpu::Device) {
        use cubecl::wgpu::{RuntimeOptions, WgpuSetup, init_device};
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY);
        let adapter = pollster::block_on(adapters).remove(0);
        let descriptor = wgpu::DeviceDescriptor {
            // As cubecl asks for one: it counts on what the adapter has.
            required_features: adapter.features().difference(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS),
            required_limits: adapter.limits(),
            // SAFETY: nothing experimental is used; they are among the adapter's features.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let setup = WgpuSetup {
            instance,
            backend: adapter.get_info().backend,
            adapter,
            device: device.clone(),
            queue,
        };
        let ours = init_device(setup, RuntimeOptions::default());
        (Device::new(ours), device)
    }

    #[test]
    fn a_lost_device_is_recognised() {
        let (device, handle) = fresh_device();
        let compute = || download(Tensor::<1>::ones([64], &device) * 2.0);
        assert_eq!(caught(compute).unwrap(), [2.0; 64]);
        handle.destroy();
        let error = caught(compute).unwrap_err();
        assert_eq!(Fault::in_error(&error), Some(Fault::Lost), "{error:#}");
    }
}
