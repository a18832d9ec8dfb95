//! Images with COCO's JSON.

use super::*;

/// COCO's JSON of images 1, 2, ... of 8 x 6 and categories 3 (cat) and 7 (dog), with annotations as (image, category, rest).
fn coco(files: &[&str], annotations: &[(usize, usize, &str)]) -> String {
    let images = files.iter().zip(1..);
    let images = images.map(|(file, id)| format!(r#"{{"id": {id}, "file_name": "{file}", "width": 8, "height": 6}}"#));
    let rows = annotations.iter().map(|(image, category, rest)| {
        format!(r#"{{"image_id": {image}, "category_id": {category}, "iscrowd": 0, {rest}}}"#)
    });
    format!(
        "{{\"images\": [{}],\n\"annotations\": [{}],\n\"categories\": [{{\"id\": 7, \"name\": \"dog\"}}, {{\"id\": 3, \"name\": \"cat\"}}]}}",
        images.collect::<Vec<_>>().join(",\n"),
        rows.collect::<Vec<_>>().join(",\n")
    )
}

const SQUARE: &str = r#""segmentation": [[0, 0, 2, 0, 2, 3, 0, 3]], "bbox": [0, 0, 2, 3]"#;
const BOX: &str = r#""bbox": [0, 0, 2, 3]"#;

#[test]
fn coco_has_parts_tags_and_masks() {
    let train = coco(
        &["a.jpg", "b.jpg", "gone.jpg", "empty.jpg"],
        &[(1, 3, SQUARE), (1, 7, SQUARE), (2, 7, SQUARE), (3, 7, SQUARE)],
    );
    let val = coco(&["c.jpg", "d.jpg"], &[(1, 7, SQUARE), (1, 3, BOX)]);
    for (images, jsons) in [
        (
            ["train2014/", "val2014/"],
            [
                "annotations/instances_train2014.json",
                "annotations/instances_val2014.json",
            ],
        ),
        (
            ["images/train2017/", "images/val2017/"],
            [
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
            ],
        ),
        (
            ["images/", "images/"],
            ["annotations/train.json", "annotations/val.json"],
        ),
        (
            ["train/", "valid/"],
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
        ),
    ] {
        let names = [("a", 0), ("b", 0), ("empty", 0), ("c", 1), ("d", 1)];
        let names: Vec<String> = names
            .iter()
            .map(|(name, part)| format!("{}{name}.jpg", images[*part]))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dir = folder(&names, &[(jsons[0], &train), (jsons[1], &val)]);
        let data = open(&dir);
        assert_eq!(
            (data.kind, &data.classes[..]),
            (Kind::Coco, &["cat", "dog"].map(String::from)[..])
        );
        // The later of two equal parts is on top. A box has no mask; an image with nothing in it has an empty one.
        assert_eq!(told(&data.train), ["a [0, 1] {0: 42, 2: 6}", "b [1] {0: 42, 2: 6}"]);
        assert_eq!(told(&data.val), ["c [0, 1]", "d [] {0: 48}"]);
        assert!(!data.val_is_train);
        assert_eq!(left_out(&data), [(MISSING, 1), (UNTAGGED, 1)]);
        assert_eq!(data.skipped, 2);
        let taken_for = &data.seen.taken_for;
        assert!(
            taken_for.contains("COCO") && taken_for.contains(jsons[1]),
            "{taken_for}"
        );
    }
}

#[test]
fn one_coco_file_is_a_data_set_and_boxes_give_tags_alone() {
    let dir = folder(
        &["images/a.jpg", "images/b.jpg"],
        &[(
            "set.json",
            &coco(&["a.jpg", "b.jpg"], &[(1, 3, SQUARE), (2, 7, SQUARE)]),
        )],
    );
    let data = open(&dir);
    assert!(data.val_is_train);
    assert_eq!((data.train.len(), data.val.len(), data.seen.masks.found), (2, 2, 2));
    let boxes = coco(&["a.jpg", "b.jpg"], &[(1, 3, BOX), (2, 7, BOX)]);
    fs::write(dir.path().join("set.json"), boxes).unwrap();
    let data = open(&dir);
    assert_eq!(told(&data.train), ["a [0]", "b [1]"]);
    assert!(data.val.is_empty() && data.seen.taken_for.contains("tags but no masks"));
    let mut rules = options(dir.path());
    rules.mask_values = vec!["255=dog".to_owned()];
    let error = error_of(&rules);
    assert!(error.contains("--mask-values") && error.contains("has none"), "{error}");
}

#[test]
fn a_folder_to_validate_on_has_the_classes_of_the_data_set() {
    let dir = folder(
        &["images/a.jpg"],
        &[("set.json", &coco(&["a.jpg"], &[(1, 3, SQUARE), (1, 7, BOX)]))],
    );
    let one = coco(&["b.jpg"], &[(1, 3, SQUARE)]).replace(r#"{"id": 3, "name": "cat"}"#, r#"{"id": 3, "name": "cow"}"#);
    let other = folder(&["b.jpg"], &[("x.json", &one)]);
    let mut with_val = options(dir.path());
    with_val.val = Some(other.path().to_owned());
    let unknown = error_of(&with_val);
    assert!(unknown.contains("x.json") && unknown.contains("\"cow\""), "{unknown}");
    let same = coco(&["b.jpg"], &[(1, 7, SQUARE)]);
    fs::write(other.path().join("x.json"), same).unwrap();
    assert_eq!(
        told(&crate::data::open(&with_val).unwrap().val),
        ["b [1] {0: 42, 2: 6}"]
    );
}

#[test]
fn coco_that_cannot_be_meant_is_refused() {
    let one = |json: &str| folder(&["images/a.jpg"], &[("annotations/instances_train2014.json", json)]);
    for (json, part) in [
        (coco(&["../a.jpg"], &[(1, 3, SQUARE)]), "\"../a.jpg\" leads out"),
        (coco(&["/etc/a.jpg"], &[(1, 3, SQUARE)]), "\"/etc/a.jpg\" is absolute"),
        (
            coco(&["a.jpg"], &[(1, 4, SQUARE)]),
            "line 2: an annotation has the category 4",
        ),
        (coco(&["a.jpg"], &[(1, 3, "\"bbox\": [NaN]")]), "line 2: expected value"),
        (
            coco(&["a.jpg"], &[]).replace("],\n\"cat", ",\n\"cat"),
            "train2014.json: line",
        ),
        (coco(&["b.jpg"], &[(1, 3, SQUARE)]), "that do not exist"),
        (coco(&["a.jpg"], &[]), "1 images without tags"),
        (
            coco(&["a.jpg"], &[(1, 3, SQUARE)]).replace("\"dog\"", "\"Cat\""),
            "differ in case",
        ),
    ] {
        let error = error(&one(&json));
        assert!(error.contains(part), "{error}");
    }
    // Two years are a choice, and one file of several is asked for.
    let json = coco(&["a.jpg"], &[(1, 3, SQUARE)]);
    let dir = one(&json);
    fs::write(dir.path().join("annotations/instances_train2017.json"), &json).unwrap();
    assert!(
        error(&dir).contains("--train-list instances_train2014"),
        "{}",
        error(&dir)
    );
    let mut chosen = options(dir.path());
    chosen.train_list = Some("train2017".to_owned());
    let data = crate::data::open(&chosen).unwrap();
    assert!(data.seen.taken_for.contains("instances_train2017.json"));
    chosen.val_list = Some("val2014".to_owned());
    assert!(error_of(&chosen).contains("no COCO file val2014"));
}

#[test]
fn a_region_that_cannot_be_painted_costs_its_mask_alone() {
    let outside = r#""segmentation": {"size": [6, 8], "counts": [40, 40]}"#;
    let dir = folder(
        &["a.jpg", "b.jpg"],
        &[(
            "set.json",
            &coco(&["a.jpg", "b.jpg"], &[(1, 3, outside), (2, 3, SQUARE)]),
        )],
    );
    let mut data = open(&dir);
    data.verify(&|_, _| {}).unwrap();
    let kept: Vec<bool> = data.train.indices().map(|i| data.train.has_mask(i)).collect();
    assert_eq!((kept, data.train.tags(0)), (vec![false, true], &[0][..]));
    let reason = data.seen.bad_masks.1.unwrap();
    assert!(
        reason.contains("set.json: line 3") && reason.contains("add up to 80"),
        "{reason}"
    );
    // An image of another size too.
    RgbImage::new(6, 8).save(dir.path().join("b.jpg")).unwrap();
    let error = open(&dir).train.mask(1).unwrap_err().to_string();
    assert!(error.contains("8 x 6 for b.jpg, but the image is 6 x 8"), "{error}");
}

#[test]
fn an_image_of_the_parts_own_folder_comes_before_one_elsewhere() {
    let names = ["a.jpg", "b.jpg", "c.jpg"];
    let json = coco(&names, &[(1, 3, BOX), (2, 3, BOX), (3, 3, BOX)]);
    let places = ["train2014/a.jpg", "images/b.jpg", "train2014/c.jpg", "images/c.jpg"];
    let dir = folder(&places, &[("annotations/instances_train2014.json", &json)]);
    let data = open(&dir);
    let found: Vec<_> = data.train.indices().map(|i| data.train.files(i).unwrap().0).collect();
    assert_eq!(found, [0, 1, 2].map(|i: usize| dir.path().join(places[i])).each_ref());
}
