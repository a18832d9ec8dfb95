use std::fs;

use super::*;
use crate::annotations::{IGNORED, Shape, paint};

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.json");
    fs::write(&path, text).unwrap();
    (dir, path)
}

/// A file of one image of 4 x 3 with these annotations of it.
fn annotated(annotations: &str) -> (tempfile::TempDir, PathBuf) {
    file(&format!(
        r#"{{"images": [{{"id": 7, "file_name": "a.jpg", "width": 4, "height": 3}}],
"categories": [{{"id": 9, "name": "dog"}}, {{"id": 2, "name": "cat"}}],
"annotations": [
{annotations}]}}"#
    ))
}

fn error(text: &str) -> String {
    let (_dir, path) = file(text);
    let error = Instances::open(&path).unwrap_err().to_string();
    assert!(error.contains("set.json") && !error.contains('\n'), "{error}");
    error
}

#[test]
fn categories_are_classes_in_the_order_of_their_ids() {
    let (_dir, path) = annotated(
        r#"{"image_id": 7, "category_id": 9, "bbox": [0, 0, 2, 2], "segmentation": []},
{"image_id": 7, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]], "score": 0.5}"#,
    );
    let set = Instances::open(&path).unwrap();
    assert_eq!(set.classes(), ["cat", "dog"]);
    assert_eq!((set.len(), set.file(0), set.size(0)), (1, "a.jpg", (4, 3)));
    assert_eq!(set.tags(0), [0, 1]);
    assert!(set.has_regions() && !set.is_whole(0));
    let image = set.image(0, (4, 3)).unwrap();
    let scores: Vec<Option<f32>> = image.parts.iter().map(|p| p.score).collect();
    assert!(scores.contains(&Some(0.5)));
    assert!(image.parts.iter().any(|p| p.shape == Shape::Box([0.0, 0.0, 2.0, 2.0])));
    assert!(
        set.image(0, (3, 4))
            .unwrap_err()
            .to_string()
            .contains("4 x 3 for a.jpg")
    );

    let mut other = set.clone();
    other.take_classes(&["dog", "cow", "cat"].map(String::from)).unwrap();
    assert_eq!(other.tags(0), [0, 2]);
    let unknown = other.take_classes(&["dog".to_owned()]).unwrap_err().to_string();
    assert!(unknown.contains("\"cat\", which is none of the classes"), "{unknown}");
}

