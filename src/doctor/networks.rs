//! A small network of every kind: nano with each head that recipes give it, and the papers' networks at the least width.

use anyhow::{Context as _, Result};
use burn::tensor::{Device, Gradients, Tensor};

use super::check::{Check, Cost, Part};
use super::input::{Input, Layout, backward, values, words};
use crate::device::download;
use crate::models::backbones::{Backbone, narrowest};
use crate::models::catalogue::{NETWORKS, PaperNetwork};
use crate::models::forward::{Forward, Mode};
use crate::models::heads::cam;
use crate::models::heads::cross_affinity::Merge;
use crate::models::params::{Declared, Parameters, Role, Value};
use crate::models::{Head, Network};

/// What golden files are compared at on adapters.
const RESULT: f64 = 1e-3;
const GRADIENT: f64 = 1e-2;
const CLASSES: usize = 3;
/// Images `[B, 3, H, W]` of odd sizes; a pair for the networks that take pairs.
const IMAGES: [usize; 4] = [2, 3, 33, 41];
/// Feature maps of a single row.
const FLAT: [usize; 4] = [2, 3, 4, 19];

/// Of the networks of the papers, one for each kind of layer: residual blocks with cross attention, plain convolutions with
/// co-attention, an atrous pyramid, depthwise convolutions.
const KINDS: [&str; 4] = [
    "cian_resnet50",
    "vgg16_coattention",
    "deeplabv3_resnet50",
    "efficientnet_lite0_segmentation",
];

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    let heads = [
        ("nano cam", Head::Cam { classes: CLASSES }),
        ("nano affinity", Head::Affinity { channels: [8, 16, 24] }),
        ("nano segmentation", Head::Segmentation { classes: CLASSES }),
    ];
    let nano = heads.into_iter().flat_map(|(name, head)| {
        let checks = [(IMAGES, Layout::Contiguous), (FLAT, Layout::Transposed)];
        checks.map(|(shape, layout)| {
            let cost = if shape == FLAT { Cost::High } else { Cost::Tuning };
            check(name, shape, layout, move || nano(head)).costing(cost)
        })
    });
    let published = NETWORKS.iter().filter(|e| is_checked(e)).map(|entry| {
        let divisor = narrowest(entry.backbone);
        let build = move || Network::named(entry.name, divisor, CLASSES);
        let name = format!("{}/{divisor}", entry.name);
        let cost = if KINDS.contains(&entry.name) {
            Cost::Tuning
        } else {
            Cost::High
        };
        check(&name, IMAGES, Layout::Contiguous, build).costing(cost)
    });
    nano.chain(published).collect()
}

/// Of a backbone that has no narrow form, a network with all of its layers, and no other.
fn is_checked(entry: &PaperNetwork) -> bool {
    narrowest(entry.backbone) > 1 || entry.name == "efficientnet_lite0_segmentation"
}

fn nano(head: Head) -> Result<Network> {
    Ok(Network {
        backbone: Backbone::named("nano", 1)?,
        head,
    })
}

fn check(
    name: &str,
    shape: [usize; 4],
    layout: Layout,
    build: impl Fn() -> Result<Network> + Clone + 'static,
) -> Check {
    let again = build.clone();
    Check::new(
        name,
        words(&shape, layout),
        "networks",
        move |device| on(&build()?, shape, layout, device),
        move || on(&again()?, shape, layout, &Device::flex()),
    )
}

/// Inference, and the gradients in training: of the parameters alone, as a step has it, then of images and parameters.
fn on(network: &Network, shape: [usize; 4], layout: Layout, device: &Device) -> Result<Vec<Part>> {
    let mut seed = 100;
    let parameters = Parameters::init(&network.declare(), device, |p| {
        seed += 1;
        initial(network, p, seed)
    })?;
    let pixels = values(shape.iter().product(), 21, -1.0, 1.0);
    let images = Input::new(&pixels, shape, layout, device).tensor();
    let f = Forward::new(&parameters, Mode::Inference);
    let results = outputs(network, &f, images)?
        .into_iter()
        .map(download)
        .collect::<Result<_>>()?;

    // First, before the pass with more gradients could make up for it.
    let images = Input::new(&pixels, shape, layout, device).tensor();
    let (alone, _) = trained(network, &parameters, Tensor::from_inner(images))?;
    let images = Input::new(&pixels, shape, layout, &device.clone().autodiff());
    let (mut tensors, mut gradients) = trained(network, &parameters, images.tensor())?;
    tensors.push(images.gradient(&mut gradients)?);
    let part = |name, tensors, tolerance| Part {
        name,
        tensors,
        tolerance,
    };
    Ok(vec![
        part("result", results, RESULT),
        part("gradient of parameters alone", alone, GRADIENT),
        part("gradient", tensors, GRADIENT),
    ])
}

