//! Every method at its smallest, for `cargo xtask smoke`: minutes, so ignored otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weakseg::data::decode::read_mask;
use weakseg::maps::read_maps;
use weakseg::methods::{self, METHODS, Method};
use weakseg::pipeline::{Product, Stage};

use super::harness::*;

/// Those of the built-in data set.
const CLASSES: usize = 6;

/// Arguments of the smallest run of `method` on `device`.
fn smallest<'a>(method: &'a str, device: &'a str, out: &'a str) -> Vec<&'a str> {
    let run = ["run", "--method", method, "--out", out];
    let crops = [
        ["--set", "joint.training.augment.crop=48"],
        ["--set", "cian.training.augment.crop=48"],
        ["--set", "mcis.training.augment.crop=48"],
    ]
    .concat();
    // All of the small recipe but its device.
    let small = SMALL.strip_prefix(&["--device", "cpu"]).unwrap();
    [&run[..], &["--device", device], &crops, small, &SMALL_SHAPES].concat()
}

/// Reads a result file of any kind, and fails where it is damaged or of no known kind.
fn read(path: &Path) {
    let name = path.display();
    let text = || fs::read_to_string(path).unwrap();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let bytes = fs::read(path).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert!(!tensors.is_empty(), "{name}");
        }
        Some("npz") => assert!(!read_maps(path).unwrap().classes.is_empty(), "{name}"),
        // The mask of an image, with nothing but classes and 255.
        Some("png") => {
            let size = image::image_dimensions(path).unwrap();
            read_mask(path, CLASSES, size).unwrap();
        }
        Some("json") => assert!(json(path).is_object(), "{name}"),
        Some("toml") => assert!(!text().parse::<toml::Table>().unwrap().is_empty(), "{name}"),
        Some("html") => assert!(text().trim_end().ends_with("</html>"), "{name}"),
        Some("txt") => assert!(!text().is_empty(), "{name}"),
        Some("csv") => {
            let mut rows = csv::Reader::from_path(path).unwrap();
            let numbers = |row: csv::StringRecord| row.iter().all(|v| v.parse::<f64>().is_ok());
            let finite = rows.records().map(|row| numbers(row.unwrap()));
            assert_eq!(finite.filter(|ok| *ok).count(), text().lines().count() - 1);
            assert!(text().lines().count() > 1, "{name}: no rows");
        }
        _ => panic!("{name}: what is this?"),
    }
}

/// The files, by ending, that a stage of a run on six training and two validation images leaves.
fn left_by(stage: Stage) -> &'static [(&'static str, usize)] {
    match stage.product() {
        Product::Network(_) => &[("safetensors", 1), ("csv", 1)],
        Product::ClassMaps | Product::Scores => &[("npz", 6)],
        Product::Labels => &[("png", 6)],
        Product::Masks => &[("png", 2)],
    }
}

#[test]
#[ignore = "minutes: cargo xtask smoke"]
fn every_method_goes_end_to_end_and_leaves_every_file() {
    let device = std::env::var("WEAKSEG_SMOKE_DEVICE").unwrap_or_else(|_| "vulkan".to_string());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runs/smoke");
    fs::create_dir_all(&folder).unwrap();
    for Method {
        name: method, stages, ..
    } in METHODS
    {
        let run = folder.join(method);
        let _ = fs::remove_dir_all(&run);
        let clock = Instant::now();
        weakseg_slowly(&folder, &smallest(method, &device, method)).succeeds();
        eprintln!("{method} on {device}: {:.0} s", clock.elapsed().as_secs_f64());
        for name in files(&run).into_keys() {
            read(&run.join(name));
        }
        for file in ["metrics.json", "report.html", "run.json", "config.toml", "log.txt"] {
            assert!(run.join(file).is_file(), "{method}: no {file}");
        }
        for stage in *stages {
            let (name, wanted) = (stage.files().folder, left_by(*stage));
            let mut found = BTreeMap::new();
            for entry in fs::read_dir(run.join(name)).unwrap() {
                let path = entry.unwrap().path();
                let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
                *found.entry(ending.unwrap_or_default()).or_insert(0) += 1;
            }
            for (ending, count) in wanted {
                assert_eq!(found.get(*ending), Some(count), "{method} {name}: {found:?}");
            }
        }
    }
}

#[test]
#[ignore = "minutes: cargo xtask smoke"]
fn two_runs_with_one_seed_give_the_same_bits_for_every_method() {
    let dir = tempfile::tempdir().unwrap();
    for method in methods::names() {
        let [once, again] = ["a", "b"].map(|copy| {
            let out = format!("{method}-{copy}");
            let args = [&smallest(method, "cpu", &out)[..], &["--seed", "5"]].concat();
            weakseg(dir.path(), &args).succeeds();
            results(&dir.path().join(out))
        });
        assert!(!once.is_empty());
        assert_same(&once, &again);
    }
}

/// Seconds that each stage of a finished run took, in order.
fn durations(run: &Path) -> Vec<(String, f64)> {
    let record = json(&run.join("run.json"));
    let stages = record["stages"].as_array().unwrap().iter();
    stages
        .map(|s| {
            let name = s["name"].as_str().unwrap().to_string();
            (name, s["seconds"].as_f64().unwrap())
        })
        .collect()
}

/// Starts a run and kills it some seconds after a stage has begun; whether it was still at work then.
fn killed(folder: &Path, args: &[&str], run: &Path, stage: &str, after: f64) -> bool {
    let mut child = Command::new(WEAKSEG)
        .args(args)
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", "2")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = || {
        let record = fs::read(run.join("run.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        let stages = record["stages"].as_array().cloned().unwrap_or_default();
        stages.iter().any(|s| s["name"] == stage)
    };
    while !begun() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_secs_f64(after));
    let at_work = child.try_wait().unwrap().is_none();
    // SIGKILL on Unix.
    child.kill().unwrap();
    child.wait().unwrap();
    at_work
}

#[test]
#[ignore = "minutes: cargo xtask smoke"]
fn runs_killed_at_twenty_random_moments_end_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(20);
    // Every stage that there is is hit at least once.
    let kills = [("affinitynet", 7), ("rrm-two-step", 4), ("cian", 3), ("mcis", 6)];
    for (method, kills) in kills {
        let whole = format!("{method}-whole");
        weakseg(dir.path(), &smallest(method, "cpu", &whole)).succeeds();
        let whole = dir.path().join(whole);
        let stages = durations(&whole);
        for kill in 0..kills {
            // From the last stage on: the first ones are every method's.
            let (stage, seconds) = &stages[stages.len() - 1 - kill % stages.len()];
            let after = seconds * random.random_range(0.0..0.95);
            let out = format!("{method}-{kill}");
            let args = smallest(method, "cpu", &out);
            let run = dir.path().join(&out);
            let mut hit = killed(dir.path(), &args, &run, stage, after);
            if !hit {
                // The machine was quicker this time.
                fs::remove_dir_all(&run).unwrap();
                hit = killed(dir.path(), &args, &run, stage, 0.0);
            }
            assert!(hit, "{method}: over before {stage} could be killed");
            weakseg(dir.path(), &args).succeeds();
            assert_same(&results(&run), &results(&whole));
            fs::remove_dir_all(&run).unwrap();
        }
    }
}
