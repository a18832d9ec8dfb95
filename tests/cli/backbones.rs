//! Stages with a backbone of their own, and networks out of weight files.

use std::path::{Path, PathBuf};

use weakseg::models::Network;
use weakseg::models::params::Declared;
use weakseg::weights::write_safetensors;

use super::harness::*;

/// A golden weight file.
fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights");
    folder.join(name)
}

/// Writes weights of the network called `name` for `classes` classes, all alike, without the parameters that `left_out`
/// selects.
fn weights(path: &Path, name: &str, classes: usize, left_out: impl Fn(&Declared) -> bool) {
    let mut declared = Network::named(name, 1, classes).unwrap().declare().0;
    declared.retain(|p| !left_out(p));
    let shapes: Vec<_> = declared.into_iter().map(|p| (p.name, p.shape)).collect();
    let values = shapes
        .iter()
        .map(|(_, shape)| Ok(vec![0.01f32; shape.iter().product()]));
    write_safetensors(path, &shapes, values.collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_segmentation_network_has_a_backbone_of_its_own_and_starts_from_its_weights() {
    let dir = tempfile::tempdir().unwrap();
    let weights = format!(
        "segment.backbone.weights={}",
        golden("resnet50_torchvision.pth").display()
    );
    let args = [
        "run",
        "--out",
        "run",
        "--set",
        "segment.backbone.name=resnet50",
        "--set",
        "segment.backbone.width_divisor=32",
        "--set",
        &weights,
    ];
    let ran = small_shapes(dir.path(), &args).succeeds();
    assert!(ran.err.contains("resnet50_torchvision.pth"), "{}", ran.err);
    let names = |stage: &str| {
        let path = dir.path().join("run").join(stage).join("checkpoint.safetensors");
        let checkpoint = weakseg::weights::Checkpoint::open(&path).unwrap();
        let names: Vec<String> = checkpoint.names().map(String::from).collect();
        names
    };
    let has = |stage, name: &str| names(stage).iter().any(|n| n == name);
    assert!(has("segment", "layer4.2.conv3.weight"));
    assert!(has("classify", "conv7.weight") && has("affinity", "conv7.weight"));
    // Predicting takes the network that was trained.
    let image = dir.path().join("a.png");
    picture(50, 40).save(&image).unwrap();
    let args = ["predict", "a.png", "--out", "run", "--device", "cpu"];
    weakseg(dir.path(), &args).succeeds();
    assert!(dir.path().join("run/predicted/a.png").exists());
}

#[test]
fn backbones_and_weights_that_do_not_fit_are_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let vgg = format!("backbone.weights={}", golden("vgg16_torchvision.pth").display());
    let narrow = format!("backbone.weights={}", golden("resnet50_torchvision.pth").display());
    let cut = dir.path().join("cut.pth");
    let bytes = std::fs::read(golden("resnet50_torchvision.pth")).unwrap();
    write(&cut, &bytes[..bytes.len() / 2]);
    let cases: [(&[&str], &[&str]); 5] = [
        (
            &["backbone.name=efficientnet_lite0", "backbone.output_stride=12"],
            &["output_stride = 12", "8 and 16"],
        ),
        (
            &["backbone.name=efficientnet_lite0", &vgg],
            &["vgg16_torchvision.pth", "does not hold weights of efficientnet_lite0"],
        ),
        (
            &["backbone.name=resnet50", &narrow],
            &["resnet50_torchvision.pth", "weights of the same network and width"],
        ),
        (&["backbone.name=resnet50", "backbone.weights=cut.pth"], &["cut.pth"]),
        (
            &["backbone.name=resnet50", "backbone.weights=resnet51"],
            &["resnet51 is neither a file nor the name", "weakseg weights list"],
        ),
    ];
    for (sets, parts) in cases {
        let mut args = vec!["run", "--out", "run", "--fresh"];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        small_shapes(dir.path(), &args).fails(parts);
        assert!(!dir.path().join("run/classify/metrics.csv").exists());
    }
}

#[test]
fn a_weight_file_of_a_whole_network_predicts_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let name = "efficientnet_lite0_segmentation";
    picture(40, 32).save(dir.path().join("a.png")).unwrap();
    write(&dir.path().join("classes.txt"), "cat\ndog\n");
    write(&dir.path().join("twice.txt"), "cat\ncat\n");
    weights(&dir.path().join("two.safetensors"), name, 2, |_| false);
    weights(&dir.path().join("part.safetensors"), name, 2, |p| {
        p.name.starts_with("_blocks.7.")
    });
    let predict = |file: &str, network: &str, more: &[&str]| {
        let args = [
            "predict",
            "a.png",
            "--weights",
            file,
            "--network",
            network,
            "--to",
            "masks",
            "--device",
            "cpu",
        ];
        weakseg(dir.path(), &[&args[..], more].concat())
    };
    let ran = predict("two.safetensors", name, &["--classes", "classes.txt"]).succeeds();
    assert!(ran.out.contains("1 masks"), "{}", ran.out);
    let mask = image::open(dir.path().join("masks/a.png")).unwrap();
    assert_eq!((mask.width(), mask.height()), (40, 32));
    let classes = ["--classes", "classes.txt"];
    for (file, network, more, parts) in [
        ("two.safetensors", name, &[][..], &["decoder_scores", "--classes"][..]),
        ("part.safetensors", name, &classes, &["lacks", "_blocks.7."]),
        (
            "two.safetensors",
            "resnet38_cls",
            &classes,
            &["gives no masks", "resnet38_segmentation"],
        ),
        (
            "two.safetensors",
            "resnet38_rrm",
            &classes,
            &["does not hold weights of resnet38_rrm"],
        ),
        ("two.safetensors", "resnet39", &classes, &["unknown network"]),
        (
            "two.safetensors",
            name,
            &["--classes", "twice.txt"],
            &["twice.txt", "\"cat\""],
        ),
        ("none.safetensors", name, &classes, &["none.safetensors"]),
    ] {
        predict(file, network, more).fails(parts);
    }
}