/// The gradients of the parameters in a training step on images with autodiff, and all others.
fn trained(network: &Network, parameters: &Parameters, images: Tensor<4>) -> Result<(Vec<Vec<f32>>, Gradients)> {
    let tracked = parameters.track(|_, _| true);
    let mode = if network.backbone.from_scratch() {
        Mode::Train(None)
    } else {
        Mode::Frozen(None)
    };
    let outputs = outputs(network, &Forward::new(&tracked, mode), images)?;
    let flat: Vec<Tensor<1>> = outputs
        .into_iter()
        .map(|out| {
            let count = out.dims().iter().product::<usize>();
            out.reshape([count])
        })
        .collect();
    let flat = Tensor::cat(flat, 0);
    let mut gradients = backward(&flat, &values(flat.dims()[0], 22, -0.2, 1.0));
    let mut tensors = Vec::new();
    for parameter in tracked.0.values() {
        // A layer that a head does not use has no gradient, on any device.
        let gradient = match &parameter.value {
            Value::Vector(t) => t.grad_remove(&mut gradients).map(download),
            Value::Matrix(t) => t.grad_remove(&mut gradients).map(download),
            Value::Kernel(t) => t.grad_remove(&mut gradients).map(download),
        };
        tensors.push(gradient.transpose()?.unwrap_or_default());
    }
    Ok((tensors, gradients))
}

/// Parameters that leave no layer without effect, as fresh ones would, and keep deep networks within a few units.
fn initial(network: &Network, p: &Declared, seed: u32) -> Vec<f32> {
    let n = p.shape.iter().product();
    match p.role {
        Role::Kernel => {
            let inputs: usize = p.shape[1..].iter().product();
            // Attention takes the head's products to the exponential.
            let gain = if network.is_head(&p.name) { 0.5 } else { 2.4 };
            let bound = gain / (inputs.max(1) as f32).sqrt();
            values(n, seed, -bound, bound)
        }
        Role::Scale | Role::Variance => values(n, seed, 0.5, 1.0),
        Role::Shift | Role::Mean | Role::Bias => values(n, seed, -0.1, 0.1),
    }
}

/// All that a network's head computes from images, each `[B, C, h, w]`.
fn outputs(network: &Network, f: &Forward, images: Tensor<4>) -> Result<Vec<Tensor<4>>> {
    let maps = |logits: Tensor<2>| {
        let [b, c] = logits.dims();
        logits.reshape([b, c, 1, 1])
    };
    Ok(match network.head {
        Head::ImageNet => vec![maps(network.imagenet()?.logits(f, images))],
        Head::Cam { .. } => {
            let features = network.levels(f, images).high;
            let logits = cam::logits(f, network.backbone, features.clone());
            vec![cam::maps(f, network.backbone, features), maps(logits)]
        }
        Head::Affinity { .. } => vec![network.affinity_net()?.features(f, images)],
        Head::Segmentation { .. } | Head::DeepLab { .. } => {
            let scores = network.segmenter()?.all_scores(f, images);
            std::iter::once(scores.fused).chain(scores.parts).collect()
        }
        Head::Joint { .. } => {
            let joint = network.joint()?.outputs(f, images);
            vec![joint.scores, maps(joint.logits)]
        }
        Head::CrossAffinity { .. } => {
            let out = network.cross_affinity()?.scores(f, images, 2, Merge::Max);
            vec![out.own, out.cross]
        }
        Head::CoAttention { .. } => {
            let mut images = images.split(1, 0).into_iter();
            let mut next = || images.next().context("no pair of images");
            let sides = network.co_attention()?.pair(f, next()?, next()?);
            sides
                .into_iter()
                .flat_map(|side| [side.map, side.common_map, side.exclusive_map])
                .collect()
        }
    })
}
