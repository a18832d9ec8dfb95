//! A network's parameters by their PyTorch state-dict names: what checkpoints, weight files, freezing and optimizer
//! groups all speak.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};

use crate::device::download;

/// What a parameter is, which decides how it is initialised and grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Convolution kernel `[out, in, k, k]`.
    Kernel,
    /// Bias of a convolution `[out]`.
    Bias,
    /// Batch-norm scale `[C]`.
    Scale,
    /// Batch-norm shift `[C]`.
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

    /// Whether it belongs to a batch norm.
    pub fn is_norm(self) -> bool {
        !matches!(self, Role::Kernel | Role::Bias)
    }
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
    /// A convolution kernel `NAME.weight` `[output, input, size, size]`.
    pub fn conv(&mut self, name: &str, input: usize, output: usize, size: usize) {
        self.push(
            format!("{name}.weight"),
            vec![output, input, size, size],
            Role::Kernel,
        );
    }

    /// The bias of a convolution, `NAME.bias` `[output]`.
    pub fn bias(&mut self, name: &str, output: usize) {
        self.push(format!("{name}.bias"), vec![output], Role::Bias);
    }

    /// A batch norm over `channels`.
    pub fn batch_norm(&mut self, name: &str, channels: usize) {
        for (entry, role) in [
            ("weight", Role::Scale),
            ("bias", Role::Shift),
            ("running_mean", Role::Mean),
            ("running_var", Role::Variance),
        ] {
            self.push(format!("{name}.{entry}"), vec![channels], role);
        }
    }

    fn push(&mut self, name: String, shape: Vec<usize>, role: Role) {
        self.0.push(Declared { name, shape, role });
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

/// The value of a parameter: convolution kernels have four dimensions, everything else one.
#[derive(Clone, Debug)]
pub enum Value {
    /// `[C]`
    Vector(Tensor<1>),
    /// `[out, in, k, k]`
    Kernel(Tensor<4>),
}

/// Applies one expression to the tensor in a [`Value`], whatever its rank.
macro_rules! map_value {
    ($value:expr, $tensor:ident => $body:expr) => {
        match $value {
            $crate::models::params::Value::Vector($tensor) => {
                $crate::models::params::Value::Vector($body)
            }
            $crate::models::params::Value::Kernel($tensor) => {
                $crate::models::params::Value::Kernel($body)
            }
        }
    };
}

impl Value {
    /// A value from host memory; `shape` has one or four dimensions.
    pub fn from_slice(values: &[f32], shape: &[usize], device: &Device) -> Result<Value> {
        let data = TensorData::new(values.to_vec(), shape.to_vec());
        match shape.len() {
            1 => Ok(Value::Vector(Tensor::from_data(data, device))),
            4 => Ok(Value::Kernel(Tensor::from_data(data, device))),
            _ => bail!("a parameter of shape {shape:?}: expected one dimension or four"),
        }
    }

    /// Copies the values to host memory.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        match self {
            Value::Vector(t) => download(t.clone()),
            Value::Kernel(t) => download(t.clone()),
        }
    }

    /// The shape.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Value::Vector(t) => t.dims().to_vec(),
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
            parameters.insert(
                p.name.clone(),
                Parameter {
                    value,
                    role: p.role,
                },
            );
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
            (
                name.clone(),
                Parameter {
                    value,
                    role: p.role,
                },
            )
        });
        Parameters(lifted.collect())
    }

    /// What [`Self::track`] lifted, back on the device without autodiff.
    pub fn inner(&self) -> Parameters {
        let lowered = self.0.iter().map(|(name, p)| {
            let value = map_value!(p.value.clone(), t => t.inner());
            (
                name.clone(),
                Parameter {
                    value,
                    role: p.role,
                },
            )
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

    /// A vector `[C]`. Panics where the network did not declare it.
    pub fn vector(&self, name: &str) -> Tensor<1> {
        match self.0.get(name).map(|p| &p.value) {
            Some(Value::Vector(t)) => t.clone(),
            _ => panic!("the network declares no vector {name}"),
        }
    }
}
