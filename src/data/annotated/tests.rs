use std::fs;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;
use crate::data::ShapesOptions;

/// A folder with pictures of 8 x 6, each of its own shade, and text files.
fn folder(images: &[&str], texts: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for (shade, name) in images.iter().enumerate() {
        RgbImage::from_pixel(8, 6, Rgb([shade as u8 * 9; 3]))
            .save(at(name))
            .unwrap();
    }
    for (name, text) in texts {
        fs::write(at(name), text).unwrap();
    }
    dir
}

/// Saves a mask of 8 x 6 whose left half has a value.
fn mask(dir: &tempfile::TempDir, name: &str, value: u8) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mask = GrayImage::from_fn(8, 6, |x, _| Luma([if x < 4 { value } else { 0 }]));
    mask.save(path).unwrap();
}

fn options(dir: &Path) -> DataOptions {
    let mut options = DataOptions::built_in(0, ShapesOptions::default());
    options.data = dir.display().to_string();
    options.kind = None;
    options
}

fn open(dir: &tempfile::TempDir) -> Data {
    crate::data::open(&options(dir.path())).unwrap()
}

fn error_of(options: &DataOptions) -> String {
    let text = format!("{:#}", crate::data::open(options).unwrap_err());
    assert!(!text.contains('\n'), "{text}");
    text
}

fn error(dir: &tempfile::TempDir) -> String {
    error_of(&options(dir.path()))
}

/// Images with their tags, and how many pixels of each value their masks have.
fn told(split: &Split) -> Vec<String> {
    let of = |i: usize| {
        let mut text = format!("{} {:?}", split.name(i), split.tags(i));
        if let Some(mask) = split.mask(i).unwrap() {
            let mut counts = BTreeMap::new();
            mask.iter().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
            text += &format!(" {counts:?}");
        }
        text
    };
    split.indices().map(of).collect()
}

fn left_out(data: &Data) -> Vec<(&str, usize)> {
    data.seen
        .left_out
        .kinds()
        .map(|(kind, count, _)| (kind, count))
        .collect()
}

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

const POLYGON: &str = "0 0 0 0.5 0 0.5 1 0 1\n";

#[test]
fn yolo_has_parts_by_its_config_or_by_folders() {
    let yaml = |train: &str, val: &str| format!("train: {train}\nval: {val}\nnc: 2\nnames: ['cat', 'dog']\n");
    let polygon = |dir: &str, name: &str| (format!("{dir}/{name}.txt"), POLYGON.replace("0 0 0", "1 0 0"));
    for (images, labels, config) in [
        (
            ["images/train", "images/val"],
            ["labels/train", "labels/val"],
            yaml("images/train", "images/val"),
        ),
        (
            ["images/train", "images/val"],
            ["labels/train", "labels/val"],
            yaml("train.txt", "[images/val]"),
        ),
        (
            ["train/images", "valid/images"],
            ["train/labels", "valid/labels"],
            yaml("../train/images", "../valid/images"),
        ),
        (
            ["set/train", "set/val"],
            ["set/train", "set/val"],
            format!("path: set\n{}", yaml("train", "val")),
        ),
        (
            ["train/images", "val/images"],
            ["train/labels", "val/labels"],
            String::new(),
        ),
    ] {
        let names = [
            (0, "a"),
            (0, "b"),
            (0, "empty"),
            (0, "none"),
            (1, "c"),
            (1, "empty_too"),
        ];
        let names: Vec<String> = names
            .iter()
            .map(|(part, name)| format!("{}/{name}.jpg", images[*part]))
            .collect();
        let mut texts = vec![polygon(labels[0], "b"), polygon(labels[1], "c")];
        texts.push((format!("{}/a.txt", labels[0]), POLYGON.to_owned()));
        texts.push((format!("{}/empty.txt", labels[0]), String::new()));
        texts.push((format!("{}/empty_too.txt", labels[1]), "\n".to_owned()));
        let train: Vec<String> = names.iter().take(4).map(|name| format!("./{name}\n")).collect();
        match config.is_empty() {
            true => texts.push(("classes.txt".to_owned(), "cat\ndog\n".to_owned())),
            false => texts.push(("data.yaml".to_owned(), config)),
        }
        texts.push(("train.txt".to_owned(), train.concat()));
        let images: Vec<&str> = names.iter().map(String::as_str).collect();
        let texts: Vec<(&str, &str)> = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let dir = folder(&images, &texts);
        let data = open(&dir);
        assert_eq!(
            (data.kind, &data.classes[..]),
            (Kind::Yolo, &["cat", "dog"].map(String::from)[..])
        );
        assert_eq!(
            told(&data.train),
            ["a [0] {0: 24, 1: 24}", "b [1] {0: 24, 2: 24}"],
            "{images:?}"
        );
        assert_eq!(told(&data.val), ["c [1] {0: 24, 2: 24}", "empty_too [] {0: 48}"]);
        assert_eq!(left_out(&data), [(UNTAGGED, 2)]);
    }
}

