//! What the property tests of the operators share: they hold over random shapes, on both devices, against brute force.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Random shapes per property and device.
pub const CASES: u32 = 12;

/// An adapter, software or not.
pub fn vulkan() -> Device {
    crate::device::choose(crate::device::Choice::Vulkan).unwrap().device
}

/// Runs `property` on random `cases`, on the CPU and on an adapter.
pub fn on_both_devices<S: Strategy>(cases: &S, property: impl Fn(&S::Value, &Device) -> Result<(), TestCaseError>) {
    for device in [Device::flex(), vulkan()] {
        on_device(cases, &device, &property);
    }
}

/// Runs `property` on random `cases` on one device.
pub fn on_device<S: Strategy>(
    cases: &S,
    device: &Device,
    property: impl Fn(&S::Value, &Device) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(cases, |case| property(&case, device))
        .unwrap();
}

/// `values` as a tensor.
pub fn upload<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A tensor's values.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// Errors where an entry is not within `tolerance` of what is expected, relative to 1 and its size.
pub fn close(actual: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - e).abs();
        prop_assert!(error <= tolerance * (1.0 + e.abs()), "entry {}: {} for {}", i, a, e);
    }
    Ok(())
}

/// `gradient` against differences of `value`, by f64 on the host, at three entries of `entries`.
pub fn equals_differences(
    entries: &[f32],
    gradient: &[f64],
    value: impl Fn(&[f32]) -> f64,
) -> Result<(), TestCaseError> {
    // A power of two, so that the coarse entries move by no more and no less.
    let step = 1.0f32 / 1024.0;
    for at in [0, entries.len() / 2, entries.len() - 1] {
        let moved = |by: f32| {
            let mut entries = entries.to_vec();
            entries[at] += by;
            (value(&entries), f64::from(entries[at]))
        };
        let ((low, from), (high, to)) = (moved(-step), moved(step));
        let slope = (high - low) / (to - from);
        prop_assert!(
            (slope - gradient[at]).abs() < 1e-3 * (1.0 + slope.abs()),
            "entry {}: {} and {}",
            at,
            slope,
            gradient[at]
        );
    }
    Ok(())
}

/// The sum of products.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}
