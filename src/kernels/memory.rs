//! How much memory one buffer may take on the device that a tensor is on.

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

/// [`Memory::largest_buffer`] of a device.
pub(super) fn largest_buffer(beside: &CubeTensor) -> usize {
    let memory = &beside.client.properties().memory;
    usize::try_from(memory.max_page_size).unwrap_or(usize::MAX)
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
