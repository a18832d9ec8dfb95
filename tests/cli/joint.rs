//! The methods that learn in one network, and the tables that compare their parts.

use std::collections::BTreeSet;

use weakseg::data::{DataOptions, ShapesOptions, open};

use super::harness::*;

#[test]
fn joint_methods_go_end_to_end_and_keep_to_the_tags() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = ShapesOptions {
        size: 48,
        train: 6,
        val: 2,
        ..ShapesOptions::default()
    };
    let data = open(&DataOptions::built_in(0, shapes)).unwrap();
    for method in ["aalr", "rrm-two-step"] {
        let args = ["run", "--method", method, "--out", method, "--use-tags"];
        let crop = ["--set", "joint.training.augment.crop=48"];
        small_shapes(dir.path(), &[&args[..], &crop].concat()).succeeds();
        let run = dir.path().join(method);
        let stages = &json(&run.join("metrics.json"))["stages"];
        assert_eq!(stages["segment"]["images"], 2);
        assert_eq!(stages["label"].is_object(), method == "rrm-two-step");
        let named = |values: image::GrayImage| -> BTreeSet<u8> { values.into_raw().into_iter().collect() };
        for (split, folder) in [(&data.val, "predictions"), (&data.train, "labels")] {
            for i in split.indices().filter(|_| run.join(folder).exists()) {
                let path = run.join(folder).join(format!("{}.png", split.name(i)));
                let mask = weakseg::data::decode::read_mask(path, 6, (48, 48)).unwrap();
                let mut allowed: BTreeSet<u8> = split.tags(i).iter().map(|t| *t as u8 + 1).collect();
                allowed.insert(0);
                assert!(named(mask).is_subset(&allowed), "{method} {folder} {i}");
            }
        }
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["run", "--method", "rrm", "--out", "run"];
    for set in [
        "joint.training.augment.crop=48",
        "joint.training.batch=2",
        "joint.training.epochs=3",
        "joint.training.checkpoint_every=1",
        "joint.training.optimizer.lr=1e25",
    ] {
        args.extend(["--set", set]);
    }
    small_shapes(dir.path(), &args).fails(&["joint: the loss \"total\" became", "last good state"]);
    let checkpoint = dir.path().join("run/joint/checkpoint.safetensors");
    assert!(checkpoint.exists());
}

#[test]
fn an_ablation_prints_its_rows_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["ablate", "rrm", "--rows", "cam-ce,reliable-joint", "--out", "rows"];
    args.extend(["--device", "cpu", "--recipe", "smoke", "--json"]);
    args.extend(["--set", "classify.augment.crop=48"]);
    args.extend(["--set", "joint.training.augment.crop=48"]);
    args.extend(SMALL_SHAPES);
    let first = weakseg(dir.path(), &args).succeeds();
    let rows: serde_json::Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!((&rows[0]["row"], &rows[0]["paper"]), (&"cam-ce".into(), &46.1.into()));
    assert!(rows[1]["mean_iou"].is_number());
    // One classifier serves all rows, and nothing is trained twice.
    let classifier = |row: &str| std::fs::read(dir.path().join(row).join("classify/checkpoint.safetensors")).unwrap();
    assert_eq!(classifier("rows/cam-ce"), classifier("rows/classifier"));
    let before = files(&dir.path().join("rows/cam-ce/joint"));
    let again = weakseg(dir.path(), &args).succeeds();
    assert_eq!(again.out, first.out);
    assert_same(&before, &files(&dir.path().join("rows/cam-ce/joint")));
    weakseg(dir.path(), &["ablate", "rrm", "--rows", "7"]).fails(&["no such row", "cam-ce"]);
    weakseg(dir.path(), &["ablate", "cam"]).fails(&["\"cam\"", "rrm, aalr, cian, mcis"]);
}
