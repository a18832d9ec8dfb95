use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;
use crate::data::{DataOptions, ShapesOptions, open};

/// Image names with their tags and the value of their masks.
type Images<'a> = &'a [(&'a str, &'a str, Option<u8>)];

fn set(dir: &Path, images: Images) {
    let mut table = "file,tags\n".to_owned();
    fs::create_dir_all(dir.join("masks")).unwrap();
    for (shade, (name, tags, value)) in images.iter().enumerate() {
        table += &format!("{name}.png,{tags}\n");
        let image = RgbImage::from_pixel(6, 4, Rgb([shade as u8; 3]));
        image.save(dir.join(format!("{name}.png"))).unwrap();
        if let Some(value) = value {
            let mask = GrayImage::from_fn(6, 4, |x, _| Luma([if x < 3 { *value } else { 0 }]));
            mask.save(dir.join(format!("masks/{name}.png"))).unwrap();
        }
    }
    fs::write(dir.join("tags.csv"), table).unwrap();
}

fn opened(dir: &Path, mask_values: &[&str]) -> Data {
    let mut options = DataOptions::built_in(0, ShapesOptions::default());
    options.data = dir.display().to_string();
    options.kind = None;
    options.mask_values = mask_values.iter().map(|v| v.to_string()).collect();
    let mut data = open(&options).unwrap();
    data.verify(&|_, _| {}).unwrap();
    data
}

fn error(images: Images) -> String {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), images);
    let text = opened(dir.path(), &[]).check_masks().unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn a_data_set_is_told_in_five_lines() {
    let dir = tempfile::tempdir().unwrap();
    set(
        dir.path(),
        &[
            ("a", "cat", Some(1)),
            ("b", "dog;cat", Some(2)),
            ("c", "dog", None),
            ("d", "", None),
        ],
    );
    GrayImage::new(6, 4).save(dir.path().join("masks/z.png")).unwrap();
    fs::write(dir.path().join("e.heic"), "").unwrap();
    let found = opened(dir.path(), &[]).inspect().unwrap();
    assert_eq!((found.training, found.validation), (3, 2));
    let counts: Vec<usize> = found.classes.iter().map(|c| c.images).collect();
    assert_eq!((counts, found.without_tags), (vec![2, 2], 1));
    assert_eq!(found.sizes, Some(((6, 4), (6, 4))));
    assert_eq!((found.masks.compared, found.masks.fitting), (2, 2));
    let lines = found.lines();
    for (line, parts) in lines.iter().zip([
        &["tags.csv", "3 training images", "2 of them"][..],
        &["classes: 2: cat 2, dog 2", "1 to 2 tags", "1 images without tags"],
        &["6 x 4", "3 png", "none turned"],
        &[
            "3 found",
            "2 by masks/NAME.png",
            "1 match no image",
            "z.png",
            "values 0, 1, 2",
            "2 of 2 fit",
        ],
        &["1 images without tags", "d.png", "1 .heic files", "e.heic"],
    ]) {
        assert!(!line.contains('\n'));
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

#[test]
fn generated_images_are_told_too() {
    let shapes = ShapesOptions {
        size: 48,
        train: 4,
        val: 2,
        ..Default::default()
    };
    let data = open(&DataOptions::built_in(1, shapes)).unwrap();
    let found = data.inspect().unwrap();
    assert_eq!(found.formats.get("generated"), Some(&6));
    assert_eq!(found.sizes, Some(((48, 48), (48, 48))));
    data.check_masks().unwrap();
}

#[test]
fn masks_that_contradict_the_tags_show_the_order_that_fits() {
    let order = error(&[
        ("a", "cat", Some(2)),
        ("b", "dog", Some(1)),
        ("c", "cat", Some(2)),
        ("d", "dog", Some(1)),
    ]);
    assert!(order.contains("contradict the tags of 4 of 4"), "{order}");
    assert!(order.contains("1 = dog, 2 = cat would fit 4"), "{order}");
    let turned = error(&[("a", "ant", Some(2)), ("b", "bee", Some(3)), ("c", "cow", Some(1))]);
    assert!(turned.contains("1 = cow, 2 = ant, 3 = bee"), "{turned}");

    let dir = tempfile::tempdir().unwrap();
    let mostly = [("a", "cat", Some(1)), ("b", "dog", Some(2)), ("c", "dog", Some(1))];
    set(dir.path(), &mostly);
    opened(dir.path(), &[]).check_masks().unwrap();
    let zero = error(&[
        ("a", "cat", Some(0)),
        ("b", "dog", Some(1)),
        ("c", "cat", Some(0)),
        ("d", "dog", Some(1)),
    ]);
    assert!(zero.contains("count the classes from 0"), "{zero}");
    let foreground = error(&[
        ("a", "cat", Some(1)),
        ("b", "dog", Some(1)),
        ("c", "cat", Some(1)),
        ("d", "dog", Some(1)),
    ]);
    assert!(
        foreground.contains("the value 1 alone") && foreground.contains("2 images"),
        "{foreground}"
    );
    // One image alone is no majority.
    let dir = tempfile::tempdir().unwrap();
    set(
        dir.path(),
        &[("a", "cat", Some(2)), ("b", "dog", None), ("c", "cat", None)],
    );
    opened(dir.path(), &[]).check_masks().unwrap();
}

#[test]
fn masks_of_0_and_255_need_a_word() {
    let one = error(&[("a", "dog", Some(255)), ("b", "dog", Some(255))]);
    assert!(one.contains("--mask-values 255=dog"), "{one}");
    let two = error(&[("a", "dog", Some(255)), ("b", "cat", Some(255))]);
    assert!(two.contains("1 = cat, 2 = dog"), "{two}");

    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), &[("a", "dog", Some(255)), ("b", "dog", Some(255))]);
    let data = opened(dir.path(), &["255=dog"]);
    data.check_masks().unwrap();
    let mask = data.train.mask(0).unwrap().unwrap();
    assert_eq!(mask.as_raw()[..6], [1, 1, 1, 0, 0, 0]);
    // What is to be ignored is meant where somebody says so.
    for (rules, expected) in [
        (&["255=ignore"][..], [255, 255, 255, 0, 0, 0]),
        (&["0=ignore", "255=background"], [0, 0, 0, 255, 255, 255]),
    ] {
        let data = opened(dir.path(), rules);
        data.check_masks().unwrap();
        assert_eq!(data.train.mask(0).unwrap().unwrap().as_raw()[..6], expected);
    }
}
