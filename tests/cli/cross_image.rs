//! The methods that look at several images at once, and what compares methods.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};

use super::harness::*;
use super::resume::kill_in;

/// Small crops for the trainings of both methods.
const CROPS: [&str; 4] = [
    "--set",
    "cian.training.augment.crop=48",
    "--set",
    "mcis.training.augment.crop=48",
];

/// The values of the masks in a folder.
fn values(folder: &Path) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "png") {
            let mask = weakseg::data::decode::read_mask(&path, 6, (48, 48)).unwrap();
            found.extend(mask.into_raw());
        }
    }
    found
}

#[test]
fn killed_runs_of_both_end_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for (method, stage) in [("cian", "cross/round1"), ("mcis", "coattend")] {
        let long = [
            "cian.training.epochs=15",
            "mcis.training.epochs=15",
            "cian.training.checkpoint_every=4",
            "mcis.training.checkpoint_every=4",
            "cian.queries=once",
            "mcis.queries=once",
            "mcis.self_pairs=true",
            "mcis.maps=released",
        ];
        let long = long.iter().flat_map(|set| ["--set", set]);
        let mut args: Vec<&str> = ["run", "--method", method, "--rounds", "2"].into();
        args.extend(CROPS.into_iter().chain(SMALL).chain(SMALL_SHAPES).chain(long));
        let (whole, killed) = (format!("{method}-whole"), format!("{method}-killed"));
        let to = |out| [&args[..], &["--out", out]].concat();
        weakseg(dir.path(), &to(&whole)).succeeds();
        let run = dir.path().join(&killed);
        let rows = || {
            let text = fs::read_to_string(run.join(stage).join("metrics.csv"));
            text.unwrap_or_default().lines().count()
        };
        let name = stage.split('/').next().unwrap();
        kill_in(dir.path(), &to(&killed), &run, name, || rows() >= 6);
        weakseg(dir.path(), &to(&killed)).succeeds();
        let finished = results(&run);
        assert_same(&finished, &results(&dir.path().join(&whole)));
        let stages = &json(&run.join("metrics.json"))["stages"];
        assert!(stages["cam"]["mean_iou"].is_number(), "{method}");
        assert_eq!(stages["segment"]["images"], 2, "{method}");
        let labels = if method == "cian" { "cross/labels" } else { "labels" };
        assert!(!values(&run.join(labels)).is_empty(), "{method}");
        if method == "cian" {
            let seeds = values(&run.join("cross/round1/labels"));
            assert!(seeds.contains(&255), "{seeds:?}");
            let rounds = ["cross", "cross/round1"].map(|r| &finished[&format!("{r}/checkpoint.safetensors")]);
            assert_ne!(rounds[0], rounds[1]);
            let gamma = json(&run.join("metrics.json"))["mean_gamma"].as_f64().unwrap();
            let log = fs::read_to_string(run.join("log.txt")).unwrap();
            let told = format!("round 2: the messages' mean |gamma| is {gamma:.4}");
            assert!(gamma > 0.0 && log.contains(&told), "{gamma}: {log}");
        }
    }
    // Where a pixel looks, with the network that was trained.
    let show = |picture: &str, at: &str, out: &str| {
        let args = ["show", "affinity", picture, "other.png", "--at", at, "--out", out];
        weakseg(
            dir.path(),
            &[&args[..], &["--run", "cian-whole", "--device", "cpu", "--json"]].concat(),
        )
    };
    picture(60, 44).save(dir.path().join("one.png")).unwrap();
    picture(90, 120).save(dir.path().join("other.png")).unwrap();
    let shown = show("one.png", "59,43", "shown.png").succeeds();
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert!(shown["reference"][1].as_u64().unwrap() < 120);
    assert!(image::open(dir.path().join("shown.png")).unwrap().height() >= 256);
    show("one.png", "60,0", "no.png").fails(&["--at 60,0 is outside of one.png", "60 x 44"]);
    assert!(!dir.path().join("no.png").exists());
    let args = [
        "show", "affinity", "one.png", "one.png", "--at", "1,1", "--out", "no.png",
    ];
    weakseg(dir.path(), &[&args[..], &["--run", "mcis-whole"]].concat())
        .fails(&["mcis-whole has not finished its stage cross"]);
    let predict = ["predict", "one.png", "--out", "cian-whole", "--device", "cpu"];
    weakseg(dir.path(), &predict).succeeds();
}

