//! Attention from the pixels of one image to those of another, as CIAN and MCIS have it, without the matrix of weights:
//! the kernel against the plain formulation, values and gradients.
//!
//! `cargo run --release --example cross_attention`

use std::error::Error;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use weakseg::kernels::cross_attention;

/// Channels of queries and keys, and of values.
const CHANNELS: [usize; 2] = [16, 32];
/// Pixels of both images.
const PIXELS: [usize; 2] = [24 * 24, 20 * 28];

/// softmax over the keys of query · key, times the values: `[B, D, N]`, `[B, D, M]`, `[B, V, M]` → `[B, V, N]`.
fn plain(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    let weights = softmax(query.transpose().matmul(key), 2);
    value.matmul(weights.transpose())
}

/// A tensor `[1, C, N]` of numbers in [-1, 1) that look random.
fn features(channels: usize, pixels: usize, seed: usize) -> Tensor<3> {
    let value = |i: usize| ((i + seed) * 7919 % 2003) as f32 / 1001.5 - 1.0;
    let data = TensorData::new(
        (0..channels * pixels).map(value).collect::<Vec<f32>>(),
        [1, channels, pixels],
    );
    Tensor::from_data(data, &Device::flex().autodiff())
}

fn values(tensor: Tensor<3>) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(tensor.try_into_data()?.try_to_vec().map_err(|e| format!("{e:?}"))?)
}

/// The result of `attend`, and the gradient of the sum of its squares with respect to the queries.
fn with_gradient(attend: fn(Tensor<3>, Tensor<3>, Tensor<3>) -> Tensor<3>) -> Result<[Vec<f32>; 2], Box<dyn Error>> {
    let query = features(CHANNELS[0], PIXELS[0], 1).require_grad();
    let key = features(CHANNELS[0], PIXELS[1], 2);
    let value = features(CHANNELS[1], PIXELS[1], 3);
    let attended = attend(query.clone(), key, value);
    let gradients = attended.clone().square().sum().backward();
    let gradient = query.grad(&gradients).ok_or("the queries have no gradient")?;
    Ok([values(attended.inner())?, values(gradient)?])
}

/// The largest differences between kernel and plain formulation, of the result and of the gradient.
pub fn differences() -> Result<[f32; 2], Box<dyn Error>> {
    let [ours, theirs] = [with_gradient(cross_attention)?, with_gradient(plain)?];
    let largest = |i: usize| {
        let pairs = ours[i].iter().zip(&theirs[i]);
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    Ok([largest(0), largest(1)])
}

/// Prints them, and what the plain formulation keeps for its backward pass.
pub fn main() -> Result<(), Box<dyn Error>> {
    let [value, gradient] = differences()?;
    let kept = PIXELS[0] * PIXELS[1] * size_of::<f32>();
    println!("largest difference: {value:e} in the result, {gradient:e} in the gradient of the queries");
    println!(
        "the plain formulation keeps {} KB of weights, the kernel none",
        kept / 1000
    );
    Ok(())
}
