//! What depthwise and pointwise convolution share.

#[cfg(test)]
mod tests;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;

/// What a backward pass needs of the forward pass: input, kernel, output. A clamped output tells where the gradient stops.
pub type Saved<T> = [T; 3];

/// What a backward pass on the CPU starts from.
pub struct Pass<'a> {
    /// `[B, C, H, W]`
    pub input: &'a [f32],
    /// `[C, k, k]` of a depthwise, `[O, C]` of a pointwise convolution.
    pub kernel: &'a [f32],
    /// `[B, O, h, w]`, what the forward pass gave.
    pub output: &'a [f32],
    /// `[B, O, h, w]`, that of the output.
    pub gradient: &'a [f32],
}

impl<'a> Pass<'a> {
    /// Of contiguous input, kernel, output, and gradient.
    pub fn of(tensors: &'a [FloatTensor<Flex>; 4]) -> Pass<'a> {
        let [input, kernel, output, gradient] = tensors.each_ref().map(|x| x.storage());
        Pass {
            input,
            kernel,
            output,
            gradient,
        }
    }
}