/// Cats and dogs of two sizes, and one bird.
fn pets_and_a_bird(folder: &Path) {
    pets(folder);
    let tags = fs::read_to_string(folder.join("tags.csv")).unwrap();
    write(&folder.join("tags.csv"), tags + "e.png,bird\nf.png,\n");
    for name in ["e", "f"] {
        picture(40, 44).save(folder.join(format!("{name}.png"))).unwrap();
    }
}

#[test]
fn single_images_and_saliency_maps() {
    let dir = tempfile::tempdir().unwrap();
    pets_and_a_bird(&dir.path().join("pets"));
    let run = |method: &str, more: &[&str]| {
        let args = ["run", "--data", "pets", "--method", method, "--out", method];
        small(dir.path(), &[&args[..], &CROPS, more].concat())
    };
    let mcis = run("mcis", &[]).succeeds();
    mcis.warns(&["single image", "own partner", "bird"]);
    mcis.warns(&["f.png"]);
    for name in ["a", "b", "c", "d", "e"] {
        let maps = weakseg::maps::read_maps(&dir.path().join(format!("mcis/cam/{name}.npz")));
        assert_eq!(maps.unwrap().classes.len(), if name == "c" { 2 } else { 1 });
    }

    run("cian", &["--saliency", "maps"]).fails(&["maps does not exist"]);
    let saliency = |name: &str, width: u32| {
        let map = GrayImage::from_fn(width, 44, |x, _| Luma([u8::from(x < 10)]));
        let path = dir.path().join(format!("maps/{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        map.save(path).unwrap();
    };
    saliency("z", 40);
    let fresh = ["--saliency", "maps", "--fresh"];
    run("cian", &fresh).fails(&["maps holds a saliency map of none of the 5", "a.png"]);
    saliency("a", 41);
    run("cian", &fresh).fails(&["a.png is 41 x 44", "40 x 44"]);
    saliency("a", 40);
    run("cian", &fresh)
        .succeeds()
        .warns(&["4 of 5", "no saliency map", "b.png"])
        .warns(&["a.png", "0 and 1 alone", "255"]);
    let seeds = dir.path().join("cian/cross/labels/a.png");
    let seeds = weakseg::data::decode::read_mask(seeds, 3, (40, 44)).unwrap();
    assert!(seeds.enumerate_pixels().all(|(x, _, v)| x >= 10 || v.0[0] != 0));
    assert!(
        seeds
            .enumerate_pixels()
            .all(|(x, _, v)| x < 10 || [0, 255].contains(&v.0[0]))
    );
    // The labels of MCIS have the same background.
    run("mcis", &fresh).succeeds();
    let label = dir.path().join("mcis/labels/a.png");
    let label = weakseg::data::decode::read_mask(label, 3, (40, 44)).unwrap();
    assert!(
        label
            .enumerate_pixels()
            .all(|(x, _, v)| x < 10 || [0, 255].contains(&v.0[0]))
    );
    // In the released code the background competes with the maps, and only what is salient may be of a class.
    run("mcis", &[&fresh[..], &["--set", "label.rule=released"]].concat()).succeeds();
    let label = dir.path().join("mcis/labels/a.png");
    let label = weakseg::data::decode::read_mask(label, 3, (40, 44)).unwrap();
    assert!(label.enumerate_pixels().all(|(x, _, v)| match x {
        0..10 => v.0[0] != 0,
        _ => [0, 255].contains(&v.0[0]),
    }));
    let truth = ["--set", "cian.truth=0.5", "--fresh"];
    run("cian", &truth).fails(&["cian.truth=0.5", "masks"]);
}

#[test]
fn extra_images_join_by_name_and_have_an_affinity_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    pets(&dir.path().join("pets"));
    let extra = dir.path().join("more");
    write(
        &extra.join("tags.csv"),
        "file,tags\na.png,dog\nb.png,cat;dog\nc.png,horse\nd.png,cat\n",
    );
    for name in ["a", "b", "c", "d"] {
        picture(44, 44).save(extra.join(format!("{name}.png"))).unwrap();
    }
    write(&dir.path().join("horses/tags.csv"), "file,tags\nc.png,horse\n");
    picture(44, 44).save(dir.path().join("horses/c.png")).unwrap();
    let run = |out: &str, more: &[&str]| {
        let args = ["run", "--data", "pets", "--method", "mcis", "--out", out];
        small(dir.path(), &[&args[..], &CROPS, more].concat())
    };
    run("none", &["--extra", "horses", "--extra-kind", "web"]).fails(&[
        "--extra horses",
        "none of the 1 extra images",
        "cat, dog",
    ]);
    let single = ["--extra", "more", "--extra-kind", "single"];
    let ran = run("single", &single).succeeds();
    ran.warns(&["2 of 4 extra images left out", "1 have no tag", "1 have several"]);
    ran.warns(&["does not know", "horse"]);
    for folder in ["cam/extra_a.npz", "cam/extra_d.npz", "labels/extra_a.png"] {
        assert!(dir.path().join("single").join(folder).exists(), "{folder}");
    }
    assert!(!dir.path().join("single/cam/extra_b.npz").exists());
    // The run remembers them, and other ones are another run.
    let args = ["run", "--out", "single", "--device", "cpu"];
    weakseg(dir.path(), &args).succeeds();
    run("single", &["--extra", "more", "--extra-kind", "web"]).fails(&["another configuration", "extra_kind"]);
}

#[test]
fn the_challenges_form_and_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let lid = ["run", "--method", "mcis-lid", "--out", "lid"];
    small_shapes(dir.path(), &[&lid[..], &CROPS].concat()).succeeds();
    let config = fs::read_to_string(dir.path().join("lid/config.toml")).unwrap();
    assert!(config.contains("threshold = 0.2") && config.contains("related = 0"));

    let ablate = |method: &str, rows: &str, more: &[&str]| {
        let args = ["ablate", method, "--rows", rows, "--out", method, "--json"];
        let ran = small_shapes(dir.path(), &[&args[..], &CROPS, more].concat()).succeeds();
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
    };
    let rows = ablate("mcis", "single,extra-web", &["--until", "cam"]);
    assert_eq!(rows[0]["row"], "single");
    for row in [&rows[0], &rows[1]] {
        assert!(row["mean_iou_maps"].is_number() && row["mean_iou"].is_null());
    }
    let checkpoint = |run: &str| {
        let path = dir
            .path()
            .join("mcis")
            .join(run)
            .join("coattend/checkpoint.safetensors");
        fs::read(path).unwrap()
    };
    assert_eq!(checkpoint("single"), checkpoint("multi"));
    let config = fs::read_to_string(dir.path().join("mcis/extra-web/config.toml")).unwrap();
    assert!(
        config.contains("12 training") && config.contains("extra_kind = \"web\""),
        "{config}"
    );
    let rows = ablate("mcis", "self-pairs-single,self-pairs-mixture", &["--until", "cam"]);
    assert_ne!(rows[0]["mean_iou_maps"], rows[1]["mean_iou_maps"]);
    assert_eq!(checkpoint("self-pairs-single"), checkpoint("self-pairs-mixture"));
    assert_ne!(checkpoint("self-pairs"), checkpoint("multi"));
    let rows = ablate("cian", "baseline,self-rt,references-3", &[]);
    assert!(rows[2]["mean_iou"].is_number() && rows[2]["paper"].is_null());
    for row in rows.as_array().unwrap() {
        assert!(row["mean_gamma"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn methods_are_compared_on_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["compare", "--methods", "affinitynet,cian,supervised", "--out", "all"];
    let ran = small_shapes(dir.path(), &[&args[..], &CROPS].concat()).succeeds();
    assert!(
        ran.out.contains("affinitynet") && ran.out.contains("compare.html"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("3 methods: about "), "{}", ran.err);
    let outcomes = json(&dir.path().join("all/compare.json"));
    assert_eq!(outcomes.as_array().unwrap().len(), 3);
    assert_eq!(outcomes[2]["method"], "supervised");
    let maps = |method: &str| fs::read(dir.path().join("all").join(method).join("cam/train_00000.npz"));
    assert_eq!(maps("cian").unwrap(), maps("affinitynet").unwrap());
    let page = fs::read_to_string(dir.path().join("all/compare.html")).unwrap();
    // Two rows of image, truth and three predictions.
    assert_eq!(
        page.matches("data:image/png;base64,").count() + page.matches("data:image/jpeg;base64,").count(),
        10
    );
    let again = small_shapes(dir.path(), &[&args[..], &CROPS].concat()).succeeds();
    assert_eq!(again.out, ran.out);
    weakseg(dir.path(), &["compare", "--methods", "cam"]).fails(&["unknown method \"cam\""]);
}
