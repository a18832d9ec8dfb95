//! CVAT's and mmsegmentation's masks.

use super::*;

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
    // A list of both parts takes nothing from them, and an image elsewhere nothing from the one in JPEGImages.
    fs::write(dir.path().join("ImageSets/Segmentation/trainval.txt"), "in/a\nb\nc\n").unwrap();
    fs::create_dir(dir.path().join("images")).unwrap();
    fs::copy(dir.path().join("JPEGImages/c.jpg"), dir.path().join("images/b.png")).unwrap();
    let data = open(&dir);
    assert_eq!((told(&data.train).len(), told(&data.val).len()), (1, 1));
    assert_eq!(told(&data.val), ["b [0] {0: 24, 1: 24}"]);
    assert!(data.val.files(0).unwrap().0.ends_with("JPEGImages/b.jpg"));
    assert!(left_out(&data).contains(&(DOUBLE, 1)), "{:?}", left_out(&data));
    fs::write(dir.path().join("ImageSets/Segmentation/Validation.txt"), "b\nc\n").unwrap();
    assert!(
        error(&dir).contains("c is in the list of another part"),
        "{}",
        error(&dir)
    );
    fs::write(dir.path().join("ImageSets/Segmentation/Train.txt"), "../../a\n").unwrap();
    assert!(error(&dir).contains("Train.txt line 1: the path \"../../a\" leads out"));
    fs::remove_dir_all(dir.path().join("JPEGImages")).unwrap();
    fs::remove_dir_all(dir.path().join("images")).unwrap();
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
