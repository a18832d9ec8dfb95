//! What each kind of golden file is compared with, by the prefix of its name.

use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage};
use weakseg::kernels::{Distance, Walk, random_walk};
use weakseg::losses::adaptive_affinity::{AdaptiveAffinity, Weight, adaptive_affinity};
use weakseg::losses::affinity::affinity_loss;
use weakseg::losses::cross_entropy::balanced_cross_entropy;
use weakseg::losses::dense_energy::dense_energy;
use weakseg::losses::label_reassign::{LabelReassign, label_reassign};
use weakseg::losses::multilabel_soft_margin::multilabel_soft_margin;
use weakseg::metrics::Confusion;
use weakseg::models::backbones::Backbone;
use weakseg::models::forward::{Forward, Mode};
use weakseg::models::params::Parameters;
use weakseg::models::{Head, Network};
use weakseg::recipe;
use weakseg::stages::inference::resize;
use weakseg::stages::joint::dense::lattices;
use weakseg::train::{self, Optimizer};

use super::file::{Array, Golden};
use super::formula;

/// A device and its tolerances, relative to the largest reference value.
#[derive(Clone)]
pub struct On {
    pub device: Device,
    pub network: f64,
    pub training: f64,
}

impl On {
    pub fn cpu() -> On {
        On {
            device: Device::flex(),
            network: 2e-4,
            training: 1e-3,
        }
    }

    pub fn vulkan() -> On {
        let chosen = weakseg::device::choose(weakseg::device::Choice::Vulkan).unwrap();
        println!("{chosen}");
        let software = chosen.adapter.as_ref().is_some_and(|a| !a.is_gpu());
        On {
            device: chosen.device,
            network: if software { 2e-4 } else { 1e-3 },
            training: 1e-2,
        }
    }
}

/// What the affinity loss adds inside of its logarithms where a file does not say.
const EPS: f32 = 1e-5;

const FORWARD: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;

type Check = fn(&Golden, &On);

/// The checks by prefix of the file's name; a longer prefix wins. Those of networks are only for files that tell a
/// width, which weight files do not.
pub const CHECKS: [(&str, Check); 15] = [
    ("random_walk", walk),
    ("affinity_loss", affinity),
    ("adaptive_affinity", adaptive),
    ("label_reassign", reassign),
    ("dense_energy", energy),
    ("multilabel_soft_margin", soft_margin),
    ("mean_iou", mean_iou),
    ("lattice_filter", super::crf::lattice_filter),
    ("dense_crf", super::crf::against_exact),
    ("pydensecrf", super::crf::against_pydensecrf),
    ("resnet38_cls", classifier),
    ("resnet38_affinity", affinity_network),
    ("train_resnet38_cls", train_classifier),
    ("train_resnet38_affinity", train_affinity),
    ("train_resnet38_rrm", train_joint),
];

pub fn find(g: &Golden) -> Option<Check> {
    let has_width = g.meta.contains_key("width_divisor");
    CHECKS
        .iter()
        .filter(|(prefix, _)| g.name.starts_with(prefix))
        .filter(|(prefix, _)| has_width || !prefix.contains("resnet38"))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, check)| *check)
}

/// Fails where `actual` is further from `expected` than `tolerance` times the largest expected value.
fn close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let largest = expected
        .iter()
        .fold(0.0f64, |m, v| m.max(v.abs()))
        .max(1e-12);
    let (worst, error) = actual
        .iter()
        .zip(expected)
        .map(|(a, e)| (f64::from(*a) - e).abs() / largest)
        .enumerate()
        // NaN must count as the largest error.
        .fold(
            (0, 0.0f64),
            |m, (i, e)| if e > m.1 || e.is_nan() { (i, e) } else { m },
        );
    println!("{what}: error {error:.1e} of at most {tolerance:.0e}");
    assert!(
        error <= tolerance,
        "{what}: error {error:.2e} at {worst}: {} instead of {}",
        actual[worst],
        expected[worst]
    );
}

pub fn upload<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

pub fn download<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn distance(text: &str) -> Distance {
    match text {
        "mean" => Distance::Mean,
        "sum" => Distance::Sum,
        other => panic!("distance {other:?}"),
    }
}

