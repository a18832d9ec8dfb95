//! Data sets of annotation programs, from the command line.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::harness::*;

/// Saves pictures of 40 x 44 in `folder` under these paths.
fn pictures(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture(40, 44).save(path).unwrap();
    }
}

fn coco(folder: &Path) {
    pictures(folder, &["train2014/a.png", "train2014/b.png", "val2014/c.png"]);
    let categories = r#""categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]"#;
    let image = |id: usize, name: &str| format!(r#"{{"id": {id}, "file_name": "{name}", "width": 40, "height": 44}}"#);
    let region = |id: usize, category: usize| {
        format!(
            r#"{{"image_id": {id}, "category_id": {category}, "segmentation": [[2, 2, 30, 2, 30, 30, 2, 30]], "bbox": [2, 2, 28, 28], "area": 784, "iscrowd": 0}}"#
        )
    };
    for (part, images, regions) in [
        (
            "train",
            [image(1, "a.png"), image(2, "b.png")].join(", "),
            [region(1, 3), region(2, 90)].join(", "),
        ),
        ("val", image(7, "c.png"), region(7, 3)),
    ] {
        let text = format!(r#"{{"images": [{images}], {categories}, "annotations": [{regions}]}}"#);
        write(&folder.join(format!("annotations/instances_{part}2014.json")), text);
    }
}

fn yolo(folder: &Path) {
    pictures(
        folder,
        &["images/train/a.png", "images/train/b.png", "images/val/c.png"],
    );
    write(
        &folder.join("data.yaml"),
        "train: images/train\nval: images/val\nnames: [cat, dog]\n",
    );
    for (name, class) in [("train/a", 0), ("train/b", 1), ("val/c", 0)] {
        let label = format!("{class} 0.1 0.1 0.8 0.1 0.8 0.8 0.1 0.8\n");
        write(&folder.join(format!("labels/{name}.txt")), label);
    }
}

fn labelme(folder: &Path) {
    pictures(folder, &["a.png", "b.png", "c.png"]);
    for (name, label) in [("a", "cat"), ("b", "dog"), ("c", "cat")] {
        let shape =
            format!(r#"{{"label": "{label}", "points": [[2, 2], [30, 2], [30, 30]], "shape_type": "polygon"}}"#);
        let text = format!(
            r#"{{"shapes": [{shape}], "imagePath": "{name}.png", "imageData": null, "imageHeight": 44, "imageWidth": 40}}"#
        );
        write(&folder.join(format!("{name}.json")), text);
    }
}

fn cvat(folder: &Path) {
    pictures(folder, &["JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png"]);
    write(
        &folder.join("labelmap.txt"),
        "background:0,0,0::\ncat:250,0,0::\ndog:0,9,0::\n",
    );
    std::fs::create_dir(folder.join("SegmentationClass")).unwrap();
    for (name, colour) in [("a", [250, 0, 0]), ("b", [0, 9, 0]), ("c", [250, 0, 0])] {
        let colours = RgbImage::from_fn(40, 44, |x, _| Rgb(if x < 20 { colour } else { [0; 3] }));
        colours
            .save(folder.join(format!("SegmentationClass/{name}.png")))
            .unwrap();
    }
}

/// Masks of values, `a` and `c` of the first class and `b` of the second, in `masks`.
fn values(folder: &Path, masks: &str) {
    for (name, value) in [("a", 1), ("b", 2), ("c", 1)] {
        let path = folder.join(format!("{masks}/{name}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mask(40, 44, value).save(path).unwrap();
    }
}

fn labelme2voc(folder: &Path) {
    pictures(folder, &["JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png"]);
    write(&folder.join("class_names.txt"), "__ignore__\n_background_\ncat\ndog\n");
    values(folder, "SegmentationClass");
}

fn mmseg(folder: &Path) {
    pictures(
        folder,
        &["img_dir/train/a.png", "img_dir/train/b.png", "img_dir/train/c.png"],
    );
    write(&folder.join("classes.txt"), "background\ncat\ndog\n");
    values(folder, "ann_dir/train");
}

/// What `--data-kind` calls a layout, what makes one in a folder, and how it is told.
type Layout = (&'static str, fn(&Path), &'static str);

#[test]
fn every_layout_is_told_and_has_its_classes_and_masks() {
    let dir = tempfile::tempdir().unwrap();
    let layouts: [Layout; 6] = [
        ("coco", coco, "COCO's annotations"),
        ("yolo", yolo, "a YOLO data set"),
        ("labelme", labelme, "labelme's annotations"),
        ("cvat", cvat, "CVAT's segmentation masks"),
        ("labelme2voc", labelme2voc, "what labelme2voc writes"),
        ("mmseg", mmseg, "mmsegmentation's folders"),
    ];
    for (name, make, told) in layouts {
        let folder = dir.path().join(name);
        make(&folder);
        let ran = weakseg(dir.path(), &["inspect", name, "--recipe", "smoke"]).succeeds();
        for part in [told, "classes: 2: cat ", "dog 1", "40 x 44", "3 of 3 fit the tags"] {
            assert!(ran.out.contains(part), "{name}: no {part:?} in {}", ran.out);
        }
        let asked = weakseg(dir.path(), &["inspect", name, "--recipe", "smoke", "--data-kind", name]);
        assert!(asked.succeeds().out.contains(told), "{name}");
    }
}

#[test]
fn a_network_learns_from_cocos_tags_and_is_scored_by_its_masks() {
    let dir = tempfile::tempdir().unwrap();
    coco(&dir.path().join("coco"));
    small(dir.path(), &["classify", "--data", "coco", "--out", "run"]).succeeds();
    let ran = small(dir.path(), &["cam", "--out", "run"]).succeeds();
    assert!(ran.out.contains("cam") && ran.out.contains("train"), "{}", ran.out);
    let scores = json(&dir.path().join("run/metrics.json"));
    assert_eq!(scores["classes"], serde_json::json!(["cat", "dog"]));
}
