//! A network's parameters by the names that its published weights have, PyTorch's or MXNet's: what checkpoints, weight
//! files, freezing and optimizer groups all speak.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};

use crate::device::download;

/// What a parameter is, which decides how it is initialised and grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Convolution kernel `[out, in, k, k]`, or matrix of a linear layer `[out, in]`.
    Kernel,
    /// Bias of a convolution `[out]`.
    Bias,
    /// Batch-norm or group-norm scale `[C]`.
    Scale,
    /// Batch-norm or group-norm shift `[C]`.
    Shift,
    /// Batch-norm running mean `[C]`: a statistic, never trained by gradient.
    Mean,
    /// Batch-norm running variance `[C]`.
    Variance,
}

impl Role {
    /// Whether gradient descent may change it.
    pub fn is_trainable(self) -> bool {
        !matches!(self, Role::Mean | Role::Variance)
    }

    /// Whether it belongs to a normalisation.
    pub fn is_norm(self) -> bool {
        !matches!(self, Role::Kernel | Role::Bias)
    }
}

/// The name of a layer's parameter: `LAYER.weight` as in PyTorch's state dicts, or, where the layer's own name ends in
/// `_`, as MXNet has it: `bn0_` → `bn0_gamma`.
pub fn entry(layer: &str, role: Role) -> String {
    let (torch, mxnet) = match role {
        Role::Kernel => ("weight", "weight"),
        Role::Bias => ("bias", "bias"),
        Role::Scale => ("weight", "gamma"),
        Role::Shift => ("bias", "beta"),
        Role::Mean => ("running_mean", "moving_mean"),
        Role::Variance => ("running_var", "moving_var"),
    };
    if layer.ends_with('_') {
        format!("{layer}{mxnet}")
    } else {
        format!("{layer}.{torch}")
    }
}

/// Whether `parameter` belongs to `layer`, or to a layer inside of it: `classifier.0.convs.0.0.weight` to `classifier`.
pub fn belongs(parameter: &str, layer: &str) -> bool {
    parameter
        .strip_prefix(layer)
        .is_some_and(|rest| layer.ends_with('_') || rest.starts_with('.'))
}

/// A parameter that a network declares.
#[derive(Clone, Debug)]
pub struct Declared {
    /// State-dict name, such as `b4_1.conv_branch2a.weight`.
    pub name: String,
    /// Its shape, as PyTorch has it.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
}

/// The parameters that a network declares, in order.
#[derive(Clone, Debug, Default)]
pub struct Declarations(pub Vec<Declared>);

impl Declarations {
    /// The kernel `[output, input, size, size]` of the convolution `layer`.
    pub fn conv(&mut self, layer: &str, input: usize, output: usize, size: usize) {
        self.push(layer, vec![output, input, size, size], Role::Kernel);
    }

    /// The bias `[output]` of the convolution `layer`.
    pub fn bias(&mut self, layer: &str, output: usize) {
        self.push(layer, vec![output], Role::Bias);
    }

    /// The matrix `[output, input]` of the linear layer `layer`.
    pub fn linear(&mut self, layer: &str, input: usize, output: usize) {
        self.push(layer, vec![output, input], Role::Kernel);
    }

    /// A batch norm over `channels`.
    pub fn batch_norm(&mut self, layer: &str, channels: usize) {
        for role in [Role::Scale, Role::Shift, Role::Mean, Role::Variance] {
            self.push(layer, vec![channels], role);
        }
    }

    /// A group norm over `channels`.
    pub fn group_norm(&mut self, layer: &str, channels: usize) {
        for role in [Role::Scale, Role::Shift] {
            self.push(layer, vec![channels], role);
        }
    }

    fn push(&mut self, layer: &str, shape: Vec<usize>, role: Role) {
        let name = entry(layer, role);
        self.0.push(Declared { name, shape, role });
    }

    /// Names and shapes, as [`crate::weights`] takes them.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let shape = |p: &Declared| (p.name.clone(), p.shape.clone());
        self.0.iter().map(shape).collect()
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.0
            .iter()
            .filter(|p| p.role.is_trainable())
            .map(|p| p.shape.iter().product::<usize>())
            .sum()
    }
}

/// The value of a parameter: convolution kernels have four dimensions, linear layers two, everything else one.
#[derive(Clone, Debug)]
pub enum Value {
    /// `[C]`
    Vector(Tensor<1>),
    /// `[out, in]`
    Matrix(Tensor<2>),
    /// `[out, in, k, k]`
    Kernel(Tensor<4>),
}

