//! What the operators' CPU twins share. The twins are what runs without a GPU, and what the tests compare the shaders with.

mod exp;
mod product;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

pub use exp::exp;
pub use product::product;

/// A tensor of burn's CPU backend that owns `data`.
pub fn tensor<const D: usize>(data: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(data, shape))
}
