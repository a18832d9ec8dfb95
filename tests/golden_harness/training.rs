//! Six steps of training as a file says in words: every loss of every step, then the parameters that it holds.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor};
use weakseg::kernels::Distance;
use weakseg::losses::affinity::affinity_loss;
use weakseg::losses::cross_entropy::{balanced_cross_entropy, cross_entropy};
use weakseg::losses::multilabel_soft_margin::multilabel_soft_margin;
use weakseg::models::Network;
use weakseg::models::forward::{Forward, Mode};
use weakseg::models::heads::co_attention::Side;
use weakseg::models::heads::cross_affinity::Merge;
use weakseg::models::params::Parameters;
use weakseg::models::resize::resize;
use weakseg::recipe::{self, Recipe};
use weakseg::train::{self, Group, Optimizer};

use super::check::{EPS, On, close, download, upload};
use super::file::{Array, Golden};
use super::networks;

const IGNORE: i32 = 255;

/// Trains the network called `name` and compares every loss, then the parameters that the file holds. `losses` computes
/// a step's on a device that tracks gradients; the first is the one that trains.
fn train(
    g: &Golden,
    on: &On,
    name: &str,
    classes: usize,
    losses: impl Fn(&Network, &Forward, &Device) -> Vec<Tensor<1>>,
) {
    let (network, mut parameters) = networks::build(g, name, classes, on);
    let factor = |of: &str| g.try_number_after("groups", of).unwrap_or(1.0) as f32;
    let settings = recipe::Optimizer::Sgd {
        lr: g.number_after("groups", "lr ") as f32,
        momentum: g.number("momentum") as f32,
        nesterov: false,
        weight_decay: g.number_after("groups", "decay") as f32,
        power: g.number_after("schedule", "poly") as f32,
        tenth_every: None,
        bias_lr_factor: factor("biases "),
        fresh_lr_factor: factor("fresh layers "),
    };
    if let Some(source) = g.meta.get("recipe") {
        let classify = Recipe::load(source.split(',').next().unwrap(), &[]).unwrap().classify;
        assert_eq!(settings, classify.optimizer, "{}: the recipe's optimizer", g.name);
    }
    let groups = g.text("groups");
    let alike = groups.contains("all parameters") || groups.contains("on all");
    let whole = groups.contains("nothing but batch norm frozen");
    // Small steps leave small errors.
    let tolerance = match g.meta.get("tolerance").map(String::as_str) {
        Some("a tenth of the usual") => on.training / 10.0,
        None => on.training,
        Some(other) => panic!("{}: tolerance {other:?}", g.name),
    };
    let initial = parameters.clone();
    let decay = g.number_after("groups", "decay") as f32;
    let total = g.number_after("schedule", "over") as usize;
    let (rule, schedule, peak) = train::rule(&settings);
    let mut optimizer = Optimizer::new(rule);
    let autodiff = on.device.clone().autodiff();
    let expected = g.tensor("losses");
    let columns = expected.shape[1];
    for step in 0..g.usize("steps") {
        let tracked = parameters.track(|name, role| train::trains(&network, name, role) || (whole && !role.is_norm()));
        let f = Forward::new(&tracked, Mode::Frozen(None));
        let parts = losses(&network, &f, &autodiff);
        let mut grads = parts[0].backward();
        let values: Vec<f32> = parts.into_iter().flat_map(|t| download(t.inner())).collect();
        assert_eq!(values.len(), columns, "{}: losses of a step", g.name);
        for (column, value) in values.iter().enumerate() {
            close(
                &format!("{} step {step} loss {column}", g.name),
                &[*value],
                &[expected.values[step * columns + column]],
                tolerance,
            );
        }
        let rate = peak * schedule.factor(step, total);
        optimizer.update(&mut parameters, &tracked, &mut grads, rate, |name, role| {
            if alike {
                Group { rate: 1.0, decay }
            } else {
                train::group(&network, &settings, name, role)
            }
        });
    }
    for (name, expected) in &g.tensors {
        if name == "losses" {
            continue;
        }
        // What the steps have added: a parameter's own size hides it.
        let (parameter, is_change) = match name.strip_prefix("change/") {
            Some(parameter) => (parameter, true),
            None => (name.as_str(), false),
        };
        let values = |parameters: &Parameters| {
            let p = parameters.0.get(parameter);
            let p = p.unwrap_or_else(|| panic!("{}: the network has no {parameter}", g.name));
            p.value.to_vec().unwrap()
        };
        let after = values(&parameters);
        let (actual, tolerance) = if is_change {
            let before = values(&initial);
            (after.iter().zip(before).map(|(a, b)| a - b).collect(), on.training)
        } else {
            (after, tolerance)
        };
        close(&format!("{} {name}", g.name), &actual, &expected.values, tolerance);
    }
}

/// 1 where a described value is above the threshold in its text, 0 elsewhere.
fn tags(g: &Golden, array: Array) -> Array {
    let threshold = g.number_after("targets", ">");
    let is_above = |v: &f64| f64::from(u8::from(*v > threshold));
    Array {
        values: array.values.iter().map(is_above).collect(),
        shape: array.shape,
    }
}

/// The described label map with every value mapped.
fn labels(g: &Golden, map: impl Fn(i32) -> i32) -> Vec<i32> {
    let text = g.text("labels");
    assert!(text.starts_with("floor("), "{text}");
    let values = g.described("labels").values;
    values.iter().map(|v| map(v.floor() as i32)).collect()
}

