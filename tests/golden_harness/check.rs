//! What each kind of golden file is compared with, by the prefix of its name.

use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage};
use weakseg::kernels::{
    Convolver, Design, Distance, Sliding, Walk, Window, conv2d, convolve_by, cross_attention, depthwise_conv,
    pointwise_conv, random_walk,
};
use weakseg::losses::adaptive_affinity::{AdaptiveAffinity, PairWeight, adaptive_affinity};
use weakseg::losses::affinity::affinity_loss;
use weakseg::losses::dense_energy::dense_energy;
use weakseg::losses::label_reassign::{LabelReassign, label_reassign};
use weakseg::losses::multilabel_soft_margin::multilabel_soft_margin;
use weakseg::metrics::Confusion;
use weakseg::stages::joint::dense::lattices;

use super::file::{Array, Golden};
use super::{networks, training};

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
pub const EPS: f32 = 1e-5;

const FORWARD: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;

type Check = fn(&Golden, &On);

/// The checks by prefix of the file's name; a longer prefix wins. Those of networks are only for files that tell a
/// width, which weight files do not.
pub const CHECKS: [(&str, Check); 24] = [
    ("conv2d", dense),
    ("depthwise_conv", convolution),
    ("pointwise_conv", convolution),
    ("efficientnet", networks::check),
    ("random_walk", walk),
    ("affinity_loss", affinity),
    ("adaptive_affinity", adaptive),
    ("label_reassign", reassign),
    ("dense_energy", energy),
    ("cross_attention", attention),
    ("multilabel_soft_margin", soft_margin),
    ("mean_iou", mean_iou),
    ("lattice_filter", super::crf::lattice_filter),
    ("dense_crf", super::crf::against_exact),
    ("pydensecrf", super::crf::against_pydensecrf),
    ("resnet38", networks::check),
    ("vgg16", networks::check),
    ("cian", networks::check),
    ("deeplab", networks::check),
    ("train_resnet38_cls", training::classifier),
    ("train_resnet38_affinity", training::affinity),
    ("train_resnet38_rrm", training::rrm),
    ("train_vgg16_coattention", training::co_attention),
    ("train_cian", training::cian),
];
/// Prefixes of the files of networks.
const NETWORKS: [&str; 6] = ["resnet38", "vgg16", "cian", "deeplab", "efficientnet", "train"];

pub fn find(g: &Golden) -> Option<Check> {
    let has_width = g.meta.contains_key("width_divisor");
    CHECKS
        .iter()
        .filter(|(prefix, _)| g.name.starts_with(prefix))
        .filter(|(prefix, _)| has_width || !NETWORKS.iter().any(|n| prefix.starts_with(n)))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, check)| *check)
}

/// Fails where `actual` is further from `expected` than `tolerance` times the largest expected value.
pub fn close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-12);
    let (worst, error) = actual
        .iter()
        .zip(expected)
        .map(|(a, e)| (f64::from(*a) - e).abs() / largest)
        .enumerate()
        // NaN must count as the largest error.
        .fold((0, 0.0f64), |m, (i, e)| if e > m.1 || e.is_nan() { (i, e) } else { m });
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

