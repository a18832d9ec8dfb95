//! How much memory one buffer may take on the device that a tensor is on, and whether what an operator needs fits.

use std::fmt;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Flex, backend_extension};

/// What a backend tells about its memory.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait Memory: burn::backend::Backend {
    /// Bytes of the largest buffer that can lie beside a tensor.
    fn largest_buffer(beside: FloatTensor<Self>) -> usize;
}

/// Shaders number the words of a buffer in 32 bits.
const LARGEST_NUMBERED: u64 = 4 * u32::MAX as u64;

/// [`Memory::largest_buffer`] of a device.
pub(super) fn largest_buffer(beside: &CubeTensor) -> usize {
    let memory = &beside.client.properties().memory;
    let largest = memory.max_page_size.min(LARGEST_NUMBERED);
    usize::try_from(largest).unwrap_or(usize::MAX)
}

/// A buffer that a device does not have. Its text is that of a full device (`device::fault`): with less at a time, or on
/// the CPU, the work may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Bytes of the buffer that is needed.
    pub needed: usize,
    /// Bytes of the largest buffer that the device has.
    pub largest: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "out of memory: a kernel needs a buffer of {:.1} MB, but this device's largest is {:.1} MB",
            self.needed as f64 / 1e6,
            self.largest as f64 / 1e6
        )
    }
}

/// What every launcher asks before it takes memory: errors where a buffer of `needed` bytes exceeds the `largest`.
pub(super) fn check(needed: usize, largest: usize) -> Result<(), TooLarge> {
    if needed > largest {
        return Err(TooLarge { needed, largest });
    }
    Ok(())
}

impl Memory for CubeBackend {
    fn largest_buffer(beside: FloatTensor<Self>) -> usize {
        largest_buffer(&beside)
    }
}

impl Memory for Flex {
    fn largest_buffer(_: FloatTensor<Self>) -> usize {
        usize::MAX
    }
}

impl<B: Memory, C: CheckpointStrategy> Memory for Autodiff<B, C> {
    fn largest_buffer(beside: FloatTensor<Self>) -> usize {
        B::largest_buffer(beside.into_primitive())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use crate::device::fault::{Fault, caught};
    use crate::kernels::testing::{download, vulkan};
    use crate::kernels::{Distance, pair_affinity};

    #[test]
    fn a_result_that_no_buffer_holds_is_a_full_device_before_anything_is_launched() {
        let device = vulkan();
        // 2,500 pairs of a million pixels.
        let features = Tensor::<4>::ones([1, 1, 1000, 1000], &device);
        let error = caught(|| Ok(pair_affinity(features, 40, Distance::Mean))).unwrap_err();
        assert_eq!(Fault::in_error(&error), Some(Fault::Full), "{error:#}");
        assert!(error.to_string().contains("a kernel needs a buffer of"), "{error:#}");
        // And it goes on afterwards.
        assert_eq!(download(Tensor::<1>::ones([2], &device)), [1.0; 2]);
    }
}
