//! What a weight file, of this program or published, holds of a network's parameters.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;

use crate::models::Network;
use crate::models::params::{Parameters, Value};
use crate::weights::load::{self, Missing, Plan};
use crate::weights::{Checkpoint, fetch};

/// A weight file, and what of it goes into a network.
pub struct WeightFile {
    path: PathBuf,
    checkpoint: Checkpoint,
    plan: Plan,
}

impl WeightFile {
    /// The file at `path`, or the published one of that name, for `network`, whose weights are published as those of
    /// `name`.
    ///
    /// # Errors
    /// Where it cannot be had or read, or none of it fits.
    pub fn open(path: &Path, network: &Network, name: &str) -> Result<WeightFile> {
        let path = fetch::file(path)?;
        let checkpoint = Checkpoint::open(&path)?;
        let plan = load::plan(&checkpoint, name, &network.declare().shapes())?;
        Ok(WeightFile { path, checkpoint, plan })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was taken off or skipped to get at the network, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.checkpoint.notes().to_vec();
        if !self.plan.prefix.is_empty() {
            notes.push(format!("the network's keys begin with {}", self.plan.prefix));
        }
        notes
    }

    /// What is not as in a file of such weights, one sentence each, as [`Plan::surprises`]: parameters that it lacks, and
    /// keys that nothing is known of.
    pub fn surprises(&self) -> Vec<String> {
        self.plan.surprises()
    }

    /// The parameters of the network that it lacks, in the order in which they are declared.
    pub fn missing(&self) -> &[Missing] {
        &self.plan.missing
    }

    /// Replaces the values of those of `parameters` that it holds, and returns how many these are.
    ///
    /// # Errors
    /// Where a value cannot be decoded.
    pub fn read_into(&self, parameters: &mut Parameters, device: &Device) -> Result<usize> {
        let mut read = 0;
        for value in self.plan.values(&self.checkpoint) {
            let (name, values) = value?;
            if let Some(parameter) = parameters.0.get_mut(name) {
                parameter.value = Value::from_slice(&values, &parameter.value.shape(), device)?;
                read += 1;
            }
        }
        Ok(read)
    }
}
