//! Masks that go to other programs, and labels that come back corrected.

use std::fs;

use image::{GrayImage, Luma};
use weakseg::data::decode::{read_mask, write_mask};

use super::harness::*;

/// Those of the built-in data set.
const CLASSES: usize = 6;

#[test]
fn labels_go_out_come_back_and_are_learnt_from() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small_shapes(dir.path(), &["classify", "--out", "run"]).succeeds();
    for args in [
        ["export", "run", "--format", "coco", "--to", "x"],
        ["import", "run", "--format", "coco", "--from", "."],
    ] {
        weakseg(dir.path(), &args).fails(&["has not finished its stage label", "weakseg run"]);
    }
    assert!(!at("x").exists());
    small_shapes(dir.path(), &["run", "--out", "run"]).succeeds();
    for to in ["run", "run/export"] {
        weakseg(dir.path(), &["export", "run", "--format", "voc", "--to", to]).fails(&["in the run directory", "--to"]);
    }
    for format in ["coco", "yolo", "labelme", "cvat", "voc", "hf"] {
        let ran = weakseg(dir.path(), &["export", "run", "--format", format, "--to", format]).succeeds();
        assert!(ran.out.contains("6 labels with"), "{}", ran.out);
        let ran = weakseg(dir.path(), &["import", "run", "--from", format]).succeeds();
        assert!(
            ran.out.contains("0 labels corrected, 6 the same"),
            "{format}: {}",
            ran.out
        );
    }
    assert!(!at("run/corrected").exists());
    let before = files(&at("voc"));
    weakseg(dir.path(), &["export", "run", "--format", "voc", "--to", "voc"]).fails(&["not empty", "--force"]);
    assert_same(&files(&at("voc")), &before);
    let args = [
        "export",
        "run",
        "--format",
        "voc",
        "--masks",
        "predictions",
        "--to",
        "predicted",
    ];
    let ran = weakseg(dir.path(), &args).succeeds();
    assert!(ran.out.starts_with("2 predictions"), "{}", ran.out);

    // One label is drawn anew, one is of no image of the run.
    let drawn = GrayImage::from_fn(48, 48, |x, y| Luma([if x < 20 && y < 9 { 3 } else { 0 }]));
    let label = "SegmentationClass/train_00002.png";
    write_mask(at("voc").join(label), &drawn).unwrap();
    write_mask(at("voc/SegmentationClass/stranger.png"), &drawn).unwrap();
    let ran = weakseg(dir.path(), &["import", "run", "--from", "voc"]).succeeds();
    ran.warns(&["of no training image of the run", "stranger"]);
    assert!(ran.out.contains("1 labels corrected, 5 the same"), "{}", ran.out);
    assert!(ran.out.contains("segment, predict"), "{}", ran.out);
    let own = |name: &str| read_mask(at("run").join(name), CLASSES, (48, 48)).unwrap();
    assert_eq!(own("labels/train_00002.png"), drawn);
    // It wins over what the stage makes, and the network learns from it.
    small_shapes(dir.path(), &["label", "--again", "--out", "run"]).succeeds();
    assert_eq!(own("labels/train_00002.png"), drawn);
    let before = fs::read(at("run/segment/checkpoint.safetensors")).unwrap();
    small_shapes(dir.path(), &["run", "--out", "run"]).succeeds();
    assert_ne!(fs::read(at("run/segment/checkpoint.safetensors")).unwrap(), before);
    assert_eq!(json(&at("run/metrics.json"))["corrected"], 1);
    assert!(
        fs::read_to_string(at("run/report.html"))
            .unwrap()
            .contains("Corrected labels")
    );
    small_shapes(dir.path(), &["classify", "--out", "run", "--fresh"]).succeeds();
    assert!(!at("run/corrected").exists());
}

/// A limit on the size of files stands for the disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_of_an_export() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &["run", "--out", "run"]).succeeds();
    let limits = "trap '' XFSZ; export LLVM_PROFILE_FILE=/dev/null; ulimit -f 8";
    for format in ["labelme", "voc"] {
        // It grows on, and is not what is tested.
        fs::remove_file(dir.path().join("run/log.txt")).unwrap();
        let args = ["export", "run", "--format", format, "--to", "deep/to"];
        limited(dir.path(), limits, &args).fails(&["cannot write", "disk is full", "was removed"]);
        assert!(!dir.path().join("deep").exists(), "{format}");
    }
}
