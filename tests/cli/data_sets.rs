//! Data sets as people have them: looked at, read where they can be meant, and refused where not.

use std::fs;
use std::path::Path;

use image::{ImageEncoder, RgbImage};

use super::harness::*;

/// [`pets`] in `folder`, with masks whose values are those of the tags by `value`.
fn pets_with_masks(folder: &Path, value: impl Fn(&str) -> u8) {
    pets(folder);
    fs::create_dir(folder.join("masks")).unwrap();
    for (name, size, tag) in [("a", 40, "cat"), ("b", 52, "dog"), ("d", 40, "dog")] {
        let path = folder.join(format!("masks/{name}.png"));
        mask(size, 44, value(tag)).save(path).unwrap();
    }
}

/// Saves a JPEG that its EXIF orientation 6 turns upright: stored lying, 24 x 16.
fn turned(path: &Path) {
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let file = fs::File::create(path).unwrap();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(file);
    encoder.set_exif_metadata(exif).unwrap();
    let image: RgbImage = picture(24, 16);
    encoder.encode_image(&image).unwrap();
}

#[test]
fn inspect_tells_what_a_data_set_is_and_draws_it() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets_with_masks(&set, |tag| if tag == "cat" { 1 } else { 2 });
    write(&set.join("e.heic"), "");
    mask(9, 9, 1).save(set.join("masks/z_mask.png")).unwrap();
    let ran = weakseg(dir.path(), &["inspect", "set", "--out", "page", "--recipe", "smoke"]).succeeds();
    ran.warns(&[".heic", "convert them"]);
    assert_eq!(ran.out.lines().count(), 6, "{}", ran.out);
    for part in [
        "tags.csv",
        "classes: 2: cat 2, dog 3",
        "40 x 44 to 52 x 44",
        "3 by masks/NAME.png",
        "1 match no image",
        "3 of 3 fit the tags",
        "1 .heic files",
        "time: affinitynet with the recipe smoke will take about",
    ] {
        assert!(ran.out.contains(part), "no {part:?} in {}", ran.out);
    }
    let absent = ["inspect", "set", "--set", "backbone.weights=none-of-these"];
    let ran = weakseg(dir.path(), &absent).succeeds();
    assert!(
        ran.out.contains("time: not known") && ran.out.contains("weights fetch none-of-these"),
        "{}",
        ran.out
    );
    let page = fs::read_to_string(dir.path().join("page/inspect.html")).unwrap();
    assert!(page.contains("data:image/") && page.contains("cat"));
    let ran = weakseg(dir.path(), &["inspect", "set", "--json", "--recipe", "smoke"]).succeeds();
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(found["minutes"].as_f64().unwrap() > 0.0);
    assert_eq!(found["classes"][1]["images"], 3);
    assert_eq!(found["masks"]["unmatched"], 1);
    assert_eq!(found["tags_an_image"][2], 2);
    // A run says the same before it begins.
    let ran = small(dir.path(), &["run", "--data", "set", "--out", "run"]).succeeds();
    for line in ["data: ", "classes: ", "images: ", "masks: ", "left out: "] {
        assert!(ran.err.lines().any(|l| l.contains(line)), "{}", ran.err);
    }
}

#[test]
fn classes_and_masks_that_cannot_be_meant_stop_a_run_before_training() {
    let refused = |set: &dyn Fn(&Path), parts: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        set(&dir.path().join("set"));
        small(dir.path(), &["run", "--data", "set", "--out", "run"]).fails(parts);
        assert!(!dir.path().join("run").exists(), "a run directory was made");
    };
    let folders = |names: [&'static str; 2]| {
        move |set: &Path| {
            for name in names {
                fs::create_dir_all(set.join(name)).unwrap();
                let file = format!("{name}/{}.png", name.replace('/', "_"));
                picture(30, 30).save(set.join(file)).unwrap();
            }
        }
    };
    refused(
        &folders(["train/cat", "val/cat"]),
        &["class \"train\"", "--data set/train", "classes.txt"],
    );
    refused(&folders(["images", "labels"]), &["class \"images\""]);
    refused(&folders(["img_dir", "ann_dir"]), &["mmsegmentation"]);
    refused(&folders(["cat", "Cat"]), &["differ in case"]);
    let tags = |text: &'static str| {
        move |set: &Path| {
            pets(set);
            fs::write(set.join("tags.csv"), text).unwrap();
        }
    };
    refused(
        &tags("file,tags\na.png,\"cat,dog\"\nb.png,dog\n"),
        &["\"cat,dog\"", "a comma", "cat;dog"],
    );
    refused(
        &tags("file,tags\na.png, \"cat\"\nb.png,cat\n"),
        &["quotes or white space"],
    );
    refused(
        &tags("file,tags\na.png,\"cat\nb.png,dog\n"),
        &["a line end", "a quote that nobody closes"],
    );
    refused(
        &tags("file:tags\na.png:cat\nb.png:dog\n"),
        &["none of its", "semicolon, tab or |"],
    );
    let labelme = |set: &Path| {
        pets(set);
        fs::write(set.join("classes.txt"), "_background_\ncat\ndog\n").unwrap();
    };
    refused(&labelme, &["\"_background_\"", "no class"]);
    let order = |set: &Path| pets_with_masks(set, |tag| if tag == "cat" { 2 } else { 1 });
    refused(&order, &["contradict the tags of 3 of 3", "1 = dog, 2 = cat"]);
    let ignored = |set: &Path| pets_with_masks(set, |_| 255);
    refused(&ignored, &["0 and 255 alone", "--mask-values"]);
}

