//! The mean field over random unaries and lattices, on both devices.

use burn::tensor::Device;
use proptest::prelude::*;

use super::{Compatibility, mean_field};
use crate::kernels::lattice::Lattice;
use crate::kernels::lattice::tests::{Filter, Reference, filters, near};
use crate::kernels::testing::{download, on_both_devices, upload};

#[derive(Clone, Debug)]
struct Case {
    on: Filter,
    compatibility: Vec<Compatibility>,
    iterations: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (filters(), 0..4usize, 0..3usize).prop_flat_map(|(on, iterations, kernels)| {
        let c = on.channels;
        let compatibility = prop_oneof![
            (-2.0..2.0f32).prop_map(Compatibility::Potts),
            proptest::collection::vec(-1.0..1.0f32, c * c).prop_map(Compatibility::Matrix),
        ];
        proptest::collection::vec(compatibility, kernels).prop_map(move |compatibility| Case {
            on: on.clone(),
            compatibility,
            iterations,
        })
    })
}

impl Case {
    fn posterior(&self, device: &Device) -> Vec<f32> {
        let lattice = self.on.lattice(device);
        let kernels: Vec<(Lattice, Compatibility)> = self
            .compatibility
            .iter()
            .map(|compatibility| (lattice.clone(), compatibility.clone()))
            .collect();
        let unary = upload(&self.on.values, [self.on.channels, self.on.pixels], device);
        download(mean_field(unary, &kernels, self.iterations))
    }

    /// Algorithm 1 with the lattice by its definition.
    fn exactly(&self) -> Vec<f64> {
        let (c, n) = (self.on.channels, self.on.pixels);
        let lattice = Reference::new(&self.on.features, self.on.dimensions);
        let norm: Vec<f64> = lattice.filter(&vec![1.0; n]).iter().map(|v| v.sqrt().recip()).collect();
        let unary = || self.on.values.iter().map(|u| -f64::from(*u)).collect::<Vec<_>>();
        let mut posterior = softmax(&unary(), c);
        for _ in 0..self.iterations {
            let messages: Vec<Vec<f64>> = posterior
                .chunks(n)
                .map(|q| {
                    let sent: Vec<f64> = q.iter().zip(&norm).map(|(q, n)| q * n).collect();
                    let received = lattice.filter(&sent);
                    received.iter().zip(&norm).map(|(m, n)| m * n).collect()
                })
                .collect();
            let mut logits = unary();
            for compatibility in &self.compatibility {
                for (i, logit) in logits.iter_mut().enumerate() {
                    let (label, pixel) = (i / n, i % n);
                    match compatibility {
                        Compatibility::Potts(w) => *logit += f64::from(*w) * messages[label][pixel],
                        Compatibility::Matrix(m) => {
                            for (other, message) in messages.iter().enumerate() {
                                let cost = m[label * c + other] + m[other * c + label];
                                *logit -= 0.5 * f64::from(cost) * message[pixel];
                            }
                        }
                    }
                }
            }
            posterior = softmax(&logits, c);
        }
        posterior
    }
}

/// Over the labels of logits `[C, N]`.
fn softmax(logits: &[f64], c: usize) -> Vec<f64> {
    let n = logits.len() / c;
    let sum = |pixel: usize| -> f64 { (0..c).map(|l| logits[l * n + pixel].exp()).sum() };
    let entries = logits.iter().enumerate();
    entries.map(|(i, logit)| logit.exp() / sum(i % n)).collect()
}

#[test]
fn posterior_equals_its_definition_and_its_twin() {
    on_both_devices(&cases(), |case, device| {
        let actual = case.posterior(device);
        near(&actual, &case.exactly(), 1e-4)?;
        let twin: Vec<f64> = case.posterior(&Device::flex()).into_iter().map(f64::from).collect();
        near(&actual, &twin, 1e-5)
    });
}

#[test]
fn without_costs_the_posterior_is_the_softmax_of_the_unary() {
    on_both_devices(&cases(), |case, device| {
        let c = case.on.channels;
        let nothing = [Compatibility::Potts(0.0), Compatibility::Matrix(vec![0.0; c * c])];
        let free = Case {
            compatibility: nothing.to_vec(),
            ..case.clone()
        };
        let logits: Vec<f64> = case.on.values.iter().map(|u| -f64::from(*u)).collect();
        near(&free.posterior(device), &softmax(&logits, c), 1e-6)
    });
}

#[test]
fn two_runs_give_the_same_bits() {
    on_both_devices(&cases(), |case, device| {
        prop_assert_eq!(case.posterior(device), case.posterior(device));
        Ok(())
    });
}