#[test]
fn yolo_boxes_give_tags_alone_and_what_cannot_be_meant_is_refused() {
    let yaml = "train: images\nnames: [cat, dog]\n";
    let dir = folder(
        &["images/a.jpg", "images/b.jpg"],
        &[
            ("data.yaml", yaml),
            ("labels/a.txt", "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.2 0.2\n"),
            ("labels/b.txt", "1 0.5 0.5 0.1 0.1\n"),
        ],
    );
    let data = open(&dir);
    assert_eq!(told(&data.train), ["a [0, 1]", "b [1]"]);
    assert!(data.val.is_empty() && data.seen.taken_for.contains("tags but no masks"));
    // A polygon in one of them: the other still has no mask.
    fs::write(dir.path().join("labels/a.txt"), POLYGON).unwrap();
    assert_eq!(told(&open(&dir).train), ["a [0] {0: 24, 1: 24}", "b [1]"]);
    for (text, part) in [
        (
            "2 0.5 0.5 0.1 0.1\n",
            "b.txt line 1: it has the class 2, but there are 2",
        ),
        ("0 nan 0.5 0.1 0.1\n", "b.txt line 1: \"nan\""),
    ] {
        fs::write(dir.path().join("labels/b.txt"), text).unwrap();
        assert!(error(&dir).contains(part), "{}", error(&dir));
    }
    let file = fs::File::create(dir.path().join("labels/b.txt")).unwrap();
    file.set_len(2 << 30).unwrap();
    assert!(error(&dir).contains("b.txt has 2048 MB"), "{}", error(&dir));
    for (train, part) in [
        ("../elsewhere", "\"../elsewhere\" leads out"),
        ("/data/images", "\"/data/images\" is absolute"),
        ("gone", "names gone, which does not exist"),
        ("list.txt", "list.txt line 1: the path \"../../x.jpg\" leads out"),
        ("", "names no training images"),
    ] {
        fs::write(dir.path().join("list.txt"), "../../x.jpg\n").unwrap();
        fs::write(dir.path().join("data.yaml"), yaml.replace("images", train)).unwrap();
        assert!(error(&dir).contains(part), "{}", error(&dir));
    }
    fs::remove_file(dir.path().join("data.yaml")).unwrap();
    fs::write(dir.path().join("labels/b.txt"), POLYGON).unwrap();
    assert!(
        error(&dir).contains("name the classes in classes.txt"),
        "{}",
        error(&dir)
    );
}

fn labelme(image: &str, label: &str) -> String {
    format!(
        r#"{{"version": "5.4.1", "flags": {{}}, "imagePath": "{image}", "imageData": null, "imageHeight": 6, "imageWidth": 8,
"shapes": [{{"label": "{label}", "points": [[0, 0], [4, 0], [4, 6], [0, 6]], "shape_type": "polygon"}}]}}"#
    )
}