fn walk(g: &Golden, on: &On) {
    let batch = |name: &str| {
        let array = g.tensor(name);
        let mut shape = array.shape.clone();
        if shape.len() == 3 {
            shape.insert(0, 1);
        }
        upload::<4>(
            &Array {
                shape,
                values: array.values.clone(),
            },
            &on.device,
        )
    };
    let parameters = Walk {
        radius: g.usize("radius"),
        beta: g.number("beta") as f32,
        steps: g.usize("steps"),
        distance: distance(g.text("distance")),
    };
    let out = random_walk(batch("features"), batch("cam"), parameters);
    close(
        &g.name,
        &download(out),
        &g.tensor("expected").values,
        FORWARD,
    );
}

fn affinity(g: &Golden, on: &On) {
    let labels = labels(g);
    let eps = g.meta.get("eps").map_or(EPS, |_| g.number("eps") as f32);
    let features = upload::<4>(g.tensor("features"), &on.device.clone().autodiff()).require_grad();
    let loss = affinity_loss(
        features.clone(),
        &labels,
        g.usize("radius"),
        distance(g.text("distance")),
        eps,
    );
    let mut grads = loss.total.backward();
    for (name, part) in [
        ("loss", loss.total),
        ("fg", loss.foreground),
        ("bg", loss.background),
        ("neg", loss.negative),
    ] {
        close(
            &format!("{} {name}", g.name),
            &download(part),
            &g.tensor(name).values,
            FORWARD,
        );
    }
    let grad = features.grad_remove(&mut grads).unwrap();
    close(
        &format!("{} gradient", g.name),
        &download(grad),
        &g.tensor("grad_features").values,
        GRADIENT,
    );
}

fn soft_margin(g: &Golden, on: &On) {
    let device = on.device.clone().autodiff();
    let logits = upload::<2>(g.tensor("logits"), &device).require_grad();
    let loss = multilabel_soft_margin(logits.clone(), upload(g.tensor("targets"), &device));
    let mut grads = loss.backward();
    close(&g.name, &download(loss), &g.tensor("loss").values, FORWARD);
    let grad = logits.grad_remove(&mut grads).unwrap();
    close(
        &format!("{} gradient", g.name),
        &download(grad),
        &g.tensor("grad_logits").values,
        GRADIENT,
    );
}

/// Labels in which 255 is what a file ignores.
fn labels(g: &Golden) -> Vec<i32> {
    let ignored = g
        .meta
        .get("ignore")
        .map_or(255, |_| g.usize("ignore") as i32);
    let labels = g.tensor("labels").i32().into_iter();
    labels
        .map(|label| if label == ignored { 255 } else { label })
        .collect()
}

fn adaptive(g: &Golden, on: &On) {
    let labels = labels(g);
    let mut settings = AdaptiveAffinity {
        dilations: g
            .text("dilations")
            .split(',')
            .map(|d| d.trim().parse().unwrap())
            .collect(),
        margin: g.number("margin") as f32,
        weight: Weight::Max,
        epsilon: g.number("eps") as f32,
    };
    let scores = upload::<4>(g.tensor("logits"), &on.device.clone().autodiff()).require_grad();
    let confidence = g.tensor("confidence").f32();
    let loss = adaptive_affinity(scores.clone(), &labels, &confidence, &settings).total;
    let mut grads = loss.backward();
    close(&g.name, &download(loss), &g.tensor("loss").values, FORWARD);
    let grad = scores.grad_remove(&mut grads).unwrap();
    close(
        &format!("{} gradient", g.name),
        &download(grad),
        &g.tensor("grad_logits").values,
        GRADIENT,
    );
    settings.weight = Weight::One;
    let loss = adaptive_affinity(scores, &labels, &confidence, &settings).total;
    close(
        &format!("{} standard", g.name),
        &download(loss),
        &g.tensor("loss_standard").values,
        FORWARD,
    );
}

