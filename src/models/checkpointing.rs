//! Gradient checkpointing (Chen et al. 2016): the feature maps inside of a network's sections are not kept for the
//! backward pass but computed again in it, one section at a time.

use burn::tensor::{Gradients, Tensor};

use super::forward::{Forward, Section};
use super::params::Value;

impl Forward<'_> {
    /// `part` of the network on `x`. Where the pass checkpoints, only `x` and the results are kept of it until
    /// [`Self::finish_backward`], as long as `x` is an image or comes from a section unchanged.
    pub fn section<const N: usize>(
        &self,
        x: Tensor<4>,
        part: impl Fn(&Forward, Tensor<4>) -> [Tensor<4>; N] + 'static,
    ) -> [Tensor<4>; N] {
        let Some(sections) = &self.sections else {
            return part(self, x);
        };
        if x.is_tracked() && !x.is_require_grad() {
            // Its gradient would end here.
            return part(self, x);
        }
        let constants = sections.constants.get_or_init(|| self.constants());
        let pass = Forward::new(constants, self.mode);
        let dropout = self.dropout.borrow().clone();
        pass.dropout.replace(dropout.clone());
        let outputs = part(&pass, x.clone().inner()).map(Tensor::from_inner);
        let trains = self.take_over(pass);
        if !(trains || x.is_tracked()) {
            return outputs;
        }
        let outputs = outputs.map(Tensor::require_grad);
        sections.passed.borrow_mut().push(Section {
            input: x,
            outputs: outputs.to_vec(),
            dropout,
            part: Box::new(move |f, x| part(f, x).into()),
        });
        outputs
    }

    /// Adds what a pass over a section has gathered to this one; returns whether any kernel that it used trains.
    fn take_over(&self, pass: Forward) -> bool {
        self.dropout.replace(pass.dropout.into_inner());
        let statistics = pass.statistics.into_inner();
        self.statistics.borrow_mut().extend(statistics);
        let work = pass.work.into_inner();
        let trains = work.kernels.iter().any(|(name, _)| match self.parameters.0.get(name) {
            Some(parameter) => match &parameter.value {
                Value::Vector(t) => t.is_require_grad(),
                Value::Matrix(t) => t.is_require_grad(),
                Value::Kernel(t) => t.is_require_grad(),
            },
            None => false,
        });
        let mut sum = self.work.borrow_mut();
        sum.kernels.extend(work.kernels);
        sum.products += work.products;
        sum.convolutions.extend(work.convolutions);
        trains
    }

    /// Completes `grads`, which the objective's backward pass gave up to the outputs of the last sections: passes every
    /// section again, from the last to the first, and adds its gradients. Nothing to do in a pass that does not
    /// checkpoint.
    pub fn finish_backward(&self, grads: &mut Gradients) {
        let passed = self.sections.as_ref().map(|sections| sections.passed.take());
        for section in passed.into_iter().flatten().rev() {
            let seeds = section.outputs.iter().map(|y| y.grad_remove(grads));
            let seeds: Vec<Option<Tensor<4>>> = seeds.collect();
            let pass = Forward::new(self.parameters, self.mode);
            pass.dropout.replace(section.dropout);
            let mut input = Tensor::from_inner(section.input.clone().inner());
            if section.input.is_tracked() {
                input = input.require_grad();
            }
            // The gradient of Σ y g by y is g.
            let objective = (section.part)(&pass, input.clone())
                .into_iter()
                .zip(seeds)
                .filter_map(|(y, seed)| Some((y * Tensor::from_inner(seed?)).sum()))
                .reduce(|a, b| a + b);
            let Some(objective) = objective.filter(|objective| objective.is_tracked()) else {
                continue;
            };
            let mut own = objective.backward();
            carry(&input, &mut own, &section.input, grads);
            for parameter in self.parameters.0.values() {
                match &parameter.value {
                    Value::Vector(t) => carry(t, &mut own, t, grads),
                    Value::Matrix(t) => carry(t, &mut own, t, grads),
                    Value::Kernel(t) => carry(t, &mut own, t, grads),
                }
            }
        }
    }
}

/// Adds the gradient of `from` in `own` to that of `to` in `grads`.
fn carry<const D: usize>(from: &Tensor<D>, own: &mut Gradients, to: &Tensor<D>, grads: &mut Gradients) {
    if let Some(gradient) = from.grad_remove(own) {
        let sum = match to.grad_remove(grads) {
            Some(other) => gradient + other,
            None => gradient,
        };
        to.grad_replace(grads, sum);
    }
}

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::models::Network;
    use crate::models::forward::Mode;
    use crate::train::trains;

    /// Every parameter's gradient after a pass with dropout over two images of 33 x 25.
    fn gradients(network: &Network, checkpointing: bool) -> BTreeMap<String, Vec<f32>> {
        let device = Device::flex();
        let parameters = network.init(1, &device).unwrap();
        let tracked = parameters.track(|name, role| trains(network, name, role));
        let mode = Mode::Frozen(Some(7));
        let f = Forward::new(&tracked, mode).checkpointing(checkpointing);
        let values = (0..2 * 3 * 33 * 25).map(|i| ((i * 37) % 101) as f32 / 101.0);
        let data = TensorData::new(values.collect::<Vec<f32>>(), [2, 3, 33, 25]);
        let levels = network.levels(&f, Tensor::from_data(data, &device.autodiff()));
        let objective =
            levels.low.square().sum() + levels.middle.square().sum() * 0.5 + levels.high.square().sum() * 0.25;
        let mut grads = objective.backward();
        f.finish_backward(&mut grads);
        let mut found = BTreeMap::new();
        for (name, parameter) in &tracked.0 {
            let Value::Kernel(kernel) = &parameter.value else {
                continue;
            };
            if let Some(gradient) = kernel.grad(&grads) {
                found.insert(name.clone(), gradient.into_data().try_to_vec().unwrap());
            }
        }
        found
    }

    #[test]
    fn gradients_are_those_without_checkpointing() {
        for name in [
            "resnet38_rrm",
            "vgg16_largefov_cls",
            "vgg16_coattention",
            "deeplab_resnet50",
            "cian_resnet50",
        ] {
            let network = Network::named(name, 32, 2).unwrap();
            let plain = gradients(&network, false);
            assert!(plain.len() > 10, "{name}: {} gradients", plain.len());
            let ours = gradients(&network, true);
            assert!(plain.keys().eq(ours.keys()), "{name}");
            for (parameter, plain) in &plain {
                // Where three gradients meet, they are added in another order.
                let largest = plain.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                for (a, b) in plain.iter().zip(&ours[parameter]) {
                    let error = (a - b).abs();
                    assert!(error <= 1e-5 * largest, "{name} {parameter}: {a} {b}");
                }
            }
        }
    }
}