#[test]
fn mask_values_are_mapped_and_the_run_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets_with_masks(&set, |tag| if tag == "cat" { 1 } else { 255 });
    let run = ["run", "--data", "set", "--out", "run", "--mask-values", "255=dog"];
    small(dir.path(), &run).succeeds();
    let metrics = json(&dir.path().join("run/metrics.json"));
    assert_eq!(metrics["stages"]["cam"]["images"], 3);
    weakseg(dir.path(), &["eval", "--out", "run"]).succeeds();
    let again = json(&dir.path().join("run/metrics.json"));
    assert_eq!(again["stages"], metrics["stages"]);
    let other = ["run", "--data", "set", "--out", "other", "--mask-values", "255=bird"];
    small(dir.path(), &other).fails(&["\"bird\" is no class", "cat, dog"]);
}

#[test]
fn tables_of_every_separator_and_encoding_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets(&set);
    let inspect = || {
        let absent = ["inspect", "set", "--json", "--set", "backbone.weights=none-of-these"];
        let ran = weakseg(dir.path(), &absent).succeeds();
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
    };
    let expected = inspect();
    let utf_16: Vec<u8> = "\u{feff}file\ttags\na.png\tcat\nb.png\tdog\nc.png\tcat;dog\nd.png\tdog\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for table in [
        &b"file;tags\r\na.png;cat\r\nb.png;dog\r\nc.png;cat;dog\r\nd.png;dog\r\n"[..],
        &utf_16,
        b"image,cat,dog\na,1,0\nb,0,1\nc,1,1\nd,0,1\n",
        b"\xef\xbb\xbf\"a.png\"|\"cat\"\nb.png|dog\nc.png|cat|dog\nd.png|dog\n",
    ] {
        fs::write(set.join("tags.csv"), table).unwrap();
        assert_eq!(inspect(), expected);
    }
}

#[test]
fn orientation_is_named_where_sizes_differ_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    fs::create_dir_all(set.join("cat")).unwrap();
    fs::create_dir_all(set.join("masks")).unwrap();
    turned(&set.join("cat/a.jpg"));
    turned(&set.join("cat/b.jpg"));
    mask(24, 16, 1).save(set.join("masks/a.png")).unwrap();
    mask(16, 24, 1).save(set.join("masks/b.png")).unwrap();
    let ran = weakseg(
        dir.path(),
        &["inspect", "set", "--set", "backbone.weights=none-of-these"],
    )
    .succeeds();
    ran.warns(&["mask not used", "a.png", "EXIF orientation 6"]);
    for part in ["16 x 24;", "2 with 6", "1 cannot be used", "1 of 1 fit"] {
        assert!(ran.out.contains(part), "no {part:?} in {}", ran.out);
    }
    mask(24, 16, 1).save(dir.path().join("scores.png")).unwrap();
    let crf = [
        "crf",
        "set/cat/a.jpg",
        "--scores",
        "scores.png",
        "--out",
        "out",
        "--device",
        "cpu",
    ];
    weakseg(dir.path(), &crf).fails(&["a.jpg", "EXIF orientation 6"]);
    mask(16, 24, 1).save(dir.path().join("scores.png")).unwrap();
    weakseg(dir.path(), &crf).succeeds();
}

