//! Weight files of other frameworks: every golden file loads in full with the values of the formula, and bad files get
//! an answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "weights/bad_input.rs"]
mod bad_input;
#[path = "weights/craft.rs"]
mod craft;
#[path = "golden_harness/formula.rs"]
#[allow(dead_code, reason = "shared with tests/golden.rs, which uses all of it")]
mod formula;
#[path = "weights/fuzz.rs"]
mod fuzz;
#[path = "weights/large.rs"]
mod large;
#[path = "weights/memory.rs"]
mod memory;
#[path = "weights/networks.rs"]
mod networks;
#[path = "weights/wrappers.rs"]
mod wrappers;

use std::path::{Path, PathBuf};

use networks::declared;
use weakseg::models::params::{Declared, Role};
use weakseg::weights::load::{Plan, plan};
use weakseg::weights::{Checkpoint, Format, write_safetensors};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights");
    folder.join(name)
}

/// The values of the parameter called `name` by the formula.
fn expected(name: &str, shape: &[usize]) -> Vec<f32> {
    let part = name.rsplit(['.', '_']).next().unwrap();
    let role = match part {
        "var" => Role::Variance,
        "mean" => Role::Mean,
        "weight" | "gamma" if shape.len() == 1 => Role::Scale,
        "weight" => Role::Kernel,
        "bias" | "beta" => Role::Bias,
        _ => panic!("the formula has no rule for {name}"),
    };
    formula::parameter(&Declared {
        name: name.to_owned(),
        shape: shape.to_vec(),
        role,
    })
}

/// A golden file, the network it is for, and the name that the formula hashes for a parameter's name.
struct Case {
    file: &'static str,
    format: Format,
    network: &'static str,
    hashed: fn(&str) -> String,
    /// Keys in the file, skipped ones included.
    keys: usize,
    skipped: usize,
    /// Parameters of the network that such a file lacks.
    missing: &'static [&'static str],
    notes: &'static [&'static str],
}

fn as_is(name: &str) -> String {
    name.to_owned()
}

/// What the co-attention network has beyond torchvision's.
const EXTRA: [&str; 11] = [
    "vgg.extra_convs.0.weight",
    "vgg.extra_convs.0.bias",
    "vgg.extra_convs.2.weight",
    "vgg.extra_convs.2.bias",
    "vgg.extra_convs.4.weight",
    "vgg.extra_convs.4.bias",
    "vgg.extra_last_conv.weight",
    "vgg.extra_last_conv.bias",
    "extra_linear_e.weight",
    "extra_gate.weight",
    "extra_gate_merge.weight",
];

const CASES: [Case; 12] = [
    Case {
        file: "resnet38.params",
        format: Format::Mxnet,
        network: "resnet38_cls",
        hashed: as_is,
        keys: 193,
        skipped: 2,
        missing: &["fc8.weight"],
        notes: &["arg: and aux:"],
    },
    Case {
        file: "resnet38_cls.pth",
        format: Format::TorchZip,
        network: "resnet38_cls",
        hashed: as_is,
        keys: 229,
        skipped: 37,
        missing: &[],
        notes: &[],
    },
    Case {
        file: "resnet38_cls_legacy.pth",
        format: Format::TorchLegacy,
        network: "resnet38_cls",
        hashed: as_is,
        keys: 229,
        skipped: 37,
        missing: &[],
        notes: &[],
    },
    Case {
        file: "resnet38_cls.safetensors",
        format: Format::Safetensors,
        network: "resnet38_cls",
        hashed: as_is,
        keys: 229,
        skipped: 37,
        missing: &[],
        notes: &[],
    },
    Case {
        file: "resnet38_affinity.pth",
        format: Format::TorchZip,
        network: "resnet38_affinity",
        hashed: as_is,
        keys: 232,
        skipped: 37,
        missing: &[],
        notes: &[],
    },
    Case {
        file: "resnet38_rrm.pth",
        format: Format::TorchZip,
        network: "resnet38_rrm",
        hashed: as_is,
        keys: 233,
        skipped: 37,
        missing: &[],
        notes: &[],
    },
    Case {
        file: "resnet50_mxnet.params",
        format: Format::Mxnet,
        network: "cian_resnet50",
        hashed: as_is,
        keys: 259,
        skipped: 2,
        missing: &["fc1_weight"],
        notes: &["arg: and aux:"],
    },
    Case {
        file: "resnet50_torchvision.pth",
        format: Format::TorchZip,
        network: "deeplab_resnet50",
        hashed: as_is,
        keys: 320,
        skipped: 55,
        missing: &["classifier.weight", "classifier.bias"],
        notes: &[],
    },
    Case {
        file: "vgg16_largefov.caffemodel",
        format: Format::Caffe,
        network: "vgg16_largefov_cls",
        hashed: as_is,
        keys: 30,
        skipped: 0,
        missing: &["fc8.weight"],
        notes: &[],
    },
    Case {
        file: "vgg16_largefov_v1.caffemodel",
        format: Format::Caffe,
        network: "vgg16_largefov_cls",
        hashed: as_is,
        keys: 30,
        skipped: 0,
        missing: &["fc8.weight"],
        notes: &["V1"],
    },
    Case {
        file: "vgg16_torchvision.pth",
        format: Format::TorchZip,
        network: "vgg16_coattention",
        hashed: |name| name.strip_prefix("vgg.").unwrap().to_owned(),
        keys: 27,
        skipped: 1,
        missing: &EXTRA,
        notes: &[],
    },
    Case {
        file: "vgg16_coattention_checkpoint.pth",
        format: Format::TorchZip,
        network: "vgg16_coattention",
        hashed: as_is,
        keys: 37,
        skipped: 0,
        missing: &[],
        notes: &["state_dict", "module."],
    },
];