fn reassign(g: &Golden, on: &On) {
    let device = on.device.clone().autodiff();
    let batch = |name: &str, shape: [usize; 4]| {
        let values = g.tensor(name).f32();
        Tensor::<4>::from_data(TensorData::new(values, shape), &device)
    };
    let &[d, h, w] = &g.tensor("embedding").shape[..] else {
        panic!("{}: embedding", g.name)
    };
    let labels = labels(g);
    let classes = 1 + labels.iter().filter(|l| **l < 255).max().unwrap();
    let settings = LabelReassign {
        margin: g.number("margin") as f32,
        gamma: g.number("gamma") as f32,
    };
    let features = batch("embedding", [1, d, h, w]).require_grad();
    let loss = label_reassign(
        features.clone(),
        &labels,
        batch("confidence", [1, 1, h, w]),
        classes as usize,
        settings,
    );
    let mut grads = loss.backward();
    close(&g.name, &download(loss), &g.tensor("loss").values, FORWARD);
    let grad = features.grad_remove(&mut grads).unwrap();
    close(
        &format!("{} gradient", g.name),
        &download(grad),
        &g.tensor("grad_embedding").values,
        GRADIENT,
    );
}

fn energy(g: &Golden, on: &On) {
    let &[b, c, h, w] = &g.tensor("probability").shape[..] else {
        panic!("{}: probability", g.name)
    };
    let (image, n) = (&g.tensor("image").values, h * w);
    let (rgb, xy) = (g.number("sigma_rgb"), g.number("sigma_xy"));
    // Eq. 11 as it stands, over all pairs.
    let filter = |values: Tensor<4>| {
        let device = values.device();
        let values = download(values);
        let mut out = vec![0.0f32; values.len()];
        for image_at in 0..b {
            let colour = |i: usize, k: usize| image[(image_at * 3 + k) * n + i];
            for i in 0..n {
                let mut sums = vec![0.0f64; c];
                for j in 0..n {
                    let square = |a: f64, b: f64, sigma: f64| ((a - b) / sigma).powi(2);
                    let mut distance = square((i / w) as f64, (j / w) as f64, xy)
                        + square((i % w) as f64, (j % w) as f64, xy);
                    for k in 0..3 {
                        distance += square(colour(i, k), colour(j, k), rgb);
                    }
                    let kernel = (-distance / 2.0).exp();
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum += kernel * f64::from(values[(image_at * c + k) * n + j]);
                    }
                }
                for (k, sum) in sums.into_iter().enumerate() {
                    out[(image_at * c + k) * n + i] = sum as f32;
                }
            }
        }
        Tensor::from_data(TensorData::new(out, [b, c, h, w]), &device)
    };
    let images: Vec<RgbImage> = image
        .chunks_exact(3 * n)
        .map(|planes| {
            RgbImage::from_fn(w as u32, h as u32, |x, y| {
                let at = y as usize * w + x as usize;
                Rgb([0, 1, 2].map(|k| planes[k * n + at] as u8))
            })
        })
        .collect();
    let lattice = lattices(&images, [rgb as f32, xy as f32], &on.device).unwrap();
    type Filter<'a> = &'a dyn Fn(Tensor<4>) -> Tensor<4>;
    let filters: [(&str, &str, Filter); 2] = [
        ("loss", "grad_probability", &filter),
        ("loss_lattice", "grad_lattice", &lattice),
    ];
    let inside: Vec<bool> = g.tensor("roi").values.iter().map(|v| *v > 0.5).collect();
    let device = on.device.clone().autodiff();
    for (value, gradient, filter) in filters {
        let Some(expected) = g.tensors.get(value) else {
            continue;
        };
        let probability = upload::<4>(g.tensor("probability"), &device).require_grad();
        let loss = dense_energy(probability.clone(), &labels(g), &inside, filter);
        let mut grads = loss.backward();
        let name = format!("{} {value}", g.name);
        close(&name, &download(loss), &expected.values, FORWARD);
        let grad = probability.grad_remove(&mut grads).unwrap();
        let name = format!("{} {gradient}", g.name);
        close(&name, &download(grad), &g.tensor(gradient).values, FORWARD);
    }
}

