//! Images with labelme's JSON, and what labelme2voc writes.

use super::*;

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