fn open(case: &Case) -> Checkpoint {
    Checkpoint::open(&golden(case.file)).unwrap()
}

fn planned(case: &Case, checkpoint: &Checkpoint) -> Plan {
    plan(checkpoint, case.network, &declared(case.network)).unwrap()
}

fn missing(plan: &Plan) -> Vec<&str> {
    plan.missing.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn every_golden_file_is_a_case() {
    let files = std::fs::read_dir(golden("")).unwrap();
    for file in files.map(|file| file.unwrap().file_name().into_string().unwrap()) {
        assert!(CASES.iter().any(|case| case.file == file), "{file}");
    }
}

#[test]
fn every_golden_file_loads_in_full() {
    for case in &CASES {
        let checkpoint = open(case);
        assert_eq!(checkpoint.format(), case.format, "{}", case.file);
        assert_eq!(checkpoint.names().count(), case.keys, "{}", case.file);
        assert_eq!(checkpoint.notes().len(), case.notes.len(), "{:?}", checkpoint.notes());
        for (note, part) in checkpoint.notes().iter().zip(case.notes) {
            assert!(note.contains(part), "{note}");
        }
        let plan = planned(case, &checkpoint);
        assert_eq!(plan.surprises(), Vec::<String>::new(), "{}", case.file);
        assert_eq!(missing(&plan), case.missing, "{}", case.file);
        assert_eq!(plan.skipped.len(), case.skipped, "{}", case.file);
        assert_eq!(plan.loaded.len() + case.skipped, case.keys, "{}", case.file);
        for (value, (name, shape)) in plan.values(&checkpoint).zip(plan.shapes()) {
            let (loaded, values) = value.unwrap();
            assert_eq!(loaded, name);
            assert_eq!(values, expected(&(case.hashed)(&name), &shape), "{} {name}", case.file);
        }
    }
}

#[test]
fn a_converted_file_loads_again_with_the_same_values() {
    for case in &CASES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("converted.safetensors");
        let checkpoint = open(case);
        let first = planned(case, &checkpoint);
        let values = first.values(&checkpoint).map(|value| value.map(|(_, values)| values));
        write_safetensors(&path, &first.shapes(), values).unwrap();

        let converted = Checkpoint::open(&path).unwrap();
        let second = planned(case, &converted);
        assert_eq!(second.input, first.input);
        assert_eq!(second.shapes(), first.shapes());
        assert_eq!(missing(&second), case.missing);
        assert!(second.skipped.is_empty() && second.surprises().is_empty());
        let pairs = first.values(&checkpoint).zip(second.values(&converted));
        for (a, b) in pairs {
            assert_eq!(a.unwrap(), b.unwrap(), "{}", case.file);
        }
    }
}

#[test]
fn the_classifier_of_another_class_count_is_left_fresh() {
    let case = CASES.iter().find(|case| case.file == "resnet38_rrm.pth").unwrap();
    let mut declared = declared(case.network);
    for (name, shape) in &mut declared {
        match name.as_str() {
            "fc8.weight" => shape[0] = 6,
            "fc8_seg_conv2.weight" | "fc8_seg_conv2.bias" => shape[0] = 7,
            _ => {}
        }
    }
    let plan = plan(&open(case), case.network, &declared).unwrap();
    assert_eq!(
        missing(&plan),
        ["fc8.weight", "fc8_seg_conv2.weight", "fc8_seg_conv2.bias"]
    );
    assert!(plan.missing.iter().all(|entry| entry.reason.contains("classes")));
    assert!(plan.surprises().is_empty());
}

#[test]
fn the_classifiers_of_one_network_start_another() {
    let (cls, aff) = (&CASES[1], &CASES[4]);
    let plan = plan(&open(cls), aff.network, &declared(aff.network)).unwrap();
    assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
    assert_eq!(
        missing(&plan),
        ["f8_3.weight", "f8_4.weight", "f8_5.weight", "f9.weight"]
    );
}

