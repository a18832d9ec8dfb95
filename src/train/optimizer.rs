//! Stochastic gradient descent with momentum and AdamW over named parameters.
//!
//! burn's own optimizers know modules by id and keep their state to themselves; published schedules group parameters by
//! name (biases, fresh layers), and a resumed run has to end with the same bits, so state here is a plain named tensor.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::tensor::{Device, Gradients, Tensor};

use crate::models::params::{Parameters, Role, Value};
use crate::run::Tensors;

/// The update rule.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// PyTorch's SGD: v ← momentum · v + g + decay · p, p ← p - lr · v, without dampening.
    Sgd {
        /// Momentum.
        momentum: f32,
        /// Nesterov's: p ← p - lr · (g + decay · p + momentum · v).
        nesterov: bool,
    },
    /// AdamW (Loshchilov and Hutter 2019), decay apart from the gradient.
    AdamW {
        /// Decay rate of the first moment.
        beta1: f32,
        /// Decay rate of the second moment.
        beta2: f32,
    },
}

/// Learning rate factor and weight decay of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor on the schedule's learning rate.
    pub rate: f32,
    /// Weight decay.
    pub decay: f32,
}

const EPSILON: f32 = 1e-8;

/// An optimizer and its state.
pub struct Optimizer {
    rule: Rule,
    /// Updates made so far.
    step: usize,
    /// First and, for AdamW, second moments by parameter name.
    moments: BTreeMap<String, Vec<Value>>,
}

impl Optimizer {
    /// A fresh optimizer.
    pub fn new(rule: Rule) -> Optimizer {
        Optimizer {
            rule,
            step: 0,
            moments: BTreeMap::new(),
        }
    }

    /// One update of `parameters` with the gradients of their tracked twins, at learning rate `rate`. Parameters that
    /// are not tracked, or that the loss does not reach, stay as they are.
    pub fn update(
        &mut self,
        parameters: &mut Parameters,
        tracked: &Parameters,
        grads: &mut Gradients,
        rate: f32,
        group: impl Fn(&str, Role) -> Group,
    ) {
        self.step += 1;
        for (name, p) in &mut parameters.0 {
            let Some(twin) = tracked.0.get(name) else {
                continue;
            };
            let group = group(name, p.role);
            let state = self.moments.entry(name.clone()).or_default();
            let step = Update {
                rule: self.rule,
                step: self.step,
                rate: rate * group.rate,
                decay: group.decay,
            };
            match (&mut p.value, &twin.value) {
                (Value::Vector(p), Value::Vector(t)) => {
                    let mut moments = state.iter().filter_map(vector).collect();
                    if let Some(grad) = gradient(t, grads) {
                        *p = step.apply(p.clone(), grad, &mut moments);
                        *state = moments.into_iter().map(Value::Vector).collect();
                    }
                }
                (Value::Matrix(p), Value::Matrix(t)) => {
                    let mut moments = state.iter().filter_map(matrix).collect();
                    if let Some(grad) = gradient(t, grads) {
                        *p = step.apply(p.clone(), grad, &mut moments);
                        *state = moments.into_iter().map(Value::Matrix).collect();
                    }
                }
                (Value::Kernel(p), Value::Kernel(t)) => {
                    let mut moments = state.iter().filter_map(kernel).collect();
                    if let Some(grad) = gradient(t, grads) {
                        *p = step.apply(p.clone(), grad, &mut moments);
                        *state = moments.into_iter().map(Value::Kernel).collect();
                    }
                }
                _ => {}
            }
        }
        self.moments.retain(|_, state| !state.is_empty());
    }

    /// The state as named host arrays, for a checkpoint: `optimizer.0.NAME`, `optimizer.1.NAME`.
    pub fn state(&self) -> Result<Tensors> {
        let mut state = Tensors::new();
        for (name, moments) in &self.moments {
            for (i, moment) in moments.iter().enumerate() {
                state.insert(format!("optimizer.{i}.{name}"), (moment.shape(), moment.to_vec()?));
            }
        }
        Ok(state)
    }

