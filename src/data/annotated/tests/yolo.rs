//! Images with YOLO's label files.

use super::*;

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
    // Keypoints behind a box are no polygon.
    fs::write(dir.path().join("data.yaml"), format!("{yaml}kpt_shape: [2, 2]\n")).unwrap();
    fs::write(dir.path().join("labels/a.txt"), "0 0.5 0.5 0.1 0.1 0.4 0.4 0.6 0.6\n").unwrap();
    assert_eq!(told(&open(&dir).train), ["a [0]", "b [1]"]);
    fs::write(dir.path().join("data.yaml"), yaml).unwrap();
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

#[test]
fn the_images_for_tests_of_a_folder_to_validate_on_are_left_out() {
    let yaml = "train: images/train\ntest: images/test\nnames: [cat]\n";
    let set = || {
        folder(
            &["images/train/a.jpg", "images/test/b.jpg"],
            &[
                ("data.yaml", yaml),
                ("labels/train/a.txt", POLYGON),
                ("labels/test/b.txt", POLYGON),
            ],
        )
    };
    let (dir, other) = (set(), set());
    let mut with_val = options(dir.path());
    with_val.val = Some(other.path().to_owned());
    let data = crate::data::open(&with_val).unwrap();
    assert_eq!((data.train.len(), data.val.len()), (1, 1));
    assert!(left_out(&data).contains(&(OF_TEST, 2)), "{:?}", left_out(&data));
}
