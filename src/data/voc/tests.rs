use super::*;
use crate::data::decode::write_mask;
use crate::data::mat::tests::sbd_file;
use image::{GrayImage, RgbImage};
use std::fs;

fn object(name: &str) -> String {
    format!("<object><name>{name}</name><part><name>head</name></part></object>")
}

/// A year folder with the images a, b, c, all tagged and with masks, and the given train.txt.
fn year(train: &str, names: [&str; 3]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("VOC2012");
    for part in [
        "JPEGImages",
        "Annotations",
        "SegmentationClass",
        "SegmentationClassAug",
        "ImageSets/Segmentation",
    ] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    for (image, name) in ["a", "b", "c"].into_iter().zip(names) {
        RgbImage::new(4, 3)
            .save(root.join(format!("JPEGImages/{image}.jpg")))
            .unwrap();
        let mask = GrayImage::new(4, 3);
        write_mask(root.join(format!("SegmentationClass/{image}.png")), &mask).unwrap();
        let xml = format!(
            "<annotation><name>no</name>{}{}</annotation>",
            object(name),
            object(name)
        );
        fs::write(root.join(format!("Annotations/{image}.xml")), xml).unwrap();
    }
    fs::write(root.join("ImageSets/Segmentation/train.txt"), train).unwrap();
    fs::write(root.join("ImageSets/Segmentation/val.txt"), "c\n").unwrap();
    (dir, root)
}

fn names(split: &Split) -> Vec<&str> {
    split.indices().map(|i| split.name(i)).collect()
}

