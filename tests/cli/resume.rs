//! The same bits from every way to the end: at once, stage by stage, and after kills.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::*;

/// Trainings that last long enough to be killed in their middle, checkpoints close together, and maps that take a while.
const LONG: [&str; 18] = [
    "--set",
    "classify.epochs=24",
    "--set",
    "affinity.training.epochs=24",
    "--set",
    "segment.epochs=24",
    "--set",
    "classify.checkpoint_every=4",
    "--set",
    "affinity.training.checkpoint_every=4",
    "--set",
    "segment.checkpoint_every=4",
    "--set",
    "cam.scales=[0.5, 1.0, 1.5, 2.0, 3.0]",
    "--set",
    "cam.batch=2",
    "--set",
    "cam.flip=true",
];

fn finished(run: &Path, stage: &str) -> bool {
    let record = json(&run.join("run.json"));
    let stages = record["stages"].as_array().unwrap();
    stages.iter().any(|s| s["name"] == stage && s["finished"] == true)
}

/// Starts the program with `args`, which write the run directory `run`, and kills it as soon as `is_due`, which has to be
/// before the end of `stage`.
pub fn kill_in(folder: &Path, args: &[&str], run: &Path, stage: &str, is_due: impl Fn() -> bool) {
    let mut child = Command::new(WEAKSEG)
        .args(args)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !is_due() {
        assert!(start.elapsed() < Duration::from_secs(120), "{stage} did not get there");
        assert!(child.try_wait().unwrap().is_none(), "{stage}: it ended by itself");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!finished(run, stage), "{stage}: killed too late");
}

#[test]
fn a_run_that_was_killed_in_every_stage_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let whole = [&["run", "--out", "whole"], &LONG[..]].concat();
    small_shapes(dir.path(), &whole).succeeds();
    let run = dir.path().join("killed");
    let args = [&["run", "--out", "killed"], &SMALL[..], &SMALL_SHAPES, &LONG].concat();
    let kill_in = |stage: &str, is_due: &dyn Fn() -> bool| {
        kill_in(dir.path(), &args, &run, stage, is_due);
    };
    let rows = |stage: &str| {
        let text = fs::read_to_string(run.join(stage).join("metrics.csv")).unwrap_or_default();
        text.lines().count()
    };
    // Six rows are five steps: behind the first checkpoint and before the second.
    kill_in("classify", &|| rows("classify") >= 6);
    let steps = rows("classify");
    kill_in("classify", &|| rows("classify") > steps + 4);
    let maps = || fs::read_dir(run.join("cam")).is_ok_and(|entries| entries.count() >= 1);
    kill_in("cam", &maps);
    // Whatever was there at the kill, the maps that are left divide the images into other batches.
    for number in [0, 2, 3] {
        let _ = fs::remove_file(run.join(format!("cam/train_0000{number}.npz")));
    }
    kill_in("affinity", &|| rows("affinity") >= 6);
    kill_in("segment", &|| rows("segment") >= 6);
    // What a kill in the middle of a write leaves behind.
    write(&run.join("segment/.weakseg-tmp-x"), "half");
    let last = [&["run", "--out", "killed"], &LONG[..]].concat();
    small_shapes(dir.path(), &last).succeeds();
    assert_same(&results(&run), &results(&dir.path().join("whole")));
}

#[test]
fn stages_one_by_one_give_the_bits_of_a_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, steps) = (dir.path().join("whole"), dir.path().join("steps"));
    small_shapes(dir.path(), &["run", "--out", "whole", "--seed", "7"]).succeeds();
    let stages = ["classify", "cam", "affinity", "propagate", "label", "segment"];
    for (i, stage) in stages.into_iter().enumerate() {
        if let Some(next) = stages.get(i + 1) {
            small_shapes(dir.path(), &[next, "--out", "steps", "--seed", "7"]).fails(&[
                &format!("{next} needs the stage {stage} to be finished in steps"),
                &format!("run `weakseg {stage}`"),
            ]);
        }
        small_shapes(dir.path(), &[stage, "--out", "steps", "--seed", "7"]).succeeds();
    }
    weakseg(dir.path(), &["predict", "--out", "steps", "--device", "cpu"]).succeeds();
    assert_same(&results(&steps), &results(&whole));

    // A finished stage is kept; --again repeats it, which makes those behind it stale, and gives the same bits.
    let ran = small_shapes(dir.path(), &["cam", "--out", "steps", "--seed", "7"]).succeeds();
    assert!(ran.err.contains("cam: finished before, kept"), "{}", ran.err);
    let before = results(&steps);
    small_shapes(dir.path(), &["cam", "--again", "--out", "steps", "--seed", "7"]).succeeds();
    small_shapes(dir.path(), &["label", "--out", "steps", "--seed", "7"]).fails(&["label needs the stage affinity"]);
    small_shapes(dir.path(), &["run", "--out", "steps", "--seed", "7"]).succeeds();
    assert_same(&results(&steps), &before);

    small_shapes(dir.path(), &["classify", "--out", "other", "--seed", "8"]).succeeds();
    let network = "classify/checkpoint.safetensors";
    assert_ne!(results(&dir.path().join("other"))[network], before[network]);
}

#[test]
fn a_run_that_has_not_begun_cannot_predict() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &["segment", "--out", "run"]).fails(&["segment needs the stage classify"]);
    let predict = ["predict", "--out", "run", "--device", "cpu"];
    weakseg(dir.path(), &predict).fails(&["predict needs the stage classify"]);
    write(&dir.path().join("a.png"), "");
    weakseg(dir.path(), &[&predict[..], &["a.png"]].concat())
        .fails(&["run has not finished its stage segment", "weakseg run --out run"]);
}
