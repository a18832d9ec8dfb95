//! Weights out of a safetensors file go into a network of another number of classes, by a key map that accounts for
//! every key of the file before a value is read.
//!
//! `cargo run --release --example load_checkpoint`

use std::error::Error;
use std::path::Path;

use burn::tensor::Device;
use weakseg::models::backbones::Backbone;
use weakseg::models::params::{Parameters, Value};
use weakseg::models::{Head, Network};
use weakseg::weights::load::{Plan, plan};
use weakseg::weights::{self, Checkpoint, write_safetensors};

/// A classifier of `classes` on the small backbone.
fn classifier(classes: usize) -> Result<Network, Box<dyn Error>> {
    Ok(Network {
        backbone: Backbone::named("nano", 1)?,
        head: Head::Cam { classes },
    })
}

/// Writes a network's parameters under their names.
fn write(path: &Path, network: &Network, parameters: &Parameters) -> Result<(), Box<dyn Error>> {
    let shapes = network.declare().shapes();
    let values = shapes.iter().map(|(name, _)| {
        let value = &parameters.0[name].value;
        value.to_vec().map_err(|error| weights::Error::Other(error.into()))
    });
    Ok(write_safetensors(path, &shapes, values)?)
}

/// Fills what the file has of `parameters`, and gives the report.
fn load(path: &Path, network: &Network, parameters: &mut Parameters, device: &Device) -> Result<Plan, Box<dyn Error>> {
    let file = Checkpoint::open(path)?;
    let plan = plan(&file, network.published_name(), &network.declare().shapes())?;
    for value in plan.values(&file) {
        let (name, values) = value?;
        if let Some(parameter) = parameters.0.get_mut(name) {
            parameter.value = Value::from_slice(&values, &parameter.value.shape(), device)?;
        }
    }
    Ok(plan)
}

/// Writes a classifier of 20 classes, loads it into one of 3, and gives the report and both networks' parameters.
pub fn exchange() -> Result<(Plan, [Parameters; 2]), Box<dyn Error>> {
    let device = Device::flex();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("classifier.safetensors");
    let (theirs, ours) = (classifier(20)?, classifier(3)?);
    let trained = theirs.init(1, &device)?;
    write(&path, &theirs, &trained)?;
    let mut parameters = ours.init(2, &device)?;
    let plan = load(&path, &ours, &mut parameters, &device)?;
    Ok((plan, [trained, parameters]))
}

/// Prints the report.
pub fn main() -> Result<(), Box<dyn Error>> {
    let (plan, _) = exchange()?;
    println!("{} for {}:", plan.source, plan.network);
    println!(
        "  loaded {} parameters, from {} to {}",
        plan.loaded.len(),
        plan.loaded.first().map_or("none", |entry| &entry.name),
        plan.loaded.last().map_or("none", |entry| &entry.name)
    );
    for entry in &plan.skipped {
        println!("  skipped {}: {}", entry.key, entry.reason);
    }
    for entry in &plan.missing {
        println!("  missing {}: {}", entry.name, entry.reason);
    }
    for surprise in plan.surprises() {
        println!("  not expected: {surprise}");
    }
    Ok(())
}