/// Applies one expression to the tensor in a [`Value`], whatever its rank.
macro_rules! map_value {
    ($value:expr, $tensor:ident => $body:expr) => {
        match $value {
            $crate::models::params::Value::Vector($tensor) => $crate::models::params::Value::Vector($body),
            $crate::models::params::Value::Matrix($tensor) => $crate::models::params::Value::Matrix($body),
            $crate::models::params::Value::Kernel($tensor) => $crate::models::params::Value::Kernel($body),
        }
    };
}

impl Value {
    /// A value from host memory; `shape` has one, two or four dimensions.
    pub fn from_slice(values: &[f32], shape: &[usize], device: &Device) -> Result<Value> {
        let data = TensorData::new(values.to_vec(), shape.to_vec());
        match shape.len() {
            1 => Ok(Value::Vector(Tensor::from_data(data, device))),
            2 => Ok(Value::Matrix(Tensor::from_data(data, device))),
            4 => Ok(Value::Kernel(Tensor::from_data(data, device))),
            _ => bail!("a parameter of shape {shape:?}: expected one, two or four dimensions"),
        }
    }

    /// Copies the values to host memory.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        match self {
            Value::Vector(t) => download(t.clone()),
            Value::Matrix(t) => download(t.clone()),
            Value::Kernel(t) => download(t.clone()),
        }
    }

    /// The shape.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Value::Vector(t) => t.dims().to_vec(),
            Value::Matrix(t) => t.dims().to_vec(),
            Value::Kernel(t) => t.dims().to_vec(),
        }
    }
}

/// A parameter's value and role.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The value on its device.
    pub value: Value,
    /// What it is.
    pub role: Role,
}

/// All parameters of a network on one device, by name.
#[derive(Clone, Debug, Default)]
pub struct Parameters(pub BTreeMap<String, Parameter>);

impl Parameters {
    /// Fills every declared parameter from `init(declared) -> values`.
    pub fn init(
        declared: &Declarations,
        device: &Device,
        mut init: impl FnMut(&Declared) -> Vec<f32>,
    ) -> Result<Parameters> {
        let mut parameters = BTreeMap::new();
        for p in &declared.0 {
            let value = Value::from_slice(&init(p), &p.shape, device)?;
            parameters.insert(p.name.clone(), Parameter { value, role: p.role });
        }
        Ok(Parameters(parameters))
    }

    /// The same parameters on `device.autodiff()`, with gradients tracked for the names that `trains` selects.
    pub fn track(&self, trains: impl Fn(&str, Role) -> bool) -> Parameters {
        let lifted = self.0.iter().map(|(name, p)| {
            let tracked = p.role.is_trainable() && trains(name, p.role);
            let value = map_value!(p.value.clone(), t => {
                let t = Tensor::from_inner(t);
                if tracked { t.require_grad() } else { t }
            });
            (name.clone(), Parameter { value, role: p.role })
        });
        Parameters(lifted.collect())
    }

    /// The same parameters on another device.
    ///
    /// # Errors
    /// Where they cannot be read back from their own.
    pub fn on(&self, device: &Device) -> Result<Parameters> {
        let copied = self.0.iter().map(|(name, p)| {
            let value = Value::from_slice(&p.value.to_vec()?, &p.value.shape(), device)?;
            Ok((name.clone(), Parameter { value, role: p.role }))
        });
        Ok(Parameters(copied.collect::<Result<_>>()?))
    }

    /// What [`Self::track`] lifted, back on the device without autodiff.
    pub fn inner(&self) -> Parameters {
        let lowered = self.0.iter().map(|(name, p)| {
            let value = map_value!(p.value.clone(), t => t.inner());
            (name.clone(), Parameter { value, role: p.role })
        });
        Parameters(lowered.collect())
    }

    /// A kernel `[out, in, k, k]`. Panics where the network did not declare it: a mistake in the network's code.
    pub fn kernel(&self, name: &str) -> Tensor<4> {
        match self.0.get(name).map(|p| &p.value) {
            Some(Value::Kernel(t)) => t.clone(),
            _ => panic!("the network declares no kernel {name}"),
        }
    }

    /// A matrix `[out, in]`. Panics where the network did not declare it.
    pub fn matrix(&self, name: &str) -> Tensor<2> {
        match self.0.get(name).map(|p| &p.value) {
            Some(Value::Matrix(t)) => t.clone(),
            _ => panic!("the network declares no matrix {name}"),
        }
    }

    /// A vector `[C]`. Panics where the network did not declare it.
    pub fn vector(&self, name: &str) -> Tensor<1> {
        match self.0.get(name).map(|p| &p.value) {
            Some(Value::Vector(t)) => t.clone(),
            _ => panic!("the network declares no vector {name}"),
        }
    }
}
