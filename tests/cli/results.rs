//! What comes out: the same from every form of a data set, masks and overlays where they were asked for, plain numbers.

use std::fs;

use serde_json::Value;

use super::harness::*;

#[test]
fn shapes_written_as_a_voc_folder_give_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = [
        "shapes", "--out", "set", "--train", "5", "--val", "2", "--seed", "4", "--json",
    ];
    let ran = weakseg(dir.path(), &write).succeeds();
    let written: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&written["train"], &written["val"]), (&5.into(), &2.into()));
    assert_eq!(files(&at("set/JPEGImages")).len(), 7);
    let size = ["--seed", "4", "--set", "shapes.train=5", "--set", "shapes.val=2"];
    for (data, out) in [("shapes", "built-in"), ("set", "voc")] {
        let args = [&["run", "--data", data, "--out", out], &size[..]].concat();
        small(dir.path(), &args).succeeds();
    }
    assert_same(&results(&at("voc")), &results(&at("built-in")));
    let stages = |out: &str| json(&at(out).join("metrics.json"))["stages"].clone();
    assert_eq!(stages("voc"), stages("built-in"));
}

#[test]
fn folders_with_a_table_and_with_a_sub_folder_a_class_give_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    pets(&at("table"));
    for (name, classes) in [
        ("a", &["cat"][..]),
        ("b", &["dog"]),
        ("c", &["cat", "dog"]),
        ("d", &["dog"]),
    ] {
        for class in classes {
            let image = fs::read(at(&format!("table/{name}.png"))).unwrap();
            write(&at(&format!("sorted/{class}/{name}.png")), image);
        }
    }
    for (data, kind) in [("table", &[][..]), ("sorted", &["--data-kind", "folder"])] {
        let out = format!("of-{data}");
        let args = [&["run", "--data", data, "--out", &out], kind].concat();
        let ran = small(dir.path(), &args).succeeds();
        assert!(!ran.err.contains("warning"), "{}", ran.err);
        // Without masks there is nothing to compare with.
        let metrics = json(&at(&out).join("metrics.json"));
        assert_eq!(metrics["stages"], serde_json::json!({}));
        assert_eq!(metrics["classes"], serde_json::json!(["cat", "dog"]));
        assert!(at(&out).join("report.html").exists());
    }
    assert_same(&results(&at("of-sorted")), &results(&at("of-table")));

    // With masks here, and in another folder for validation, everything is scored.
    for (set, name, size) in [("table", "a", 40), ("table", "b", 52), ("val", "e", 36)] {
        fs::create_dir_all(at(&format!("{set}/masks"))).unwrap();
        let path = at(&format!("{set}/masks/{name}.png"));
        mask(size, 44, 2).save(path).unwrap();
    }
    picture(36, 44).save(at("val/e.png")).unwrap();
    let args = ["run", "--data", "table", "--val", "val", "--out", "scored"];
    small(dir.path(), &args).succeeds();
    let stages = json(&at("scored/metrics.json"))["stages"].clone();
    assert_eq!(
        (&stages["cam"]["images"], &stages["cam"]["split"]),
        (&2.into(), &"train".into())
    );
    assert_eq!(
        (&stages["segment"]["images"], &stages["segment"]["split"]),
        (&1.into(), &"val".into())
    );
    assert_eq!(
        files(&at("scored/predictions")).keys().collect::<Vec<_>>(),
        ["e.png", "network/e.png"]
    );
}