pub fn distance(text: &str) -> Distance {
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
    close(&g.name, &download(out), &g.tensor("expected").values, FORWARD);
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
    let ignored = g.meta.get("ignore").map_or(255, |_| g.usize("ignore") as i32);
    let labels = g.tensor("labels").i32().into_iter();
    labels.map(|label| if label == ignored { 255 } else { label }).collect()
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
        weight: PairWeight::Max,
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
    settings.weight = PairWeight::Standard;
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
                    let mut distance =
                        square((i / w) as f64, (j / w) as f64, xy) + square((i % w) as f64, (j % w) as f64, xy);
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

fn attention(g: &Golden, on: &On) {
    let device = on.device.clone().autodiff();
    let names = ["query", "key", "value"];
    let inputs = names.map(|name| upload::<3>(g.tensor(name), &device).require_grad());
    let [query, key, value] = inputs.clone();
    let out = cross_attention(query, key, value);
    let upstream = upload::<3>(g.tensor("grad_output"), &device);
    let mut grads = (out.clone() * upstream).sum().backward();
    close(&g.name, &download(out), &g.tensor("output").values, FORWARD);
    for (name, input) in names.into_iter().zip(inputs) {
        close(
            &format!("{} gradient of the {name}", g.name),
            &download(input.grad_remove(&mut grads).unwrap()),
            &g.tensor(&format!("grad_{name}")).values,
            GRADIENT,
        );
    }
}

/// A depthwise convolution where the file tells a stride, a pointwise one where it does not.
fn convolution(g: &Golden, on: &On) {
    let device = on.device.clone().autodiff();
    let [input, kernel] = ["input", "kernel"].map(|name| upload::<4>(g.tensor(name), &device));
    let (input, kernel) = (input.require_grad(), kernel.require_grad());
    let bias = upload::<1>(g.tensor("bias"), &device).require_grad();
    let ceiling = g.text("ceiling").parse().ok();
    let (x, k, b) = (input.clone(), kernel.clone(), bias.clone());
    let out = if g.meta.contains_key("stride") {
        let ([_, _, h, w], [_, _, size, _]) = (x.dims(), k.dims());
        let window = Window::same([h, w], size, g.usize("stride"), g.usize("dilation"));
        depthwise_conv(x, k, b, window, ceiling)
    } else {
        pointwise_conv(x, k, b, ceiling)
    };
    let upstream = upload::<4>(g.tensor("grad_output"), &device);
    let mut grads = (out.clone() * upstream).sum().backward();
    close(&g.name, &download(out), &g.tensor("output").values, FORWARD);
    let gradients = [
        ("input", download(input.grad_remove(&mut grads).unwrap())),
        ("kernel", download(kernel.grad_remove(&mut grads).unwrap())),
        ("bias", download(bias.grad_remove(&mut grads).unwrap())),
    ];
    for (name, gradient) in gradients {
        close(
            &format!("{} gradient of the {name}", g.name),
            &gradient,
            &g.tensor(&format!("grad_{name}")).values,
            GRADIENT,
        );
    }
}

/// By what the device would choose, and by both designs of ours.
fn dense(g: &Golden, on: &On) {
    let sliding = Sliding {
        stride: [g.usize("stride_rows"), g.usize("stride_columns")],
        padding: [g.usize("padding_rows"), g.usize("padding_columns")],
        dilation: [g.usize("dilation_rows"), g.usize("dilation_columns")],
        groups: g.usize("groups"),
    };
    let device = on.device.clone().autodiff();
    let check = |by: &str| {
        let [input, kernel] = ["input", "kernel"].map(|name| upload::<4>(g.tensor(name), &device).require_grad());
        let bias = upload::<1>(g.tensor("bias"), &device).require_grad();
        let out = conv2d(input.clone(), kernel.clone(), Some(bias.clone()), sliding);
        let upstream = upload::<4>(g.tensor("grad_output"), &device);
        let mut grads = (out.clone() * upstream).sum().backward();
        let all = [
            ("output", download(out), FORWARD),
            ("grad_input", download(input.grad_remove(&mut grads).unwrap()), GRADIENT),
            (
                "grad_kernel",
                download(kernel.grad_remove(&mut grads).unwrap()),
                GRADIENT,
            ),
            ("grad_bias", download(bias.grad_remove(&mut grads).unwrap()), GRADIENT),
        ];
        for (name, values, tolerance) in all {
            close(
                &format!("{} {name} by {by}", g.name),
                &values,
                &g.tensor(name).values,
                tolerance,
            );
        }
    };
    check("choice");
    for design in [Design::Tiles, Design::Runs] {
        convolve_by(Convolver::Ours(design), || check(&format!("{design:?}")));
    }
}

fn mean_iou(g: &Golden, _: &On) {
    let bytes = |name: &str| -> Vec<u8> { g.tensor(name).values.iter().map(|v| *v as u8).collect() };
    let mut confusion = Confusion::new(g.usize("classes"));
    confusion.add(&bytes("prediction"), &bytes("truth")).unwrap();
    if let Some(expected) = g.tensors.get("confusion") {
        let classes = confusion.classes();
        let counts: Vec<f32> = (0..classes * classes)
            .map(|i| confusion.count(i / classes, i % classes) as f32)
            .collect();
        close(&format!("{} confusion", g.name), &counts, &expected.values, 0.0);
    }
    let iou: Vec<f32> = confusion.iou().into_iter().map(|v| v.unwrap_or(0.0) as f32).collect();
    close(&g.name, &iou, &g.tensor("iou").values, 1e-6);
}
