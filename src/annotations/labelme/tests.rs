use std::fs;

use super::*;
use crate::annotations::paint;

fn text(shapes: &str) -> String {
    format!(
        r#"{{"version": "5.4.1", "flags": {{"good": true, "odd": false}}, "shapes": [{shapes}],
"imagePath": "..\\a.jpg", "imageData": null, "imageHeight": 3, "imageWidth": 4}}"#
    )
}

fn shapes(shapes: &str) -> Result<Labelled> {
    labelled(text(shapes).as_bytes())
}

#[test]
fn every_kind_of_shape_is_painted_in_order() {
    let mut png = Vec::new();
    let own = image::GrayImage::from_fn(2, 2, |x, y| image::Luma([if x == y { 1 } else { 0 }]));
    own.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    let mask = STANDARD.encode(png);
    let found = shapes(&format!(
        r#"{{"label": "cat", "points": [[0, 0], [4, 0], [4, 1], [0, 1]], "shape_type": "polygon", "flags": {{}}}},
{{"label": "dog", "points": [[1.0, 1.0], [0.0, 0.0]], "shape_type": "rectangle", "group_id": null}},
{{"label": "__ignore__", "points": [[3.5, 0.5], [3.5, 1.1]], "shape_type": "circle"}},
{{"label": "dog", "points": [[2, 1], [3, 2]], "shape_type": "mask", "mask": "{mask}"}}"#
    ))
    .unwrap();
    assert_eq!((found.image.as_str(), found.size), ("..\\a.jpg", Some((4, 3))));
    assert_eq!(found.flags, ["good"]);
    assert_eq!(found.labels().collect::<Vec<_>>(), ["cat", "dog", "dog"]);
    assert!(found.is_whole());
    let classes = ["cat", "dog"].map(String::from);
    let image = found.image(&classes, (4, 3)).unwrap();
    assert_eq!(paint(&image), [2, 1, 1, 255, 0, 0, 2, 0, 0, 0, 0, 2]);
    let size = found.image(&classes, (3, 4)).unwrap_err().to_string();
    assert!(size.contains("drawn in 4 x 3, but the image is 3 x 4"), "{size}");
    let unknown = found.image(&classes[..1], (4, 3)).unwrap_err().to_string();
    assert!(unknown.contains("\"dog\", which is no class"), "{unknown}");
    let point = shapes(r#"{"label": "cat", "points": [[1, 1]], "shape_type": "point"}"#).unwrap();
    assert!(!point.is_whole() && point.labels().eq(["cat"]));
}

#[test]
fn what_cannot_be_meant_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let error = || {
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("a.json") && !error.contains('\n'), "{error}");
        error
    };
    for (shape, part) in [
        (
            r#"{"label": "cat", "points": [[0, 0], [1, 1]]}"#,
            "shape 1 (\"cat\"): a polygon of 2 points",
        ),
        (
            r#"{"label": "cat", "points": [[0, 0], [1e39, 1], [1, 0]]}"#,
            "not finite",
        ),
        (
            r#"{"label": "cat", "points": [[0, 0], [NaN, 1], [1, 0]]}"#,
            "line 1: expected value",
        ),
        (
            r#"{"label": "cat", "points": [], "shape_type": "ellipse"}"#,
            "\"ellipse\" are not known",
        ),
        (
            r#"{"label": "cat", "points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "?"}"#,
            "not in base64",
        ),
        (r#"{"points": []}"#, "line 1: missing field `label`"),
    ] {
        fs::write(&path, text(shape)).unwrap();
        let error = error();
        assert!(error.contains(part), "{error}");
    }
    fs::write(&path, "{\"shapes\": [],\n\"imagePath\"").unwrap();
    assert!(error().contains("line 2: EOF"), "{}", error());
    fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    assert!(error().contains("has 3072 MB, and at most 256 MB"), "{}", error());
    fs::write(&path, text("")).unwrap();
    assert!(is_labelled(&path) && read(&path).unwrap().drawn.is_empty());
}

#[test]
fn the_names_of_labelme2voc_begin_with_two_that_are_no_classes() {
    assert_eq!(
        class_names("__ignore__\n_background_\ncat\n\ndog\n").unwrap(),
        ["cat", "dog"]
    );
    assert!(class_names("cat\ndog\n").is_err());
}
