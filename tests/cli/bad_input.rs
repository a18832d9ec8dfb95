//! Tags, masks, folders and arguments that do not make sense.

use std::fs;
use std::path::Path;

use super::harness::*;

/// `weakseg run` on the data set `set` in `folder`, which it refuses without having written anything.
#[track_caller]
fn refused(folder: &Path, parts: &[&str]) {
    let args = ["run", "--data", "set", "--out", "run"];
    small(folder, &args).fails(parts);
    assert!(!folder.join("run").exists(), "a run directory was made");
}

#[test]
fn data_sets_that_make_no_sense_are_refused() {
    let cases: [(&str, &[u8], &[&str]); 6] = [
        (
            "classes.txt",
            b"cat\nhorse\n",
            &["b.png", "unknown tag \"dog\"", "cat, horse"],
        ),
        ("classes.txt", b"cat\ncat\n", &["classes.txt", "twice"]),
        (
            "tags.csv",
            b"a.png,cat\nb.png,dog,bird\n",
            &["tags.csv line 2", "file,tag;tag"],
        ),
        ("tags.csv", b"a.png,cat\n,dog\n", &["tags.csv line 2", "file,tag;tag"]),
        ("tags.csv", b"", &["no tagged images in set", "tags.csv"]),
        (
            "tags.csv",
            b"a.png,cat\na.bmp,dog\n",
            &["a.png", "a.bmp", "have one name"],
        ),
    ];
    for (name, bytes, parts) in cases {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("set");
        pets(&set);
        fs::create_dir(set.join("sub")).unwrap();
        picture(9, 9).save(set.join("sub/a.png")).unwrap();
        picture(9, 9).save(set.join("a.bmp")).unwrap();
        write(&set.join(name), bytes);
        refused(dir.path(), parts);
    }
}

#[test]
fn empty_and_missing_data_sets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &["set is not a folder"]);
    let set = dir.path().join("set");
    fs::create_dir(&set).unwrap();
    refused(dir.path(), &["no tagged images in set", "tags.csv"]);
    fs::create_dir(set.join("cat")).unwrap();
    refused(dir.path(), &["no tagged images in set"]);
    write(&set.join("cat/a.png"), "nothing");
    refused(dir.path(), &["no training image can be read"]);
    fs::remove_dir_all(&set).unwrap();
    write(&set, "a file");
    refused(dir.path(), &["set is not a folder"]);
}

#[test]
fn voc_folders_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["shapes", "--out", "set", "--train", "2", "--val", "1"];
    weakseg(dir.path(), &args).succeeds();
    let set = dir.path().join("set");
    let list = set.join("ImageSets/Segmentation/train.txt");
    let lines = fs::read_to_string(&list).unwrap();
    let first = lines.lines().next().unwrap();
    let xml = set.join(format!("Annotations/{first}.xml"));
    let annotation = fs::read_to_string(&xml).unwrap();
    let file = format!("{first}.xml");
    for (path, text, parts) in [
        (&list, String::new(), vec!["train.txt", "no training image"]),
        (&list, "one two three\n".into(), vec!["train.txt line 1"]),
        (
            &xml,
            annotation[..annotation.len() / 2].to_owned(),
            vec![&file, "not valid XML"],
        ),
        (
            &xml,
            "<annotation><object><name>mammoth</name></object></annotation>".into(),
            vec![&file, "unknown tag \"mammoth\""],
        ),
    ] {
        let good = fs::read(path).unwrap();
        fs::write(path, text).unwrap();
        refused(dir.path(), &parts);
        fs::write(path, good).unwrap();
    }
    // Lines without an image, and images without an object, are left out.
    fs::write(&list, format!("{lines}gone\n")).unwrap();
    fs::write(&xml, "<annotation></annotation>").unwrap();
    let ran = small(dir.path(), &["classify", "--data", "set", "--out", "classified"]).succeeds();
    ran.warns(&["train.txt line 3 names", "gone.jpg"]);
    ran.warns(&[&file, "holds no object"]);
    let metrics = json(&dir.path().join("classified/metrics.json"));
    assert_eq!(metrics["skipped"], 2);
    fs::remove_file(&list).unwrap();
    refused(dir.path(), &["there is no list train", "train.txt"]);
}

#[test]
fn masks_that_do_not_fit_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets(&set);
    let masks = set.join("masks");
    fs::create_dir(&masks).unwrap();
    mask(40, 44, 1).save(masks.join("a.png")).unwrap();
    mask(50, 44, 1).save(masks.join("b.png")).unwrap();
    mask(52, 44, 3).save(masks.join("c.png")).unwrap();
    write(&masks.join("d.png"), "no mask");
    let ran = small(dir.path(), &["run", "--data", "set", "--out", "run"]).succeeds();
    ran.warns(&["mask not used", "b.png", "50 x 44", "52 x 44"]);
    ran.warns(&["mask not used", "c.png", "value 3"]);
    ran.warns(&["mask not used", "d.png"]);
    let metrics = json(&dir.path().join("run/metrics.json"));
    for stage in ["cam", "propagate", "label"] {
        assert_eq!(metrics["stages"][stage]["images"], 1, "{stage}");
    }
    // The images themselves stay.
    assert_eq!(metrics["skipped"], 0);
    assert_eq!(files(&dir.path().join("run/labels")).len(), 4);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["run", "--recipe", "nanoo"], &["no recipe \"nanoo\"", "nano, demo"]),
        (&["run", "--recipe", "no.toml"], &["no.toml"]),
        (
            &["run", "--set", "classify.epochs"],
            &["--set classify.epochs", "key=value"],
        ),
        (
            &["run", "--set", "classify.epoch=1"],
            &["--set classify.epoch", "classify.epochs"],
        ),
        (
            &["run", "--set", "classify.epochs=many"],
            &["--set classify.epochs=many", "takes a number"],
        ),
        (&["run", "--set", "classify.batch=0"], &["classify.batch is 0"]),
        (
            &["run", "--set", "label.crf.preset=dense"],
            &["label.crf.preset", "default"],
        ),
        (
            &["run", "--set", "predict.crf.bilateral_sxy=-1"],
            &["predict.crf.bilateral_sxy is -1"],
        ),
        (
            &["run", "--method", "magic"],
            &["unknown method \"magic\"", "affinitynet"],
        ),
        (
            &["run", "--recipe", "smoke", "--device", "gpu:7"],
            &["gpu:7", "weakseg devices"],
        ),
        (
            &["predict", "a.png", "--device", "cpu"],
            &["run is not a run directory"],
        ),
        (&["eval"], &["run is not a run directory"]),
    ];
    write(&dir.path().join("a.png"), "");
    for (args, parts) in cases {
        weakseg(dir.path(), &[args, &["--out", "run"]].concat()).fails(parts);
        // The device is chosen last, after the run directory was found to be free.
        if !args.contains(&"gpu:7") {
            assert!(!dir.path().join("run").exists(), "{args:?}");
        }
        let _ = fs::remove_dir_all(dir.path().join("run"));
    }
    for args in [&["run", "--device", "tpu"][..], &["run", "--seed", "x"], &["dance"]] {
        let ran = weakseg(dir.path(), args);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(args[args.len() - 1]));
    }
}
