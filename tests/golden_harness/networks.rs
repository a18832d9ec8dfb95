//! Forward passes of networks: every tensor that a file holds, and the parameter count where it tells one.

use std::collections::HashMap;

use burn::tensor::Tensor;
use weakseg::models::forward::{Forward, Mode};
use weakseg::models::heads::co_attention::Side;
use weakseg::models::heads::cross_affinity::Merge;
use weakseg::models::params::Parameters;
use weakseg::models::{Head, Network};

use super::check::{On, close, download, upload};
use super::file::{Array, Golden};
use super::formula;

/// The network called `name` at a golden file's width, with the weights of the formula.
pub fn build(g: &Golden, name: &str, classes: usize, on: &On) -> (Network, Parameters) {
    let mut network = Network::named(name, g.usize("width_divisor"), classes).unwrap();
    let stride = g.meta.get("output_stride").map(|_| g.usize("output_stride"));
    network.backbone = network.backbone.with_output_stride(stride).unwrap();
    let parameters = Parameters::init(&network.declare(), &on.device, formula::parameter).unwrap();
    (network, parameters)
}

/// Foreground classes by the shape of what the file holds.
fn classes(g: &Golden) -> usize {
    let channels = |name: &str| g.tensors.get(name).map(|t| t.shape[1]);
    let foreground = ["cam", "logits_m"].into_iter().find_map(channels);
    let all = ["segmentation", "self_logits", "logits"].into_iter().find_map(channels);
    foreground.or(all.map(|c| c - 1)).unwrap_or(20)
}

fn input(g: &Golden, name: &str, on: &On) -> Tensor<4> {
    let shape: Vec<usize> = g
        .text("input_shape")
        .split(',')
        .map(|n| n.trim().parse().unwrap())
        .collect();
    let (low, high) = (g.number("input_lo"), g.number("input_hi"));
    let values = formula::tensor(g.text(name), shape.iter().product(), low, high);
    upload(&Array { shape, values }, &on.device)
}

/// What a network computes, by the names that golden files use.
type Outputs = HashMap<String, Vec<f32>>;

fn keep<const D: usize>(outputs: &mut Outputs, name: impl Into<String>, tensor: Tensor<D>) {
    outputs.insert(name.into(), download(tensor));
}

pub fn check(g: &Golden, on: &On) {
    let name = g.text("network");
    let (network, parameters) = build(g, name, classes(g), on);
    if let Some(expected) = g.meta.get("parameters") {
        let declared = network.declare();
        // MXNet counts running statistics as parameters.
        let count = if name.starts_with("cian") {
            let sizes = declared.0.iter().map(|p| p.shape.iter().product::<usize>());
            sizes.sum()
        } else {
            declared.count()
        };
        assert_eq!(count.to_string(), *expected, "parameters of {name}");
    }
    let f = Forward::new(&parameters, Mode::Inference);
    let outputs = outputs(g, &network, &f, on);
    for (tensor, expected) in &g.tensors {
        let actual = outputs
            .get(tensor)
            .unwrap_or_else(|| panic!("{}: nothing here computes {tensor}", g.name));
        close(&format!("{} {tensor}", g.name), actual, &expected.values, on.network);
    }
}

fn outputs(g: &Golden, network: &Network, f: &Forward, on: &On) -> Outputs {
    let x = input(g, "input_name", on);
    let mut to = Outputs::new();
    match network.head {
        Head::ImageNet => {
            let levels = network.levels(f, x.clone());
            keep(&mut to, "low", levels.low);
            keep(&mut to, "middle", levels.middle);
            // Every 16th channel.
            let [b, c, h, w] = levels.high.dims();
            let high = levels.high.reshape([b, c / 16, 16, h * w]).narrow(2, 0, 1);
            keep(&mut to, "high", high);
            keep(&mut to, "imagenet", network.imagenet().unwrap().logits(f, x));
        }
        Head::Cam { .. } => {
            let levels = network.levels(f, x.clone());
            keep(&mut to, "conv4", levels.low);
            keep(&mut to, "conv5", levels.middle);
            keep(&mut to, "conv6", levels.high.clone());
            keep(&mut to, "features", levels.high);
            keep(&mut to, "logits", network.classifier().unwrap().logits(f, x.clone()));
            let maps = network.classifier().unwrap().maps(f, x);
            // As the released code: the square root is for VGG16 only (`cam.square_root` in a recipe).
            let is_vgg = g.text("network").starts_with("vgg16");
            keep(&mut to, "cam", if is_vgg { maps.sqrt() } else { maps });
        }
        Head::Affinity { .. } => {
            keep(
                &mut to,
                "affinity_features",
                network.affinity_net().unwrap().features(f, x),
            );
        }
        Head::Segmentation { .. } | Head::DeepLab { .. } => {
            keep(&mut to, "features", network.levels(f, x.clone()).high);
            let scores = network.segmenter().unwrap().all_scores(f, x);
            keep(&mut to, "logits", scores.fused);
            // Of DeepLab-v2 over several sizes: the whole image, three quarters of it and half.
            for (name, part) in ["logits_100", "logits_75", "logits_50"].into_iter().zip(scores.parts) {
                keep(&mut to, name, part);
            }
        }
        Head::Joint { .. } => {
            let out = network.joint().unwrap().outputs(f, x.clone());
            let (logits, scores) = (out.logits, out.scores);
            keep(&mut to, "logits", logits);
            keep(&mut to, "segmentation", scores);
            // The released code averages over these scales wherever it asks for maps.
            let maps = network.classifier().unwrap().multi_scale_maps(f, x, &[0.5, 1.5, 2.0]);
            keep(&mut to, "cam", maps);
        }
        Head::CrossAffinity { .. } => {
            let out = network.cross_affinity().unwrap().scores(f, x.clone(), 2, Merge::Max);
            keep(&mut to, "cross_logits", out.cross);
            let own = download(out.own);
            // Testing takes another path to the same numbers.
            let tested: Vec<f64> = own.iter().map(|v| f64::from(*v)).collect();
            let alone = download(network.segmenter().unwrap().scores(f, x));
            close("alone and in pairs", &alone, &tested, on.network);
            to.insert("self_logits".into(), own);
        }
        Head::CoAttention { .. } => {
            let n = input(g, "input_name_n", on);
            for (side, image) in network
                .co_attention()
                .unwrap()
                .pair(f, x, n)
                .into_iter()
                .zip(["m", "n"])
            {
                keep_side(&mut to, side, image);
            }
        }
    }
    to
}

fn keep_side(to: &mut Outputs, side: Side, image: &str) {
    let name = |what: &str| format!("{what}_{image}");
    keep(to, name("features"), side.features);
    keep(to, name("cam"), side.map);
    keep(to, name("logits"), side.logits);
    keep(to, name("coattentive"), side.coattentive);
    keep(to, name("common_map"), side.common_map);
    keep(to, name("common_logits"), side.common);
    keep(to, name("exclusive_map"), side.exclusive_map);
    keep(to, name("exclusive_logits"), side.exclusive);
}
