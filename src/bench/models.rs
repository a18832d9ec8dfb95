//! The networks of the papers: parameters, multiply-adds, and time and memory of inference on a device.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use serde::Serialize;

use super::{PAIRS, median, memory, seconds};
use crate::models::Network;
use crate::models::catalogue::{NETWORKS, PaperNetwork};
use crate::models::forward::{Forward, Mode};
use crate::progress;

/// Foreground classes: those of PASCAL VOC 2012, as in the papers.
const CLASSES: usize = 20;

/// A network at an image size.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Name in [`NETWORKS`].
    pub name: &'static str,
    /// Name of its backbone.
    pub backbone: &'static str,
    /// What uses it.
    pub used_by: &'static str,
    /// Trainable values.
    pub parameters: usize,
    /// Multiply-adds per image in inference.
    pub multiply_adds: u64,
    /// Multiply-adds per image in training on pairs, for networks that look at related images.
    pub pair_multiply_adds: Option<u64>,
    /// Time and memory, where they were asked for.
    pub measured: Option<Measured>,
}

/// Inference of one image, two for networks that need pairs.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Median of five passes after two to warm up.
    pub milliseconds: f64,
    /// Peak memory in bytes beyond the parameters; see [`memory::peak`].
    pub bytes: u64,
}

/// The networks called `names`, all where there are none, for images of `height` x `width`; measured where a `device`
/// is given.
///
/// # Errors
/// On an unknown name, or where the device gives no result.
pub fn list(names: &[String], [height, width]: [usize; 2], device: Option<&Device>) -> Result<Vec<Model>> {
    let mut chosen: Vec<&PaperNetwork> = NETWORKS.iter().collect();
    if !names.is_empty() {
        for name in names {
            Network::named(name, 1, CLASSES)?;
        }
        chosen.retain(|entry| names.iter().any(|name| name == entry.name));
    }
    let bar = progress::bar(chosen.len() as u64, "network", "models");
    let mut models = Vec::new();
    for entry in chosen {
        bar.message(entry.name);
        let network = Network::named(entry.name, 1, CLASSES)?;
        models.push(Model {
            name: entry.name,
            backbone: entry.backbone,
            used_by: entry.used_by,
            parameters: network.declare().count(),
            multiply_adds: network.multiply_adds(height, width)?,
            pair_multiply_adds: network.pair_multiply_adds(height, width)?,
            measured: device
                .map(|device| measure(&network, [height, width], device))
                .transpose()
                .with_context(|| entry.name)?,
        });
        bar.inc(1);
    }
    bar.finish();
    Ok(models)
}

fn measure(network: &Network, [height, width]: [usize; 2], device: &Device) -> Result<Measured> {
    let parameters = network.init(0, device)?;
    let images = Tensor::<4>::zeros([1, 3, height, width], device);
    let pass = || {
        let f = Forward::new(&parameters, Mode::Inference);
        network.infer(&f, images.clone())
    };
    // Twice: the first pass compiles and tunes kernels.
    pass()?;
    let bytes = memory::peak(device, &pass)?;
    let times = (0..PAIRS).map(|_| seconds(&pass)).collect::<Result<_>>()?;
    Ok(Measured {
        milliseconds: 1e3 * median(times).unwrap_or(f64::NAN),
        bytes,
    })
}

/// The models as aligned text.
pub fn table(models: &[Model], [height, width]: [usize; 2]) -> String {
    let measured = models.iter().any(|m| m.measured.is_some());
    let mut text = format!("images of {height} x {width}, {CLASSES} classes\n");
    text += &format!("{:<26} {:>12} {:>15}", "network", "parameters", "multiply-adds");
    if measured {
        text += &format!(" {:>10} {:>9}", "time", "memory");
    }
    text += "  used by\n";
    for m in models {
        let millions = format!("{:.1} M", m.parameters as f64 / 1e6);
        let billions = |count: u64| format!("{:.1} G", count as f64 / 1e9);
        text += &format!("{:<26} {millions:>12} {:>15}", m.name, billions(m.multiply_adds));
        if let Some(of) = &m.measured {
            let (time, memory) = (of.milliseconds, of.bytes as f64 / 1e6);
            text += &format!(" {:>10} {:>9}", format!("{time:.1} ms"), format!("{memory:.0} MB"));
        }
        text += &format!("  {}", m.used_by);
        if let Some(pair) = m.pair_multiply_adds {
            text += &format!(" ({} in training on pairs)", billions(pair));
        }
        text.push('\n');
    }
    text
}