pub fn classifier(g: &Golden, on: &On) {
    let images = g.described("input");
    let targets = tags(g, g.described("targets"));
    train(g, on, "resnet38_cls", targets.shape[1], |network, f, device| {
        let logits = network.classifier().unwrap().logits(f, upload(&images, device));
        vec![multilabel_soft_margin(logits, upload(&targets, device))]
    });
}

pub fn affinity(g: &Golden, on: &On) {
    // "..., 3 = ignore"
    let ignored = g
        .text("labels")
        .rsplit_once(',')
        .and_then(|(_, rest)| rest.trim().strip_suffix("= ignore"))
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(IGNORE);
    let labels = labels(g, |l| if l == ignored { IGNORE } else { l });
    let radius = g.number_after("loss", "radius") as usize;
    let distance = if g.text("loss").contains("sum distance") {
        Distance::Sum
    } else {
        Distance::Mean
    };
    let eps = g.try_number_after("loss", "eps").map_or(EPS, |eps| eps as f32);
    let images = g.described("input");
    train(g, on, "resnet38_affinity", 20, |network, f, device| {
        let features = network.affinity_net().unwrap().features(f, upload(&images, device));
        let loss = affinity_loss(features, &labels, radius, distance, eps);
        vec![loss.total, loss.foreground, loss.background, loss.negative]
    });
}

pub fn rrm(g: &Golden, on: &On) {
    let images = g.described("input");
    let targets = tags(g, g.described("targets"));
    let classes = targets.shape[1] as i32;
    // "above 20 = ignore, 11 to 20 = 0"
    let last = g.number_after("labels", "ignore,") as i32;
    let labels = labels(g, |l| match l {
        _ if l > classes => IGNORE,
        _ if l >= last => 0,
        _ => l,
    });
    let [height, width] = [images.shape[2], images.shape[3]];
    train(g, on, "resnet38_rrm", classes as usize, |network, f, device| {
        let out = network.joint().unwrap().outputs(f, upload(&images, device));
        let classification = multilabel_soft_margin(out.logits, upload(&targets, device));
        let scores = resize(out.scores, [height, width]);
        let segmentation = balanced_cross_entropy(scores, &labels);
        vec![
            classification.clone() + segmentation.total,
            classification,
            segmentation.background,
            segmentation.foreground,
        ]
    });
}

pub fn co_attention(g: &Golden, on: &On) {
    let images = g.described_pair("input");
    let [m, n] = g.described_pair("targets").map(|t| tags(g, t));
    let zip = |a: &Array, b: &Array, f: fn(f64, f64) -> f64| Array {
        values: a.values.iter().zip(&b.values).map(|(a, b)| f(*a, *b)).collect(),
        shape: a.shape.clone(),
    };
    let shared = zip(&m, &n, |m, n| m * n);
    let exclusive = [&m, &n].map(|tags| zip(tags, &shared, |own, shared| own - shared));
    train(g, on, "vgg16_coattention", m.shape[1], |network, f, device| {
        let [x, y] = [0, 1].map(|i| upload(&images[i], device));
        let sides = network.co_attention().unwrap().pair(f, x, y);
        // The sum over both images of either one's mean.
        let loss = |of: fn(&Side) -> Tensor<2>, targets: [&Array; 2]| {
            let [m, n] = [0, 1].map(|i| multilabel_soft_margin(of(&sides[i]), upload(targets[i], device)));
            m + n
        };
        let basic = loss(|side| side.logits.clone(), [&m, &n]);
        let common = loss(|side| side.common.clone(), [&shared, &shared]);
        let own = loss(|side| side.exclusive.clone(), [&exclusive[0], &exclusive[1]]);
        let total = basic.clone() + common.clone() + own.clone();
        vec![total, basic, common, own]
    });
}

pub fn cian(g: &Golden, on: &On) {
    let images = g.described("input");
    let shape = g.described("labels").shape;
    let pixels = shape[1] * shape[2];
    // "...; 5 = ignore; in image 0 class 4 becomes 0"
    let ignored = g.number_after("labels", ";") as i32;
    let merged = g.number_after("labels", "class") as i32;
    let mut labels = labels(g, |l| if l == ignored { IGNORE } else { l });
    for label in &mut labels[..pixels] {
        if *label == merged {
            *label = 0;
        }
    }
    let present: Vec<BTreeSet<i32>> = labels
        .chunks(pixels)
        .map(|image| image.iter().copied().filter(|l| *l != IGNORE).collect())
        .collect();
    train(g, on, "cian_resnet50", 20, |network, f, device| {
        let out = network
            .cross_affinity()
            .unwrap()
            .scores(f, upload(&images, device), 2, Merge::Max);
        let best = out.cross.clone().inner().argmax(1).into_data();
        let best: Vec<i32> = best.convert::<i32>().try_to_vec().unwrap();
        let completed: Vec<i32> = best
            .iter()
            .enumerate()
            .map(|(i, l)| if present[i / pixels].contains(l) { *l } else { IGNORE })
            .collect();
        let parts = [
            cross_entropy(out.cross.clone(), &labels),
            cross_entropy(out.own.clone(), &labels),
            cross_entropy(out.cross, &completed),
            cross_entropy(out.own, &completed),
        ];
        let total = parts.iter().cloned().reduce(|a, b| a + b);
        total.into_iter().chain(parts).collect()
    });
}