#[test]
fn small_parts_lie_over_large_ones_and_all_over_crowds() {
    let (_dir, path) = annotated(
        r#"{"image_id": 7, "category_id": 2, "segmentation": [[1, 0, 2, 0, 2, 1, 1, 1]], "area": 1},
{"image_id": 7, "category_id": 9, "segmentation": [[0, 0, 3, 0, 3, 1, 0, 1]]},
{"image_id": 7, "category_id": 9, "iscrowd": 1, "segmentation": {"size": [3, 4], "counts": [0, 12]}}"#,
    );
    let set = Instances::open(&path).unwrap();
    let mask = paint(&set.image(0, (4, 3)).unwrap());
    assert_eq!(mask, [2, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(IGNORED, 255);
}

#[test]
fn every_form_of_a_region_is_read() {
    let rest = r#""image_id": 7, "category_id": 2"#;
    for (segmentation, painted) in [
        ("[[0, 0, 1, 0, 1, 3, 0, 3]]", 3),
        ("[0, 0, 1, 0, 1, 3, 0, 3]", 3),
        ("[[[0, 0], [1, 0], [1, 3], [0, 3]]]", 3),
        ("[[0, 0, 1, 0, 1, 3, 0, 3], [3, 0, 4, 0, 4, 1, 3, 1], [1, 1, 2, 2]]", 4),
        (r#"{"size": [3, 4], "counts": [3, 3, 6]}"#, 3),
        (r#"{"counts": "336", "size": [3, 4]}"#, 3),
        // Far outside, and crossing itself.
        ("[[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]", 12),
        ("[[9, 9, 10, 9, 10, 10]]", 0),
        ("[[0, 0, 4, 3, 4, 0, 0, 3]]", 8),
    ] {
        let (_dir, path) = annotated(&format!("{{{rest}, \"segmentation\": {segmentation}}}"));
        let set = Instances::open(&path).unwrap();
        assert!(set.is_whole(0), "{segmentation}");
        let mask = paint(&set.image(0, (4, 3)).unwrap());
        assert_eq!(
            mask.iter().filter(|v| **v == 1).count(),
            painted,
            "{segmentation}: {mask:?}"
        );
    }
    for segmentation in ["[]", "[[]]", "null", "{}"] {
        let (_dir, path) = annotated(&format!("{{{rest}, \"segmentation\": {segmentation}}}"));
        assert!(!Instances::open(&path).unwrap().has_regions(), "{segmentation}");
    }
}

#[test]
fn regions_that_cannot_be_meant_are_named_with_their_line() {
    for (segmentation, part) in [
        ("[[0, 0, 1, 0, 1]]", "5 numbers, which are no points"),
        ("[[0, 0, 1e39, 0, 1, 1]]", "not finite"),
        (
            r#"{"size": [4, 3], "counts": [12]}"#,
            "of 3 x 4, but the image is 4 x 3",
        ),
        (r#"{"size": [3, 4], "counts": [3, 3]}"#, "add up to 6 pixels"),
        (r#"{"size": [3, 4], "counts": [3, 3, 60000]}"#, "add up to 60006 pixels"),
        (r#"{"size": [3, 4], "counts": "33"}"#, "add up to 6 pixels"),
        (
            r#"{"size": [3, 4], "counts": [-1, 13]}"#,
            "a segmentation is polygons, or runs",
        ),
        (r#"[["0", 0]]"#, "a segmentation is polygons, or runs"),
    ] {
        let (_dir, path) = annotated(&format!(
            "{{\"image_id\": 7, \"category_id\": 2, \"segmentation\": {segmentation}}}"
        ));
        let error = Instances::open(&path).and_then(|set| set.image(0, (4, 3))).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("set.json: line 4: ") && error.contains(part), "{error}");
    }
}

#[test]
fn an_image_that_is_listed_twice_is_one() {
    let (_dir, path) = file(
        r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": "x", "file_name": "a.jpg"}],
"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
"annotations": [{"image_id": "x", "category_id": 1}, {"image_id": 1, "category_id": 0}, {"image_id": 5, "category_id": 0}]}"#,
    );
    let set = Instances::open(&path).unwrap();
    assert_eq!((set.len(), set.tags(0), set.tags(1)), (2, vec![0, 1], vec![]));
    assert!(
        set.notes()[0].contains("1 images are listed twice, as a.jpg"),
        "{:?}",
        set.notes()
    );
    assert!(
        set.notes()[1].contains("images that are not listed, as of 5"),
        "{:?}",
        set.notes()
    );
    assert_eq!(read_set(&path).unwrap().images.len(), 2);
}

#[test]
fn a_heading_is_no_class() {
    let (_dir, path) = file(
        r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 2}],
"categories": [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 2, "name": "dog", "supercategory": "pets"}]}"#,
    );
    let set = Instances::open(&path).unwrap();
    assert_eq!((set.classes(), set.tags(0)), (&["dog".to_owned()][..], vec![0]));
    assert!(set.notes()[0].contains("\"pets\""));
}

#[test]
fn files_that_cannot_be_meant_are_named_with_the_line() {
    let image = r#""images": [{"id": 1, "file_name": "a.jpg"}]"#;
    let categories = r#""categories": [{"id": 1, "name": "cat"}]"#;
    for (text, part) in [
        (String::new(), "empty"),
        ("[]".to_owned(), "line 1: '{' is expected"),
        (format!("{{{image}, {categories}}}"), "no \"annotations\""),
        (
            format!("{{{image},\n{categories}, \"annotations\": [{{\n"),
            "line 3: it is cut off",
        ),
        (
            format!(
                "{{{image}, {categories},\n\"annotations\": [{{\"image_id\": 1, \"category_id\": 1, \"bbox\": [NaN]}}]}}"
            ),
            "line 2: expected value",
        ),
        (
            format!("{{{image}, {categories},\n\"annotations\": [{{\"image_id\": 1, \"category_id\": 3}}]}}"),
            "line 2: an annotation has the category 3, which is not listed; known are 1",
        ),
        (
            format!("{{{image}, {categories},\n\"annotations\": [{{\"category_id\": 3}}]}}"),
            "line 2: missing field `image_id`",
        ),
        (
            format!(
                "{{{image}, \"annotations\": [], \"categories\": [{{\"id\": 1, \"name\": \"cat\"}},\n{{\"id\": 2, \"name\": \"cat\"}}]}}"
            ),
            "line 2: two categories are called \"cat\"",
        ),
        (
            format!(
                "{{{categories}, \"annotations\": [], \"images\": [{{\"id\": 1, \"file_name\": \"a.jpg\"}},\n{{\"id\": 1, \"file_name\": \"b.jpg\"}}]}}"
            ),
            "line 2: two images have the id 1",
        ),
        (
            format!("{{{categories}, \"annotations\": [], \"images\": []}}"),
            "no images",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(part), "{error}");
    }
}
