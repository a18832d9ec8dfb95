//! The permutohedral lattice over random features, on both devices.

mod reference;

use burn::tensor::Device;
use proptest::prelude::*;

use super::{Error, Lattice};
use crate::kernels::testing::{close, dot, download, on_both_devices, upload, vulkan};

pub use reference::Reference;

#[derive(Clone, Debug)]
pub struct Filter {
    pub dimensions: usize,
    pub pixels: usize,
    pub channels: usize,
    /// `[D, N]`
    pub features: Vec<f32>,
    /// `[C, N]` each.
    pub values: Vec<f32>,
    pub upstream: Vec<f32>,
}

pub fn filters() -> impl Strategy<Value = Filter> {
    let sizes = (1..6usize, 1..40usize, 1..7usize, 0.3..6.0f32);
    sizes.prop_flat_map(|(dimensions, pixels, channels, spread)| {
        let values = |n: usize, bound: f32| proptest::collection::vec(-bound..bound, n);
        (
            values(dimensions * pixels, spread),
            values(channels * pixels, 1.0),
            values(channels * pixels, 1.0),
        )
            .prop_map(move |(features, values, upstream)| Filter {
                dimensions,
                pixels,
                channels,
                features,
                values,
                upstream,
            })
    })
}

impl Filter {
    pub fn lattice(&self, device: &Device) -> Lattice {
        let shape = [self.dimensions, self.pixels];
        Lattice::new(upload(&self.features, shape, device)).unwrap()
    }

    fn shape(&self) -> [usize; 2] {
        [self.channels, self.pixels]
    }

    fn filter(&self, lattice: &Lattice, values: &[f32], device: &Device) -> Vec<f32> {
        download(lattice.filter(upload(values, self.shape(), device)))
    }

    /// The gradient of `values` for the case's upstream: the transposed filter of it.
    fn transposed(&self, lattice: &Lattice, device: &Device) -> Vec<f32> {
        let device = device.clone().autodiff();
        let x = upload(&self.values, self.shape(), &device).require_grad();
        let y = upload(&self.upstream, self.shape(), &device);
        let mut grads = (lattice.filter(x.clone()) * y).sum().backward();
        download(x.grad_remove(&mut grads).unwrap())
    }
}