    /// Takes up the state that [`Self::state`] gave after `step` updates.
    pub fn restore(&mut self, step: usize, state: &Tensors, device: &Device) -> Result<()> {
        self.step = step;
        self.moments.clear();
        // "optimizer.0." sorts before "optimizer.1.", so that moments arrive in order.
        for (key, (shape, values)) in state {
            let Some((_, name)) = key.strip_prefix("optimizer.").and_then(|k| k.split_once('.')) else {
                continue;
            };
            let value = Value::from_slice(values, shape, device)?;
            self.moments.entry(name.into()).or_default().push(value);
        }
        Ok(())
    }
}

fn gradient<const D: usize>(tracked: &Tensor<D>, grads: &mut Gradients) -> Option<Tensor<D>> {
    tracked.is_require_grad().then(|| tracked.grad_remove(grads)).flatten()
}

fn vector(value: &Value) -> Option<Tensor<1>> {
    match value {
        Value::Vector(t) => Some(t.clone()),
        _ => None,
    }
}

fn matrix(value: &Value) -> Option<Tensor<2>> {
    match value {
        Value::Matrix(t) => Some(t.clone()),
        _ => None,
    }
}

fn kernel(value: &Value) -> Option<Tensor<4>> {
    match value {
        Value::Kernel(t) => Some(t.clone()),
        _ => None,
    }
}

/// One parameter's update.
struct Update {
    rule: Rule,
    step: usize,
    rate: f32,
    decay: f32,
}

impl Update {
    fn apply<const D: usize>(&self, p: Tensor<D>, grad: Tensor<D>, moments: &mut Vec<Tensor<D>>) -> Tensor<D> {
        match self.rule {
            Rule::Sgd { momentum, nesterov } => {
                let grad = if self.decay > 0.0 {
                    grad + p.clone() * self.decay
                } else {
                    grad
                };
                let velocity = match moments.pop() {
                    Some(velocity) => velocity * momentum + grad.clone(),
                    None => grad.clone(),
                };
                moments.push(velocity.clone());
                let step = match nesterov {
                    true => grad + velocity * momentum,
                    false => velocity,
                };
                p - step * self.rate
            }
            Rule::AdamW { beta1, beta2 } => {
                let second = moments.pop();
                let first = moments.pop();
                let mix = |old: Option<Tensor<D>>, new: Tensor<D>, beta: f32| match old {
                    Some(old) => old * beta + new * (1.0 - beta),
                    None => new * (1.0 - beta),
                };
                let first = mix(first, grad.clone(), beta1);
                let second = mix(second, grad.clone() * grad, beta2);
                *moments = vec![first.clone(), second.clone()];
                let t = self.step as i32;
                let unbiased = (1.0 - beta2.powi(t)).sqrt();
                let denominator = second.sqrt() / unbiased + EPSILON;
                let step = first / denominator * (self.rate / (1.0 - beta1.powi(t)));
                p * (1.0 - self.rate * self.decay) - step
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn nesterovs_momentum_looks_ahead() {
        let device = Device::flex();
        let scalar = |value: f32| Tensor::<1>::from_data(TensorData::new(vec![value], [1]), &device);
        let after = |nesterov| {
            let update = Update {
                rule: Rule::Sgd {
                    momentum: 0.9,
                    nesterov,
                },
                step: 1,
                rate: 0.1,
                decay: 0.5,
            };
            let (mut p, mut moments) = (scalar(2.0), Vec::new());
            for gradient in [1.0, -3.0] {
                p = update.apply(p, scalar(gradient), &mut moments);
            }
            p.into_scalar::<f32>()
        };
        // The gradients with decay are 2 and -3 + p / 2; the velocities 2 and 1.8 + that.
        let plain: f32 = 2.0 - 0.1 * 2.0;
        let plain = plain - 0.1 * (1.8 - 3.0 + plain / 2.0);
        let ahead: f32 = 2.0 - 0.1 * (2.0 + 0.9 * 2.0);
        let gradient = -3.0 + ahead / 2.0;
        let ahead = ahead - 0.1 * (gradient + 0.9 * (1.8 + gradient));
        assert!((after(false) - plain).abs() < 1e-5, "{} {plain}", after(false));
        assert!((after(true) - ahead).abs() < 1e-5, "{} {ahead}", after(true));
    }
}
