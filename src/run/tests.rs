use std::fs;
use std::path::Path;

use super::{Mode, RunDir, StageFiles};
use crate::files;

const CAM: StageFiles = StageFiles {
    name: "cam",
    folder: "cam",
    extensions: &["npz"],
};
const LABEL: StageFiles = StageFiles {
    name: "label",
    folder: "labels",
    extensions: &["png"],
};
const PREDICT: StageFiles = StageFiles {
    name: "predict",
    folder: "predictions",
    extensions: &["png"],
};

fn open(path: &Path, text: &str, mode: Mode) -> anyhow::Result<RunDir> {
    RunDir::open(path, &config(text), mode, &[CAM, LABEL, PREDICT])
}

fn config(text: &str) -> toml::Table {
    text.parse().unwrap()
}

fn error(path: &Path, text: &str, mode: Mode) -> String {
    let error = format!("{:#}", open(path, text, mode).unwrap_err());
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn a_run_goes_on_with_its_own_configuration_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs/a");
    let text = "seed = 1\n[cam]\nscales = [0.5, 1.0]\nflip = true";
    drop(open(&path, text, Mode::Resume).unwrap());
    drop(open(&path, text, Mode::Resume).unwrap());
    let other = "seed = 2\nmethod = \"rrm\"\n[cam]\nscales = [0.5]\nflip = true";
    let error = error(&path, other, Mode::Resume);
    for part in [
        "cam.scales: [0.5, 1.0] → [0.5]",
        "seed: 1 → 2",
        "method: none → \"rrm\"",
        "--fresh",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("flip"), "{error}");
    let run = open(&path, other, Mode::Fresh).unwrap();
    assert_eq!(run.config(), &config(other));
    assert_eq!(RunDir::read(&path).unwrap().config(), &config(other));
}

#[test]
fn long_lists_of_differences_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |value: u32| (0..8).map(|k| format!("k{k} = {value}\n")).collect::<String>();
    drop(open(dir.path(), &keys(0), Mode::Resume).unwrap());
    assert!(error(dir.path(), &keys(1), Mode::Resume).contains("k4: 0 → 1 and 3 more"));
}

#[test]
fn a_directory_in_use_is_refused_but_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let run = open(dir.path(), "", Mode::Resume).unwrap();
    for mode in [Mode::Resume, Mode::Fresh] {
        assert!(error(dir.path(), "", mode).contains("in use by another"));
    }
    let reader = RunDir::read(dir.path()).unwrap();
    assert!(reader.begin_stage(CAM, "").is_err());
    drop(run);
    open(dir.path(), "", Mode::Resume).unwrap();
}

#[test]
fn other_directories_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    for mode in [Mode::Resume, Mode::Fresh] {
        assert!(error(dir.path(), "", mode).contains("is not a run directory"));
    }
    assert!(RunDir::read(dir.path()).is_err());
    assert!(error(&dir.path().join("thesis.txt"), "", Mode::Resume).contains("thesis.txt"));
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1);
}

#[test]
fn fresh_removes_what_the_run_wrote_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let run = open(dir.path(), "", Mode::Resume).unwrap();
    run.begin_stage(LABEL, "").unwrap();
    run.finish_stage("label", 1.0).unwrap();
    drop(run);
    let half = format!("cam/{}x", files::TEMPORARY_PREFIX);
    for name in [
        "labels/a.png",
        "labels/soft/a.png",
        "labels/notes.npz",
        "labels/notes.txt",
        "cam/b.npz",
        "own.png",
        &half,
    ] {
        files::write_bytes(&dir.path().join(name), b"x").unwrap();
    }
    let run = open(dir.path(), "", Mode::Fresh).unwrap();
    assert!(!run.stage_done("label", ""));
    let exists = |name: &str| dir.path().join(name).exists();
    assert!(exists("own.png") && exists("labels/notes.txt") && exists("config.toml"));
    assert!(exists("labels/notes.npz"), "not of a kind that the stage writes");
    assert!(!exists("labels/a.png") && !exists("labels/soft") && !exists("cam"));
}

#[test]
fn stages_run_again_when_their_inputs_change() {
    let dir = tempfile::tempdir().unwrap();
    let open = || open(dir.path(), "", Mode::Resume).unwrap();
    let file = dir.path().join("predictions/a.png");
    let run = open();
    run.begin_stage(PREDICT, "f1").unwrap();
    files::write_bytes(&file, b"x").unwrap();
    drop(run); // killed here
    let run = open();
    assert!(!run.stage_done("predict", "f1"));
    run.begin_stage(PREDICT, "f1").unwrap();
    assert!(file.exists());
    run.finish_stage("predict", 2.5).unwrap();
    drop(run);
    let run = open();
    assert!(run.stage_done("predict", "f1"));
    assert!(!run.stage_done("predict", "f2") && !run.stage_done("cam", "f1"));
    assert!((run.stages()[0].seconds - 2.5).abs() < 1e-9);
    run.begin_stage(PREDICT, "f2").unwrap();
    assert!(!file.exists() && !run.stage_done("predict", "f1"));
}

#[test]
fn forgotten_stages_run_again_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = open(dir.path(), "", Mode::Resume).unwrap();
    for stage in [CAM, LABEL] {
        run.begin_stage(stage, ".0").unwrap();
        run.finish_stage(stage.name, 1.0).unwrap();
    }
    let file = dir.path().join("labels/a.png");
    files::write_bytes(&file, b"x").unwrap();
    assert_eq!(run.forget(&["label", "predict"]).unwrap(), ["label"]);
    assert!(run.stage_done("cam", ".0") && !run.stage_done("label", ".0"));
    run.begin_stage(LABEL, ".0").unwrap();
    assert!(!file.exists());
}

#[test]
fn a_damaged_record_or_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), "a = 1", Mode::Resume).unwrap());
    for name in ["run.json", "config.toml"] {
        fs::write(dir.path().join(name), "{\n\"half").unwrap();
        let error = error(dir.path(), "a = 1", Mode::Resume);
        assert!(error.contains(name) && error.contains("is damaged"), "{error}");
    }
    open(dir.path(), "a = 1", Mode::Fresh).unwrap();
}