fn error(root: &Path) -> String {
    let text = format!("{:#}", open(root, None, None, &[]).unwrap_err());
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn short_and_long_lists_agree() {
    let long = "/JPEGImages/a.jpg /SegmentationClassAug/a.png\nJPEGImages/b.jpg SegmentationClassAug/b.png\n";
    for list in ["# comment\n\na\r\nb\n", long] {
        let (dir, root) = year(list, ["dog", "cat", "dog"]);
        for path in [dir.path(), &root] {
            let data = open(path, None, None, &[]).unwrap();
            assert_eq!((names(&data.train), names(&data.val)), (vec!["a", "b"], vec!["c"]));
            assert_eq!(data.classes.len(), 20);
            assert_eq!((data.train.tags(0), data.train.tags(1)), (&[11][..], &[7][..]));
            assert!(data.train.has_mask(0) && data.val.mask(0).unwrap().is_some());
        }
    }
    let (_dir, root) = year(long, ["dog"; 3]);
    write_mask(
        root.join("SegmentationClassAug/a.png"),
        &GrayImage::from_pixel(4, 3, image::Luma([255])),
    )
    .unwrap();
    let data = open(&root, None, Some("train"), &[]).unwrap();
    assert_eq!(data.val.mask(0).unwrap().unwrap().as_raw(), &[255; 12]);
    assert_eq!(data.val.mask(1).unwrap().unwrap().as_raw(), &[0; 12]);
}

#[test]
fn classes_come_from_the_data_set() {
    let (_dir, root) = year("a\nb\n", ["zebra", "dog", "dog"]);
    assert_eq!(open(&root, None, None, &[]).unwrap().classes, ["dog", "zebra"]);
    fs::write(root.join("classes.txt"), "zebra\nape\ndog\n").unwrap();
    let data = open(&root, None, None, &[]).unwrap();
    assert_eq!((data.classes.len(), data.train.tags(1)), (3, &[2][..]));
    fs::write(root.join("classes.txt"), "zebra\nbackground\n").unwrap();
    let background = error(&root);
    assert!(background.contains("rename it"), "{background}");
    fs::write(root.join("classes.txt"), "zebra\n").unwrap();
    let unknown = error(&root);
    assert!(
        unknown.contains("b.xml has the unknown tag \"dog\"; known are zebra"),
        "{unknown}"
    );
}

#[test]
fn what_cannot_be_used_is_counted() {
    let (_dir, root) = year("a\nb\ngone\nb\n", ["dog"; 3]);
    for image in ["b", "c"] {
        fs::remove_file(root.join(format!("Annotations/{image}.xml"))).unwrap();
    }
    let data = open(&root, None, None, &[]).unwrap();
    // b has a mask but no tags: no use for training; for validation c may lack both.
    assert_eq!(
        (names(&data.train), names(&data.val), data.skipped),
        (vec!["a"], vec!["c"], 2)
    );
    assert!(data.val.tags(0).is_empty());
}

#[test]
fn test_images_need_neither_tags_nor_masks() {
    let (dir, root) = year("a\nb\n", ["dog"; 3]);
    fs::remove_file(root.join("Annotations/c.xml")).unwrap();
    fs::remove_file(root.join("SegmentationClass/c.png")).unwrap();
    let sets = root.join("ImageSets/Segmentation");
    fs::rename(sets.join("val.txt"), sets.join("test.txt")).unwrap();
    fs::rename(sets.join("train.txt"), sets.join("trainaug.txt")).unwrap();
    let data = open(&root, Some("train_aug"), Some("test"), &[]).unwrap();
    assert_eq!(
        (names(&data.train), names(&data.val), data.skipped),
        (vec!["a", "b"], vec!["c"], 0)
    );
    assert!(!data.val.has_mask(0) && data.val.mask(0).unwrap().is_none());

    let path = dir.path().display().to_string();
    let list = voc_list(&path, "test").unwrap();
    assert_eq!((list.year.as_str(), list.name.as_str()), ("VOC2012", "test"));
    assert_eq!(list.images, [root.join("JPEGImages/c.jpg")]);
    fs::write(sets.join("test.txt"), "c\nd\n").unwrap();
    let missing = voc_list(&path, "test").unwrap_err().to_string();
    assert!(missing.contains("1 of the 2 images"), "{missing}");
    let other = voc_list("shapes", "test").unwrap_err().to_string();
    assert!(other.contains("shapes is no year folder"), "{other}");
}

#[test]
fn masks_of_sbd_stand_in_where_voc_has_none() {
    let long = "img/d.jpg\nJPEGImages/a.jpg cls/a.mat\nb\nc\n";
    let (_dir, root) = year(long, ["dog"; 3]);
    for part in ["dataset/img", "dataset/cls", "cls"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    let write = |path: &str, value: u8| {
        fs::write(root.join(path), sbd_file(4, &[value; 12], true)).unwrap();
    };
    // SBD's own layout: its images beside its masks.
    fs::copy(root.join("JPEGImages/a.jpg"), root.join("dataset/img/d.jpg")).unwrap();
    fs::copy(root.join("Annotations/a.xml"), root.join("Annotations/d.xml")).unwrap();
    fs::write(
        root.join("ImageSets/Segmentation/train.txt"),
        long.replace("img/", "dataset/img/"),
    )
    .unwrap();
    fs::remove_file(root.join("SegmentationClass/c.png")).unwrap();
    write("dataset/cls/d.mat", 1);
    write("cls/a.mat", 2);
    write("cls/b.mat", 3);
    write("cls/c.mat", 4);
    let data = open(&root, None, None, &[]).unwrap();
    let first = |i| data.train.mask(i).unwrap().unwrap().as_raw()[0];
    assert_eq!(names(&data.train), ["d", "a", "b", "c"]);
    assert_eq!([0, 1, 2, 3].map(first), [1, 2, 0, 4]);

    fs::write(root.join("classes.txt"), "dog\n").unwrap();
    let other = error(&root);
    assert!(
        other.contains("d.mat is one of SBD's masks") && other.contains("remove classes.txt"),
        "{other}"
    );
}

#[test]
fn mistakes_are_explained() {
    let (dir, root) = year("a\n", ["dog"; 3]);
    let list = open(&root, Some("trainaug"), None, &[]).unwrap_err().to_string();
    assert!(
        list.contains("no list trainaug") && list.contains("trainaug.txt"),
        "{list}"
    );

    fs::write(root.join("Annotations/a.xml"), "<annotation><object>").unwrap();
    let xml = error(&root);
    assert!(xml.contains("a.xml is not valid XML"), "{xml}");
    fs::write(root.join("Annotations/a.xml"), "<annotation><object/></annotation>").unwrap();
    assert!(error(&root).contains("a.xml has an object without a name"));

    let train = root.join("ImageSets/Segmentation/train.txt");
    for (text, expected) in [
        ("a 1\n", "train.txt line 1 is \"a 1\""),
        ("/JPEGImages/a.jpg\n/other/a.jpg\n", "have one name"),
        ("a\nA\n", "have one name"),
        ("\n", "no training image in"),
    ] {
        fs::write(&train, text).unwrap();
        let text = error(&root);
        assert!(text.contains(expected), "{text}");
    }
    fs::remove_file(&train).unwrap();
    assert!(error(&root).contains("no list train;"));

    for part in ["ImageSets", "JPEGImages"] {
        fs::create_dir_all(dir.path().join("VOC2007").join(part)).unwrap();
    }
    let several = error(dir.path());
    assert!(
        several.contains("VOC2007, VOC2012") && several.contains("one of them"),
        "{several}"
    );
    assert!(error(&root.join("Annotations")).contains("no year folder"));
}

#[test]
fn images_of_other_formats_and_cases_are_found() {
    let (_dir, root) = year("a\nb\nmy photo 1\n", ["dog"; 3]);
    let images = root.join("JPEGImages");
    fs::rename(images.join("a.jpg"), images.join("a.JPG")).unwrap();
    fs::remove_file(images.join("b.jpg")).unwrap();
    RgbImage::new(4, 3).save(images.join("b.bmp")).unwrap();
    fs::rename(images.join("c.jpg"), images.join("my photo 1.JPEG")).unwrap();
    for (part, extension) in [("Annotations", "xml"), ("SegmentationClass", "png")] {
        let at = |name: &str| root.join(part).join(format!("{name}.{extension}"));
        fs::rename(at("c"), at("my photo 1")).unwrap();
    }
    fs::write(root.join("ImageSets/Segmentation/val.txt"), "my photo 1\n").unwrap();
    let train = root.join("ImageSets/Segmentation/train.txt");
    for list in [
        "a\nb\nmy photo 1\n",
        "a.JPG\nb.bmp\nmy photo 1.JPEG\n",
        "a.jpg\nb.jpg\nmy photo 1.jpg\n",
        "JPEGImages/a.JPG SegmentationClass/a.png\nb\nJPEGImages/my photo 1.JPEG SegmentationClass/my photo 1.png\n",
    ] {
        fs::write(&train, list).unwrap();
        let data = open(&root, None, None, &[]).unwrap();
        assert_eq!(names(&data.train), ["a", "b", "my photo 1"], "{list}");
        assert!(data.train.indices().all(|i| data.train.has_mask(i)), "{list}");
        assert_eq!((names(&data.val), data.skipped), (vec!["my photo 1"], 0));
    }
}

#[test]
fn annotations_of_every_encoding_are_read_and_entities_never_expanded() {
    let (_dir, root) = year("a\nb\n", ["dog"; 3]);
    let xml = root.join("Annotations/a.xml");
    let mut bytes = b"<?xml version=\"1.0\" encoding=\"gb2312\"?><annotation><folder>".to_vec();
    bytes.extend([0xce, 0xc4, 0xbc, 0xfe]);
    bytes.extend(b"</folder><object><name>cat</name></object></annotation>");
    fs::write(&xml, bytes).unwrap();
    assert_eq!(open(&root, None, None, &[]).unwrap().train.tags(0), [7]);
    let plain = "<annotation><object><name>cat</name></object></annotation>";
    let units: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&xml, [b"\xff\xfe", &units[..]].concat()).unwrap();
    assert_eq!(open(&root, None, None, &[]).unwrap().train.tags(0), [7]);
    let doctype = "<!DOCTYPE annotation [<!ENTITY a \"dog>\"><!ELEMENT b (c)>]>";
    fs::write(&xml, format!("{doctype}{plain}")).unwrap();
    assert_eq!(open(&root, None, None, &[]).unwrap().train.tags(0), [7]);
    fs::write(&xml, format!("{doctype}{}", plain.replace("cat", "&a;"))).unwrap();
    let entity = error(&root);
    assert!(entity.contains("a.xml is not valid XML"), "{entity}");
}

#[test]
fn spellings_of_one_class_are_one_class() {
    let (_dir, root) = year("a\nb\n", ["Dog", "dog", "dog"]);
    let data = open(&root, None, None, &[]).unwrap();
    assert_eq!((data.classes.len(), data.train.tags(0)), (20, &[11][..]));
    let (_dir, root) = year("a\nb\n", ["Zebra", "zebra", "zebra"]);
    assert_eq!(open(&root, None, None, &[]).unwrap().classes, ["zebra"]);
    // But for a run that has begun with both.
    let begun = ["Zebra", "zebra"].map(String::from);
    let data = open(&root, None, None, &begun).unwrap();
    assert_eq!((&data.classes[..], data.train.tags(1)), (&begun[..], &[1][..]));
    assert_eq!(open(&root, None, None, &["Zebra".into()]).unwrap().classes, ["zebra"]);
    fs::write(root.join("classes.txt"), "ZEBRA\nDog\n").unwrap();
    let data = open(&root, None, None, &[]).unwrap();
    assert_eq!(
        (data.classes, data.train.tags(1)),
        (vec!["ZEBRA".to_owned(), "Dog".to_owned()], &[0][..])
    );
}

#[test]
fn folders_that_are_nearly_voc_are_named() {
    let (dir, root) = year("a\n", ["dog"; 3]);
    let renamed = dir.path().join("mine");
    fs::rename(&root, &renamed).unwrap();
    assert_eq!(names(&open(dir.path(), None, None, &[]).unwrap().train), ["a"]);
    fs::write(renamed.join("labelmap.txt"), "").unwrap();
    fs::remove_file(renamed.join("ImageSets/Segmentation/train.txt")).unwrap();
    let cvat = error(&renamed);
    assert!(
        cvat.contains("there is no list train") && cvat.contains("CVAT"),
        "{cvat}"
    );
}