#[test]
fn metrics_and_json_say_what_the_issue_promises() {
    let dir = tempfile::tempdir().unwrap();
    let ran = small_shapes(dir.path(), &["run", "--out", "run", "--json"]).succeeds();
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    let metrics = json(&dir.path().join("run/metrics.json"));
    assert_eq!(printed, metrics);
    let classes = metrics["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 6);
    for (stage, images, split) in [
        ("cam", 6, "train"),
        ("propagate", 6, "train"),
        ("label", 6, "train"),
        ("segment", 2, "val"),
        ("segment_crf", 2, "val"),
    ] {
        let score = &metrics["stages"][stage];
        assert_eq!((&score["images"], &score["split"]), (&images.into(), &split.into()));
        let iou = score["iou"].as_object().unwrap();
        assert_eq!(iou.len(), 7);
        assert!(classes.iter().all(|c| iou.contains_key(c.as_str().unwrap())));
        let values: Vec<f64> = iou.values().filter_map(Value::as_f64).collect();
        assert!(values.iter().all(|v| (0.0..=100.0).contains(v)), "{score}");
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((score["mean_iou"].as_f64().unwrap() - mean).abs() < 1e-9, "{score}");
        // Background is most of every image.
        assert!(iou["background"].as_f64().unwrap() > 1.0);
        assert_eq!(score["threshold"].is_number(), stage == "cam");
    }
    let seconds = metrics["seconds"].as_object().unwrap();
    assert_eq!(seconds.len(), 7);
    // Scored again, it is the same.
    let ran = weakseg(dir.path(), &["eval", "--out", "run", "--json"]).succeeds();
    let again: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(again["stages"], metrics["stages"]);
    let table = weakseg(dir.path(), &["eval", "--out", "run"]).succeeds().out;
    for word in ["cam", "propagate", "label", "segment", "mIoU", "report.html"] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn prediction_writes_a_mask_for_every_image_and_overwrites_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small_shapes(dir.path(), &["run", "--method", "supervised", "--out", "run"]).succeeds();
    fs::create_dir_all(at("photos/inner")).unwrap();
    for (name, width) in [("photos/a.jpg", 50), ("photos/inner/b.png", 64), ("one.png", 33)] {
        picture(width, 40).save(at(name)).unwrap();
    }
    let predict = |args: &[&str]| {
        let base = ["predict", "--out", "run", "--device", "cpu"];
        weakseg(dir.path(), &[&base, args].concat())
    };
    let ran = predict(&["photos", "one.png", "--to", "masks", "--overlay", "--json"]).succeeds();
    let made: Vec<_> = files(&at("masks")).into_keys().collect();
    assert_eq!(
        made,
        [
            "a.png",
            "a_overlay.png",
            "b.png",
            "b_overlay.png",
            "one.png",
            "one_overlay.png"
        ]
    );
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    for item in list.as_array().unwrap() {
        let path = |key: &str| at(item[key].as_str().unwrap());
        let (image, mask) = (image::open(path("image")).unwrap(), image::open(path("mask")).unwrap());
        let pixels = u64::from(image.width()) * u64::from(image.height());
        assert_eq!((mask.width(), mask.height()), (image.width(), image.height()));
        let counts = item["pixels"].as_object().unwrap().values();
        assert_eq!(counts.filter_map(Value::as_u64).sum::<u64>(), pixels);
    }
    assert_eq!(list.as_array().unwrap().len(), 3);
    let ran = predict(&["one.png"]).succeeds();
    assert!(ran.out.contains("1 masks in"), "{}", ran.out);
    assert!(at("run/predicted/one.png").exists());

    // Two of one name, and every way in which a mask or an overlay would replace an image.
    picture(20, 20).save(at("photos/one.png")).unwrap();
    picture(20, 20).save(at("photos/one_overlay.png")).unwrap();
    let before = files(&at("photos"));
    predict(&["photos", "one.png", "--to", "two"]).fails(&["one.png", "would both become"]);
    predict(&["photos", "--to", "two", "--overlay"]).fails(&["one_overlay.png"]);
    predict(&["photos/one.png", "--to", "photos"]).fails(&["would overwrite an image"]);
    predict(&["photos/one.png", "--to", "./photos/inner/.."]).fails(&["would overwrite"]);
    predict(&["photos/one.png", "photos/one_overlay.png", "--to", "three", "--overlay"]).fails(&["one_overlay.png"]);
    assert!(!at("two").exists());
    assert_same(&files(&at("photos")), &before);
}

#[test]
fn devices_are_listed_for_people_and_machines() {
    let dir = tempfile::tempdir().unwrap();
    let ran = weakseg(dir.path(), &["devices", "--json"]).succeeds();
    let adapters: Value = serde_json::from_str(&ran.out).unwrap();
    for adapter in adapters.as_array().unwrap() {
        for key in ["name", "kind", "backend", "driver"] {
            assert!(adapter[key].is_string(), "{adapter}");
        }
        for limit in adapter["limits"].as_array().unwrap() {
            assert!(limit["needed"].is_u64() && limit["available"].is_u64());
        }
    }
    let ran = weakseg(dir.path(), &["devices"]).succeeds();
    assert!(ran.out.contains("--device auto would take: "), "{}", ran.out);
    // Nothing was wrong, so nothing is said to be.
    assert!(!ran.err.contains("error"), "{}", ran.err);
}