#[test]
fn timms_names_of_efficientnet_lite0_are_the_same_layers() {
    let network = weakseg::models::Network::named("efficientnet_lite0", 1, 20).unwrap();
    let ours = network.declare().0.into_iter().map(|p| (p.name, p.shape));
    let shapes: Vec<_> = ours.collect();
    let layer = |conv: &str, norm: &str| {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let norm = parts.iter().map(|part| format!("{norm}.{part}"));
        [format!("{conv}.weight")].into_iter().chain(norm).collect::<Vec<_>>()
    };
    // In the order in which either side declares them.
    let mut keys = layer("conv_stem", "bn1");
    for (stage, blocks) in [1, 2, 2, 3, 3, 4, 1].into_iter().enumerate() {
        for block in 0..blocks {
            let names: &[(&str, &str)] = match stage {
                0 => &[("conv_dw", "bn1"), ("conv_pw", "bn2")],
                _ => &[("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")],
            };
            for (conv, norm) in names {
                let at = |name| format!("blocks.{stage}.{block}.{name}");
                keys.extend(layer(&at(*conv), &at(*norm)));
            }
        }
    }
    keys.extend(layer("conv_head", "bn2"));
    keys.extend(["classifier.weight".to_owned(), "classifier.bias".to_owned()]);
    assert_eq!(keys.len(), shapes.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tf_efficientnet_lite0.safetensors");
    let file: Vec<_> = keys
        .iter()
        .cloned()
        .zip(shapes.iter().map(|(_, s)| s.clone()))
        .collect();
    let values = file.iter().map(|(_, shape)| Ok(vec![0.0; shape.iter().product()]));
    write_safetensors(&path, &file, values.collect::<Vec<_>>()).unwrap();
    let plan = plan(&Checkpoint::open(&path).unwrap(), "efficientnet_lite0", &shapes).unwrap();
    assert!(plan.missing.is_empty() && plan.skipped.is_empty());
    for (loaded, (key, (name, _))) in plan.loaded.iter().zip(keys.iter().zip(&shapes)) {
        assert_eq!((&loaded.key, &loaded.name), (key, name));
    }
}

/// The convolutions of ResNet101's blocks with the norm after each, in the order in which they are declared: level and
/// block from 0, and which of the four it is.
fn resnet101() -> impl Iterator<Item = (usize, usize, usize)> {
    let blocks = [3, 4, 23, 3].into_iter().enumerate();
    blocks.flat_map(|(level, blocks)| {
        (0..blocks).flat_map(move |block| (0..if block == 0 { 4 } else { 3 }).map(move |layer| (level, block, layer)))
    })
}

#[test]
fn ports_of_deeplab_v2_have_the_same_layers_under_other_names() {
    let network = weakseg::models::Network::named("deeplabv2_resnet101", 32, 20).unwrap();
    let ours = network.declare().0.into_iter().map(|p| (p.name, p.shape));
    let shapes: Vec<_> = ours.collect();
    let layer = |conv: String, norm: String| {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let norm = parts.iter().map(|part| format!("{norm}.{part}"));
        [format!("{conv}.weight")].into_iter().chain(norm).collect::<Vec<_>>()
    };
    // isht7/pytorch-deeplab-resnet.
    let mut scale = layer("Scale.conv1".into(), "Scale.bn1".into());
    // kazuto1011/deeplab-pytorch.
    let mut blocks = layer("base.layer1.conv1.conv".into(), "base.layer1.conv1.bn".into());
    for (level, block, i) in resnet101() {
        let at = |name: &str| format!("Scale.layer{}.{block}.{name}", level + 1);
        let (conv, norm) = [
            ("conv1", "bn1"),
            ("conv2", "bn2"),
            ("conv3", "bn3"),
            ("downsample.0", "downsample.1"),
        ][i];
        scale.extend(layer(at(conv), at(norm)));
        let unit = ["reduce", "conv3x3", "increase", "shortcut"][i];
        let at = format!("base.layer{}.block{}.{unit}", level + 2, block + 1);
        blocks.extend(layer(format!("{at}.conv"), format!("{at}.bn")));
    }
    for (i, part) in (0..4).flat_map(|i| [(i, "weight"), (i, "bias")]) {
        scale.push(format!("Scale.layer5.conv2d_list.{i}.{part}"));
        blocks.push(format!("base.aspp.c{i}.{part}"));
    }
    for (port, keys) in [("isht7", scale), ("kazuto1011", blocks)] {
        assert_eq!(keys.len(), shapes.len(), "{port}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deeplabv2.safetensors");
        let file = keys.iter().cloned().zip(shapes.iter().map(|(_, s)| s.clone()));
        let file: Vec<_> = file.collect();
        let values = file.iter().map(|(_, shape)| Ok(vec![0.0; shape.iter().product()]));
        write_safetensors(&path, &file, values.collect::<Vec<_>>()).unwrap();
        let plan = plan(&Checkpoint::open(&path).unwrap(), "deeplabv2_resnet101", &shapes).unwrap();
        assert!(
            plan.missing.is_empty() && plan.skipped.is_empty(),
            "{port}: {:?}",
            plan.surprises()
        );
        assert_eq!(plan.input.mean, [104.008, 116.669, 122.675], "{port}");
        for (loaded, (key, (name, _))) in plan.loaded.iter().zip(keys.iter().zip(&shapes)) {
            assert_eq!((&loaded.key, &loaded.name), (key, name), "{port}");
        }
    }
}