#[test]
fn what_a_run_wrote_inside_of_its_data_is_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    for class in ["cat", "dog"] {
        fs::create_dir_all(set.join(class)).unwrap();
        for i in 0..2 {
            picture(48, 48 + i)
                .save(set.join(format!("{class}/{class}{i}.png")))
                .unwrap();
        }
    }
    let run = ["run", "--data", "."];
    small(&set, &run).succeeds();
    let again = small(&set, &run).succeeds();
    assert!(again.err.contains("classify: finished before, kept"), "{}", again.err);
    let run = fs::read_dir(set.join("runs")).unwrap().next().unwrap().unwrap().path();
    let run = run.display().to_string();
    let predict = [
        "predict",
        ".",
        "--out",
        &run,
        "--to",
        "masks-of-all",
        "--overlay",
        "--device",
        "cpu",
    ];
    for _ in 0..2 {
        weakseg(&set, &predict).succeeds();
        assert_eq!(files(&set.join("masks-of-all")).len(), 8);
    }
    small(&set, &["run", "--data", ".", "--out", &run]).succeeds();
}

#[test]
fn a_run_goes_on_where_its_data_were_moved() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    pets_with_masks(&at("set"), |tag| if tag == "cat" { 1 } else { 2 });
    small(dir.path(), &["classify", "--data", "set", "--out", "run"]).succeeds();
    // From another folder the data are found by the run.
    fs::create_dir(at("else")).unwrap();
    let eval = ["eval", "--out", "../run"];
    weakseg(&at("else"), &eval).succeeds();
    fs::rename(at("set"), at("else/where")).unwrap();
    let cam = ["cam", "--out", "run", "--device", "cpu"];
    weakseg(dir.path(), &cam).fails(&["set is not a folder"]);
    let moved = [&cam[..], &["--data", "else/where"]].concat();
    let ran = weakseg(dir.path(), &moved).succeeds();
    assert!(ran.err.contains("the run goes on"), "{}", ran.err);
    assert!(!ran.err.contains("have changed"), "{}", ran.err);
    // The new place is known from then on; other images are still refused.
    weakseg(&at("else"), &eval).succeeds();
    pets(&at("other"));
    fs::remove_file(at("other/d.png")).unwrap();
    let other = [&cam[..], &["--data", "other"]].concat();
    weakseg(dir.path(), &other).fails(&["another configuration"]);
}

#[test]
fn a_run_that_does_not_know_its_files_takes_no_others_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    pets(&at("set"));
    pets(&at("other"));
    small(dir.path(), &["classify", "--data", "set", "--out", "run"]).succeeds();
    fs::remove_file(at("run/inputs.json")).unwrap();
    let cam = |data: &str| weakseg(dir.path(), &["cam", "--out", "run", "--device", "cpu", "--data", data]);
    cam("other").fails(&["another configuration", "data: "]);
    // Where they are no longer, they were moved.
    fs::rename(at("set"), at("moved")).unwrap();
    let ran = cam("moved").succeeds();
    assert!(ran.err.contains("the run goes on"), "{}", ran.err);
}

#[test]
fn replaced_files_make_the_stages_stale_that_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets_with_masks(&set, |tag| if tag == "cat" { 1 } else { 2 });
    let stage = |name: &'static str| [name, "--out", "run", "--device", "cpu"];
    small(dir.path(), &["classify", "--data", "set", "--out", "run"]).succeeds();
    weakseg(dir.path(), &stage("cam")).succeeds();
    // A mask is for the scores alone.
    mask(40, 44, 1).save(set.join("masks/d.png")).unwrap();
    let ran = weakseg(dir.path(), &stage("cam")).succeeds();
    ran.warns(&["masks have changed", "d.png", "scores"]);
    assert!(ran.err.contains("cam: finished before, kept"), "{}", ran.err);
    // An image touched is the same image.
    let bytes = fs::read(set.join("a.png")).unwrap();
    fs::write(set.join("a.png"), bytes).unwrap();
    let ran = weakseg(dir.path(), &stage("cam")).succeeds();
    assert!(!ran.err.contains("have changed"), "{}", ran.err);
    mask(40, 44, 200).save(set.join("d.png")).unwrap();
    let ran = weakseg(dir.path(), &stage("affinity")).fails(&["needs the stage classify"]);
    ran.warns(&["training images have changed", "d.png", "classify, cam"]);
    weakseg(dir.path(), &stage("classify")).succeeds();
    weakseg(dir.path(), &stage("cam")).succeeds();
    // Of another size it has lost its mask too.
    picture(30, 30).save(set.join("d.png")).unwrap();
    let ran = weakseg(dir.path(), &stage("cam")).fails(&["needs the stage classify"]);
    ran.warns(&["mask not used", "d.png"]);
    ran.warns(&["training images have changed", "d.png", "classify, cam"]);
}