/// Within `tolerance` of the largest value.
pub fn near(actual: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    let largest = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    let scaled: Vec<f64> = expected.iter().map(|v| v / largest).collect();
    let actual: Vec<f32> = actual.iter().map(|v| v / largest as f32).collect();
    close(&actual, &scaled, tolerance)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn filter_equals_its_definition_and_its_twin() {
    on_both_devices(&filters(), |case, device| {
        let lattice = case.lattice(device);
        let actual = case.filter(&lattice, &case.values, device);
        let reference = Reference::new(&case.features, case.dimensions);
        let channels = case.values.chunks(case.pixels);
        let expected: Vec<f64> = channels.flat_map(|x| reference.filter(&wide(x))).collect();
        near(&actual, &expected, 1e-4)?;
        let twin = case.lattice(&Device::flex());
        let twin = case.filter(&twin, &case.values, &Device::flex());
        near(&actual, &wide(&twin), 1e-5)
    });
}

#[test]
fn gradient_is_the_transpose_and_equals_finite_differences() {
    on_both_devices(&filters(), |case, device| {
        let lattice = case.lattice(device);
        let gradient = case.transposed(&lattice, device);
        let scale = 1.0 + dot(&case.upstream, &case.upstream).sqrt() * 4.0;
        // <F x, y> = <x, F' y>
        let left = dot(&case.filter(&lattice, &case.values, device), &case.upstream);
        let right = dot(&case.values, &gradient);
        prop_assert!((left - right).abs() < 1e-4 * scale, "{} and {}", left, right);
        // The filter is linear, so that large steps give exact differences.
        let step = 0.5f32;
        for at in [0, gradient.len() / 2, gradient.len() - 1] {
            let moved = |by: f32| {
                let mut values = case.values.clone();
                values[at] += by;
                dot(&case.filter(&lattice, &values, device), &case.upstream)
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let error = (slope - f64::from(gradient[at])).abs();
            prop_assert!(error < 1e-4 * scale, "{}: {} and {}", at, slope, gradient[at]);
        }
        Ok(())
    });
}

#[test]
fn two_builds_and_two_filters_give_the_same_bits() {
    on_both_devices(&filters(), |case, device| {
        let [first, second] = [0; 2].map(|_| {
            let lattice = case.lattice(device);
            let result = case.filter(&lattice, &case.values, device);
            (result, case.transposed(&lattice, device))
        });
        prop_assert_eq!(first, second);
        Ok(())
    });
}

#[test]
fn constant_features_are_one_cell() {
    on_both_devices(&filters(), |case, device| {
        let (d, n) = (case.dimensions, case.pixels);
        let constant: Vec<f32> = (0..d * n).map(|i| case.features[i / n * n]).collect();
        let one = Filter {
            features: constant,
            ..case.clone()
        };
        let lattice = one.lattice(device);
        prop_assert_eq!(lattice.points(), d + 1);
        // Every pixel gets the same share of the sum.
        let single = Reference::new(&(0..d).map(|i| one.features[i * n]).collect::<Vec<_>>(), d);
        let sums = case.values.chunks(n).map(|x| wide(x).iter().sum::<f64>());
        let expected: Vec<f64> = sums.flat_map(|sum| vec![single.filter(&[sum])[0]; n]).collect();
        near(&case.filter(&lattice, &case.values, device), &expected, 1e-4)
    });
}

#[test]
fn a_table_that_overflows_grows() {
    let vulkan = vulkan();
    let (d, n) = (4, 200);
    // Far apart: a thousand points of their own.
    let features: Vec<f32> = (0..d * n).map(|i| 3.7 * ((i * i % 997) as f32)).collect();
    let values: Vec<f32> = (0..n).map(|i| (i as f32).cos()).collect();
    let build = |slots| Lattice::with_slots(upload(&features, [d, n], &vulkan), slots).unwrap();
    let filter = |lattice: &Lattice| download(lattice.filter(upload(&values, [1, n], &vulkan)));
    let roomy = build(4096);
    assert!(roomy.points() > 900, "{}", roomy.points());
    for slots in [2, 64, 1024] {
        let grown = build(slots);
        assert_eq!(grown.points(), roomy.points());
        assert_eq!(filter(&grown), filter(&roomy), "{slots} slots");
    }
}

#[test]
fn a_table_without_a_free_slot_is_searched_to_its_end() {
    let features = |n: u16| (0..n).map(|i| 0.2 * f32::from(i)).collect::<Vec<f32>>();
    let on = |n: u16, device: &Device| upload(&features(n), [1, n.into()], device);
    let points = |n: &u16| Lattice::new(on(*n, &Device::flex())).unwrap().points();
    let n = (1..100).find(|n| points(n) == 8).unwrap();
    let vulkan = vulkan();
    let filtered = |slots| {
        let lattice = Lattice::with_slots(on(n, &vulkan), slots).unwrap();
        assert_eq!(lattice.points(), 8);
        download(lattice.filter(upload(&vec![1.0; n.into()], [1, n.into()], &vulkan)))
    };
    // Neighbours that are not there are looked for past the ends.
    assert_eq!(filtered(8), filtered(64));
}

#[test]
fn features_that_no_lattice_holds_are_errors() {
    for device in [Device::flex(), vulkan()] {
        let error = |features: &[f32], d: usize| {
            let features = upload(features, [d, features.len() / d], &device);
            Lattice::new(features).unwrap_err()
        };
        let many = error(&[0.5; 48], 16);
        assert!(matches!(
            many,
            Error::Dimensions {
                dimensions: 16,
                most: 15
            }
        ));
        // As those who only pass it on see it.
        let text = anyhow::Error::from(many).to_string();
        assert_eq!(text, "a lattice over 16 feature dimensions: use 1 to 15");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -f32::MAX] {
            // Of the first pixel, either feature.
            for at in [0, 1] {
                let mut features = [0.5, 0.25, 0.5, 0.75];
                features[2 * at] = bad;
                let error = error(&features, 2);
                let is_told = match error {
                    Error::NotFinite { feature } => feature == at && !bad.is_finite(),
                    Error::TooLarge => bad.is_finite(),
                    Error::BadPixels { pixels } => pixels == 1,
                    _ => false,
                };
                assert!(is_told, "{bad} at {at}: {error:?}");
            }
        }
    }
}
