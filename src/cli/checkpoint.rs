//! A network out of a weight file of anyone's: `weakseg predict --weights FILE --network NAME`.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use burn::tensor::Device;

use crate::models::catalogue::NETWORKS;
use crate::models::params::Parameters;
use crate::models::{Head, Network};
use crate::train::WeightFile;

/// The classes of PASCAL VOC, which published networks have unless one says otherwise.
const VOC: &str = include_str!("../../assets/classes/voc.txt");

/// A network that predicts, and what its masks' values mean.
pub struct Loaded {
    /// Its architecture.
    pub network: Network,
    /// All of its parameters.
    pub parameters: Parameters,
    /// Classes without background, in the order of mask values from 1 on.
    pub classes: Vec<String>,
}

/// The network of the catalogue called `name`, at full width, with the weights in `file`, for the classes that the file
/// `classes` lists, one a line, or VOC's.
///
/// # Errors
/// Where there is no such network or it gives no masks, where the weights are of another network, width or number of
/// classes or lack a parameter, and where a file cannot be read.
pub fn load(file: &Path, name: &str, classes: Option<&Path>, device: &Device) -> Result<Loaded> {
    let classes = match classes {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            read(&text).with_context(|| format!("--classes {}", path.display()))?
        }
        None => read(VOC)?,
    };
    let network = Network::named(name, 1, classes.len())?;
    ensure!(
        segments(&network),
        "--network {name}: it gives no masks: use one of {}",
        segmenters().join(", ")
    );
    let weights = WeightFile::open(file, &network, name)?;
    let mut parameters = network.init(0, device)?;
    if let Some(missing) = weights.missing().first() {
        bail!(
            "{} lacks {} of the {} parameters of {name}, the first of them {} ({}): give weights of a whole trained {name}, and its classes with --classes",
            weights.path().display(),
            weights.missing().len(),
            parameters.0.len(),
            missing.name,
            missing.reason
        );
    }
    weights.read_into(&mut parameters, device)?;
    Ok(Loaded {
        network,
        parameters,
        classes,
    })
}

fn segments(network: &Network) -> bool {
    matches!(
        network.head,
        Head::Segmentation { .. } | Head::DeepLab { .. } | Head::Joint { .. } | Head::CrossAffinity { .. }
    )
}

fn segmenters() -> Vec<&'static str> {
    let gives_masks = |name: &&str| Network::named(name, 1, 1).is_ok_and(|n| segments(&n));
    NETWORKS.iter().map(|entry| entry.name).filter(gives_masks).collect()
}

/// Names, one a line; empty lines do not count.
fn read(text: &str) -> Result<Vec<String>> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let names: Vec<String> = lines.filter(|l| !l.is_empty()).map(String::from).collect();
    ensure!(
        (1..=254).contains(&names.len()),
        "{} classes: list 1 to 254, one a line, without background",
        names.len()
    );
    for (i, name) in names.iter().enumerate() {
        ensure!(!names[..i].contains(name), "the class {name:?} stands there twice");
    }
    Ok(names)
}
