//! The mean field over random unaries and lattices, on both devices.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::{Compatibility, Kernel, mean_field, mean_field_from, pairwise_energy};
use crate::kernels::lattice::Normalisation;
use crate::kernels::lattice::tests::{Filter, Reference, filters, near};
use crate::kernels::testing::{download, on_both_devices, upload};

#[derive(Clone, Debug)]
struct Case {
    on: Filter,
    kernels: Vec<(Compatibility, Normalisation)>,
    iterations: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (filters(), 0..4usize, 0..3usize).prop_flat_map(|(on, iterations, kernels)| {
        let c = on.channels;
        let compatibility = prop_oneof![
            (-2.0..2.0f32).prop_map(Compatibility::Potts),
            proptest::collection::vec(-1.0..1.0f32, c * c).prop_map(Compatibility::Matrix),
        ];
        let normalisation = prop_oneof![
            Just(Normalisation::None),
            Just(Normalisation::Before),
            Just(Normalisation::After),
            Just(Normalisation::Symmetric),
        ];
        proptest::collection::vec((compatibility, normalisation), kernels).prop_map(move |kernels| Case {
            on: on.clone(),
            kernels,
            iterations,
        })
    })
}

impl Case {
    fn kernels(&self, device: &Device) -> Vec<Kernel> {
        let lattice = self.on.lattice(device);
        let kernel = |(compatibility, normalisation): &(Compatibility, Normalisation)| Kernel {
            normalisation: *normalisation,
            ..Kernel::new(lattice.clone(), compatibility.clone())
        };
        self.kernels.iter().map(kernel).collect()
    }

    fn upload(&self, values: &[f32], device: &Device) -> Tensor<2> {
        upload(values, [self.on.channels, self.on.pixels], device)
    }

    fn posterior(&self, device: &Device) -> Vec<f32> {
        let unary = self.upload(&self.on.values, device);
        download(mean_field(unary, &self.kernels(device), self.iterations))
    }

    /// What labels pay for `posterior` `[C, N]`, with the lattice by its definition.
    fn energy(&self, posterior: &[f64]) -> Vec<f64> {
        let (c, n) = (self.on.channels, self.on.pixels);
        let lattice = Reference::new(&self.on.features, self.on.dimensions);
        let sums = lattice.filter(&vec![1.0; n]);
        let mut energy = vec![0.0; c * n];
        for (compatibility, normalisation) in &self.kernels {
            let (before, after) = match normalisation {
                Normalisation::None => (0.0, 0.0),
                Normalisation::Before => (-1.0, 0.0),
                Normalisation::After => (0.0, -1.0),
                Normalisation::Symmetric => (-0.5, -0.5),
            };
            let scale = |values: &[f64], power: f64| -> Vec<f64> {
                values.iter().zip(&sums).map(|(v, sum)| v * sum.powf(power)).collect()
            };
            let filter = |q| scale(&lattice.filter(&scale(q, before)), after);
            let messages: Vec<Vec<f64>> = posterior.chunks(n).map(filter).collect();
            for (i, energy) in energy.iter_mut().enumerate() {
                let (label, pixel) = (i / n, i % n);
                *energy += match compatibility {
                    Compatibility::Potts(w) => -f64::from(*w) * messages[label][pixel],
                    Compatibility::Matrix(m) => {
                        let cost = |other: usize| 0.5 * f64::from(m[label * c + other] + m[other * c + label]);
                        (0..c).map(|other| cost(other) * messages[other][pixel]).sum()
                    }
                };
            }
        }
        energy
    }

    /// Algorithm 1 with the lattice by its definition.
    fn exactly(&self) -> Vec<f64> {
        let c = self.on.channels;
        let unary = self.on.values.iter().map(|u| f64::from(*u));
        let mut posterior = softmax(&unary.clone().map(|u| -u).collect::<Vec<_>>(), c);
        for _ in 0..self.iterations {
            let energy = self.energy(&posterior);
            let logits = unary.clone().zip(energy).map(|(u, e)| -u - e);
            posterior = softmax(&logits.collect::<Vec<_>>(), c);
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
fn energies_equal_their_definition_for_any_posterior() {
    on_both_devices(&cases(), |case, device| {
        // Not probabilities: larger, and negative.
        let posterior: Vec<f32> = case.on.upstream.iter().map(|v| 5.0 * v).collect();
        let expected = case.energy(&posterior.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let energy = pairwise_energy(case.upload(&posterior, device), &case.kernels(device));
        near(&download(energy), &expected, 1e-4)
    });
}

#[test]
fn iterations_one_by_one_give_the_same_bits() {
    on_both_devices(&cases(), |case, device| {
        let (unary, kernels) = (case.upload(&case.on.values, device), case.kernels(device));
        let mut posterior = mean_field(unary.clone(), &kernels, 0);
        for _ in 0..case.iterations {
            posterior = mean_field_from(unary.clone(), posterior, &kernels, 1);
        }
        prop_assert_eq!(download(posterior), case.posterior(device));
        Ok(())
    });
}

#[test]
fn without_costs_the_posterior_is_the_softmax_of_the_unary() {
    on_both_devices(&cases(), |case, device| {
        let c = case.on.channels;
        let nothing = [Compatibility::Potts(0.0), Compatibility::Matrix(vec![0.0; c * c])];
        let free = Case {
            kernels: nothing.map(|costs| (costs, Normalisation::Symmetric)).to_vec(),
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