#[test]
fn labelme_files_lie_beside_their_images_or_elsewhere() {
    let point = labelme("d.jpg", "dog").replace("polygon", "point");
    let dir = folder(
        &["a.jpg", "b.jpg", "more/c.jpg", "d.jpg", "none.jpg", "val/e.jpg"],
        &[
            ("a.json", &labelme("a.jpg", "dog")),
            ("json/b.json", &labelme("..\\\\b.jpg", "10")),
            ("more/c.json", &labelme("renamed.png", "9")),
            ("d.json", &point),
            ("val/e.json", &labelme("e.jpg", "__ignore__")),
            ("gone.json", &labelme("gone.jpg", "dog")),
            ("other.json", "{\"x\": 1}"),
        ],
    );
    let data = open(&dir);
    assert_eq!(data.kind, Kind::Labelme);
    assert_eq!(data.classes, ["10", "9", "dog"]);
    assert_eq!(
        told(&data.train),
        [
            "a [2] {0: 24, 3: 24}",
            "b [0] {0: 24, 1: 24}",
            "c [1] {0: 24, 2: 24}",
            "d [2]"
        ]
    );
    assert_eq!(told(&data.val), ["e [] {0: 24, 255: 24}"]);
    assert_eq!(left_out(&data), [(MISSING, 1), (UNTAGGED, 1)]);
    fs::write(dir.path().join("classes.txt"), "dog\n9\n10\n").unwrap();
    assert_eq!(open(&dir).train.tags(0), [0]);
    for (json, part) in [
        (
            labelme("../../x.jpg", "dog"),
            "x.json: the path \"../../x.jpg\" leads out",
        ),
        (labelme("/x.jpg", "dog"), "x.json: the path \"/x.jpg\" is absolute"),
        (labelme("a.jpg", "dog"), "are both about"),
        (
            labelme("none.jpg", "cow"),
            "\"cow\", which is no class; known are dog, 9, 10",
        ),
        ("{\"shapes\": [\n".to_owned(), "x.json: line 2: EOF"),
    ] {
        fs::write(dir.path().join("x.json"), json).unwrap();
        assert!(error(&dir).contains(part), "{}", error(&dir));
    }
}

