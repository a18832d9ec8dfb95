//! The protocol of PASCAL VOC: lists, SBD's masks, the evaluation server's folders, the papers' rows.

use std::fs;

use serde_json::Value;

use super::harness::*;

#[test]
fn a_run_on_voc_is_submitted_and_compared_with_the_papers() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (image, tag) in [("a", "dog"), ("b", "cat"), ("c", "dog"), ("t", "")] {
        let path = at(&format!("VOC2012/JPEGImages/{image}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture(52, 44).save(path).unwrap();
        if !tag.is_empty() {
            let xml = format!("<annotation><object><name>{tag}</name></object></annotation>");
            write(&at(&format!("VOC2012/Annotations/{image}.xml")), xml);
            let truth = at(&format!("VOC2012/SegmentationClassAug/{image}.png"));
            fs::create_dir_all(truth.parent().unwrap()).unwrap();
            mask(52, 44, 12).save(truth).unwrap();
        }
    }
    let sets = at("VOC2012/ImageSets/Segmentation");
    let long = "/JPEGImages/a.png /SegmentationClassAug/a.png\n/JPEGImages/b.png /SegmentationClassAug/b.png\n";
    write(&sets.join("trainaug.txt"), long);
    write(&sets.join("val.txt"), "c\n");
    write(&sets.join("test.txt"), "t\n");
    let run = [
        "run",
        "--method",
        "supervised",
        "--data",
        "VOC2012",
        "--train-list",
        "train_aug",
        "--out",
        "run",
    ];
    small(dir.path(), &run).succeeds();

    let predict = ["predict", "--device", "cpu", "--out", "run"];
    let weakseg = |more: &[&str]| weakseg(dir.path(), &[&predict, more].concat());
    weakseg(&["--voc-submission"]).succeeds();
    weakseg(&["--voc-submission=val", "--to", "sub"]).succeeds();
    for (root, part) in [
        ("run/submission", "comp6_test_cls/t.png"),
        ("sub", "comp6_val_cls/c.png"),
    ] {
        let written = files(&at(root));
        let path = format!("results/VOC2012/Segmentation/{part}");
        assert_eq!(written.keys().collect::<Vec<_>>(), [&path]);
        let reader = png::Decoder::new(std::io::Cursor::new(&written[&path]));
        let info = reader.read_info().unwrap().info().clone();
        assert_eq!((info.width, info.height), (52, 44));
        assert_eq!(info.color_type, png::ColorType::Indexed);
    }
    weakseg(&["--voc-submission=nope"]).fails(&["--voc-submission", "no list nope"]);
    fs::remove_file(at("VOC2012/JPEGImages/t.png")).unwrap();
    weakseg(&["--voc-submission"]).fails(&["1 of the 1 images", "test.txt"]);

    let eval = ["eval", "--out", "run", "--paper"];
    let shown = super::harness::weakseg(dir.path(), &eval).succeeds().out;
    for part in ["segment", "[2] AffinityNet, Table 2, Ours-ResNet38", "61.7"] {
        assert!(shown.contains(part), "{shown}");
    }
    let ran = super::harness::weakseg(dir.path(), &[&eval[..], &["--json"]].concat());
    let value: Value = serde_json::from_str(&ran.succeeds().out).unwrap();
    assert_eq!(value["papers"][1]["iou"][0], 88.2);
    assert_eq!(value["stages"]["segment"]["images"], 1);
}

#[test]
fn only_runs_on_vocs_classes_are_compared_and_submitted() {
    let dir = tempfile::tempdir().unwrap();
    let run = ["run", "--method", "supervised", "--out", "run"];
    small_shapes(dir.path(), &run).succeeds();
    for args in [
        &["eval", "--out", "run", "--paper"][..],
        &["predict", "--out", "run", "--voc-submission", "--device", "cpu"],
    ] {
        weakseg(dir.path(), args).fails(&["the twenty classes of PASCAL VOC"]);
    }
}

#[test]
fn an_input_that_is_not_the_networks_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let run = [
        "run",
        "--recipe",
        "vgg16",
        "--set",
        "input.order=rgb",
        "--set",
        "shapes.train=1",
        "--set",
        "shapes.val=1",
        "--device",
        "cpu",
        "--out",
        "run",
    ];
    let ran = weakseg(dir.path(), &run).fails(&["backbone.weights=FILE"]);
    ran.warns(&["[input] is not that of the weights of vgg16", "bgr"]);
}