fn mean_iou(g: &Golden, _: &On) {
    let bytes =
        |name: &str| -> Vec<u8> { g.tensor(name).values.iter().map(|v| *v as u8).collect() };
    let mut confusion = Confusion::new(g.usize("classes"));
    confusion
        .add(&bytes("prediction"), &bytes("truth"))
        .unwrap();
    if let Some(expected) = g.tensors.get("confusion") {
        let classes = confusion.classes();
        let counts: Vec<f32> = (0..classes * classes)
            .map(|i| confusion.count(i / classes, i % classes) as f32)
            .collect();
        close(
            &format!("{} confusion", g.name),
            &counts,
            &expected.values,
            0.0,
        );
    }
    let iou: Vec<f32> = confusion
        .iou()
        .into_iter()
        .map(|v| v.unwrap_or(0.0) as f32)
        .collect();
    close(&g.name, &iou, &g.tensor("iou").values, 1e-6);
}

/// The network at a golden file's width, with the weights of the formula.
fn network(g: &Golden, head: impl Fn(usize) -> Head, on: &On) -> (Network, Parameters) {
    let divisor = g.usize("width_divisor");
    let network = Network {
        backbone: Backbone::named("resnet38", divisor).unwrap(),
        head: head(divisor),
    };
    let parameters = Parameters::init(&network.declare(), &on.device, formula::parameter).unwrap();
    (network, parameters)
}

/// The released code's AffinityNet head at a width divisor.
fn affinity_head(divisor: usize) -> Head {
    Head::Affinity {
        channels: [64, 128, 256].map(|c| c / divisor),
    }
}

fn input(g: &Golden, on: &On) -> Tensor<4> {
    let shape: Vec<usize> = g
        .text("input_shape")
        .split(',')
        .map(|n| n.trim().parse().unwrap())
        .collect();
    let (low, high) = (g.number("input_lo"), g.number("input_hi"));
    let values = formula::tensor(g.text("input_name"), shape.iter().product(), low, high);
    upload(&Array { shape, values }, &on.device)
}

fn compare<const D: usize>(g: &Golden, name: &str, actual: Tensor<D>, on: &On) {
    if let Some(expected) = g.tensors.get(name) {
        close(
            &format!("{} {name}", g.name),
            &download(actual),
            &expected.values,
            on.network,
        );
    }
}

fn classifier(g: &Golden, on: &On) {
    let scores = g.tensors.get("logits").or_else(|| g.tensors.get("cam"));
    let classes = scores.map_or(20, |t| t.shape[1]);
    let (network, parameters) = network(g, |_| Head::Cam { classes }, on);
    if let Some(count) = g.meta.get("parameters") {
        assert_eq!(network.declare().count().to_string(), *count);
    }
    let f = Forward::new(&parameters, Mode::Inference);
    let x = input(g, on);
    let levels = network.backbone.forward(&f, x.clone());
    compare(g, "conv4", levels.low, on);
    compare(g, "conv5", levels.middle, on);
    compare(g, "conv6", levels.high, on);
    compare(g, "cam", network.maps(&f, x.clone()), on);
    compare(g, "logits", network.logits(&f, x), on);
}

fn affinity_network(g: &Golden, on: &On) {
    let (network, parameters) = network(g, affinity_head, on);
    if let Some(count) = g.meta.get("parameters") {
        assert_eq!(network.declare().count().to_string(), *count);
    }
    let f = Forward::new(&parameters, Mode::Inference);
    compare(
        g,
        "affinity_features",
        network.affinity_features(&f, input(g, on)),
        on,
    );
}