#[test]
fn labelme_flags_are_tags_where_nothing_is_drawn() {
    let flags = |image: &str, flags: &str| {
        format!(r#"{{"flags": {{{flags}}}, "imagePath": "{image}", "imageData": null, "shapes": []}}"#)
    };
    let dir = folder(
        &["a.jpg", "b.jpg"],
        &[
            ("a.json", &flags("a.jpg", "\"cat\": true, \"dog\": true")),
            ("b.json", &flags("b.jpg", "\"cat\": false, \"dog\": true")),
        ],
    );
    let data = open(&dir);
    assert_eq!(
        (told(&data.train), data.val.len()),
        (vec!["a [0, 1]".into(), "b [1]".into()], 0)
    );
}

#[test]
fn labelme2voc_has_its_classes_behind_the_background() {
    let dir = folder(
        &["JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg"],
        &[("class_names.txt", "__ignore__\n_background_\ncat\ndog\n")],
    );
    mask(&dir, "SegmentationClass/a.png", 1);
    mask(&dir, "SegmentationClassPNG/b.png", 2);
    mask(&dir, "SegmentationClass/c.png", 9);
    mask(&dir, "SegmentationClass/z.png", 1);
    let data = open(&dir);
    assert_eq!(
        (data.kind, &data.classes[..]),
        (Kind::LabelmeVoc, &["cat", "dog"].map(String::from)[..])
    );
    assert_eq!(told(&data.train), ["a [0] {0: 24, 1: 24}", "b [1] {0: 24, 2: 24}"]);
    assert_eq!((data.skipped, data.seen.masks.unmatched.len()), (1, 1));
    let mut rules = options(dir.path());
    rules.mask_values = vec!["9=dog".to_owned()];
    assert_eq!(
        told(&crate::data::open(&rules).unwrap().train)[2],
        "c [1] {0: 24, 2: 24}"
    );
    fs::write(dir.path().join("class_names.txt"), "cat\ndog\n").unwrap();
    assert!(
        error(&dir).contains("class_names.txt: its names do not begin"),
        "{}",
        error(&dir)
    );
}

#[test]
fn cvat_masks_are_in_the_colours_of_the_label_map() {
    let map = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,125,187::\ndog:9,9,9::\n";
    let dir = folder(
        &["JPEGImages/in/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg"],
        &[
            ("labelmap.txt", map),
            ("ImageSets/Segmentation/Train.txt", "in/a\nc\n"),
            ("ImageSets/Segmentation/Validation.txt", "b\n"),
        ],
    );
    for (name, colour) in [("in/a", [9, 9, 9]), ("b", [250, 125, 187]), ("c", [1, 2, 3])] {
        let path = dir.path().join(format!("SegmentationClass/{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(8, 6, |x, _| Rgb(if x < 4 { colour } else { [0; 3] }))
            .save(path)
            .unwrap();
    }
    let data = open(&dir);
    assert_eq!(data.kind, Kind::Cvat);
    assert_eq!(told(&data.train), ["a [1] {0: 24, 2: 24}"]);
    assert_eq!(told(&data.val), ["b [0] {0: 24, 1: 24}"]);
    assert_eq!((data.skipped, left_out(&data).len()), (1, 1));
    fs::write(dir.path().join("ImageSets/Segmentation/Train.txt"), "../../a\n").unwrap();
    assert!(error(&dir).contains("Train.txt line 1: the path \"../../a\" leads out"));
    fs::remove_dir_all(dir.path().join("JPEGImages")).unwrap();
    assert!(error(&dir).contains("Save images"), "{}", error(&dir));
}

#[test]
fn mmsegmentation_has_to_say_what_0_is() {
    let images = [
        "img_dir/train/a.jpg",
        "img_dir/train/b_leftImg8bit.png",
        "img_dir/val/c.jpg",
    ];
    let set = |texts: &[(&str, &str)], values: [u8; 3]| {
        let dir = folder(&images, texts);
        for (name, value) in ["train/a", "train/b_gtFine_labelTrainIds", "val/c"].iter().zip(values) {
            mask(&dir, &format!("ann_dir/{name}.png"), value);
        }
        dir
    };
    let behind = [("classes.txt", "background\ncat\ndog\n")];
    let dir = set(&behind, [1, 2, 1]);
    let data = open(&dir);
    assert_eq!(
        (data.kind, &data.classes[..]),
        (Kind::MmSeg, &["cat", "dog"].map(String::from)[..])
    );
    assert_eq!(
        told(&data.train),
        ["a [0] {0: 24, 1: 24}", "b_leftImg8bit [1] {0: 24, 2: 24}"]
    );
    assert_eq!(told(&data.val), ["c [0] {0: 24, 1: 24}"]);
    // Without the background in the list, values up to the number of classes need no other meaning.
    let listed = [("classes.txt", "cat\ndog\n")];
    assert_eq!(open(&set(&listed, [1, 2, 1])).train.tags(1), [1]);
    let dir = set(&listed, [1, 1, 1]);
    let either = error(&dir);
    assert!(
        either.contains("0 is the background or \"cat\"") && either.contains("--mask-values 0=cat"),
        "{either}"
    );
    let with = |dir: &tempfile::TempDir, rules: &[&str]| {
        let mut options = options(dir.path());
        options.mask_values = rules.iter().map(|rule| rule.to_string()).collect();
        options
    };
    let zero = crate::data::open(&with(&dir, &["0=cat", "1=dog"])).unwrap();
    assert_eq!(told(&zero.train)[0], "a [0, 1] {1: 24, 2: 24}");
    let most = error(&set(&behind, [1, 3, 1]));
    assert!(
        most.contains("the value 3") && most.contains("--mask-values 3=NAME"),
        "{most}"
    );

    let dir = set(&[], [1, 2, 1]);
    let nothing = error(&dir);
    assert!(
        nothing.contains("mmsegmentation") && nothing.contains("classes.txt"),
        "{nothing}"
    );
    let named = crate::data::open(&with(&dir, &["2=dog", "1=cat"])).unwrap();
    assert_eq!(named.classes, ["cat", "dog"]);
    let half = error_of(&with(&dir, &["0=road", "1=cat"]));
    assert!(
        half.contains("the value 2, which --mask-values does not name"),
        "{half}"
    );
}