/// Trains as a golden file says and compares every loss, then the parameters it holds.
fn training(
    g: &Golden,
    on: &On,
    head: impl Fn(usize) -> Head,
    losses: impl Fn(&Network, &Forward, Tensor<4>) -> Vec<Tensor<1>>,
) {
    let (network, mut parameters) = network(g, head, on);
    let factor = |of: &str| g.try_number_after("groups", of).unwrap_or(1.0) as f32;
    let settings = recipe::Optimizer::Sgd {
        lr: g.number_after("groups", "lr ") as f32,
        momentum: g.number("momentum") as f32,
        weight_decay: g.number_after("groups", "decay") as f32,
        power: g.number_after("schedule", "poly") as f32,
        bias_lr_factor: factor("biases "),
        fresh_lr_factor: factor("fresh layers "),
    };
    let total = g.number_after("schedule", "over") as usize;
    let (rule, schedule, peak) = train::rule(&settings);
    let mut optimizer = Optimizer::new(rule);
    let images = g.described("input");
    let autodiff = on.device.clone().autodiff();
    let expected = g.tensor("losses");
    let columns = expected.shape[1];
    for step in 0..g.usize("steps") {
        let tracked = parameters.track(|name, role| train::trains(&network, name, role));
        let f = Forward::new(&tracked, Mode::Frozen(None));
        let parts = losses(&network, &f, upload(&images, &autodiff));
        let mut grads = parts[0].backward();
        let values: Vec<f32> = parts
            .into_iter()
            .flat_map(|t| download(t.inner()))
            .collect();
        for (column, value) in values.iter().enumerate() {
            close(
                &format!("{} step {step} loss {column}", g.name),
                &[*value],
                &[expected.values[step * columns + column]],
                on.training,
            );
        }
        let rate = peak * schedule.factor(step, total);
        optimizer.update(&mut parameters, &tracked, &mut grads, rate, |name, role| {
            train::group(&network, &settings, name, role)
        });
    }
    for (name, expected) in &g.tensors {
        if let Some(p) = parameters.0.get(name) {
            close(
                &format!("{} {name}", g.name),
                &p.value.to_vec().unwrap(),
                &expected.values,
                on.training,
            );
        }
    }
}

/// The tags that a training's description gives.
fn targets(g: &Golden) -> Array {
    let targets = g.described("targets");
    let threshold = g.number_after("targets", ">");
    Array {
        values: targets
            .values
            .iter()
            .map(|v| f64::from(u8::from(*v > threshold)))
            .collect(),
        shape: targets.shape,
    }
}

fn train_classifier(g: &Golden, on: &On) {
    let targets = targets(g);
    let classes = targets.shape[1];
    training(
        g,
        on,
        |_| Head::Cam { classes },
        |network, f, x| {
            let targets = upload(&targets, &x.device());
            vec![multilabel_soft_margin(network.logits(f, x), targets)]
        },
    );
}

fn train_affinity(g: &Golden, on: &On) {
    let text = g.text("labels");
    assert!(text.starts_with("floor("), "{text}");
    // "..., 3 = ignore"
    let ignored: f64 = text
        .rsplit_once(',')
        .and_then(|(_, rest)| rest.trim().strip_suffix("= ignore"))
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(255.0);
    let labels: Vec<i32> = g
        .described("labels")
        .values
        .iter()
        .map(|v| {
            if v.floor() == ignored {
                255
            } else {
                v.floor() as i32
            }
        })
        .collect();
    let radius = g.number_after("loss", "radius") as usize;
    let distance = if g.text("loss").contains("sum distance") {
        Distance::Sum
    } else {
        Distance::Mean
    };
    let eps = g
        .try_number_after("loss", "eps")
        .map_or(EPS, |eps| eps as f32);
    training(g, on, affinity_head, |network, f, x| {
        let features = network.affinity_features(f, x);
        let loss = affinity_loss(features, &labels, radius, distance, eps);
        vec![loss.total, loss.foreground, loss.background, loss.negative]
    });
}

fn train_joint(g: &Golden, on: &On) {
    let text = g.text("labels");
    assert!(text.starts_with("floor("), "{text}");
    let ignored = g.number_after("labels", "above ");
    let background = g.number_after("labels", "ignore, ");
    let described = g.described("labels");
    let labels: Vec<i32> = described
        .values
        .iter()
        .map(|v| match v.floor() {
            v if v > ignored => 255,
            v if v >= background => 0,
            v => v as i32,
        })
        .collect();
    let size = [described.shape[1], described.shape[2]];
    let targets = targets(g);
    let classes = targets.shape[1];
    // Its steps are large: errors of the first ones grow.
    let on = On {
        training: on.training.max(1e-2),
        ..on.clone()
    };
    training(
        g,
        &on,
        |_| Head::Joint { classes },
        |network, f, x| {
            let targets = upload(&targets, &x.device());
            let out = network.joint(f, x);
            let classification = multilabel_soft_margin(out.logits, targets);
            let segmentation = balanced_cross_entropy(resize(out.scores, size), &labels);
            vec![
                classification.clone() + segmentation.total,
                classification,
                segmentation.background,
                segmentation.foreground,
            ]
        },
    );
}
