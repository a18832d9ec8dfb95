//! Run directories of another run, in use or damaged, and disks that are full.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::*;

const RUN: [&str; 3] = ["run", "--out", "run"];

/// [`files`] of the run in `folder`, without the two that every command, refused or not, may write to.
fn kept(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut kept = files(&folder.join("run"));
    kept.retain(|name, _| name != "run.json" && name != "log.txt");
    kept
}

#[test]
fn another_configuration_is_refused_and_fresh_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    small_shapes(dir.path(), &["classify", "--out", "run"]).succeeds();
    write(&at("run/cam/notes.txt"), "mine");
    let before = kept(dir.path());
    small_shapes(dir.path(), &[&RUN[..], &["--seed", "5"]].concat()).fails(&[
        "run was made with another configuration",
        "seed: 0 → 5",
        "--fresh",
    ]);
    small_shapes(dir.path(), &[&RUN[..], &["--set", "cam.scales=[2.0]"]].concat())
        .fails(&["recipe.cam.scales: [1.0] → [2.0]"]);
    weakseg(dir.path(), &["demo", "--smoke", "--device", "cpu", "--out", "run"]).fails(&["another configuration"]);
    assert_same(&kept(dir.path()), &before);
    // What the run directory remembers may be left out.
    weakseg(dir.path(), &["cam", "--out", "run", "--device", "cpu"]).succeeds();
    let args = ["classify", "--out", "run", "--seed", "5", "--fresh"];
    small_shapes(dir.path(), &args).succeeds();
    assert!(at("run/cam/notes.txt").exists() && !at("run/cam/train_00000.npz").exists());
    assert_ne!(
        files(&at("run"))["classify/checkpoint.safetensors"],
        before["classify/checkpoint.safetensors"]
    );
}

#[test]
fn a_folder_of_other_things_and_a_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("run/thesis.tex"), "years of work");
    for more in [&[][..], &["--fresh"]] {
        small_shapes(dir.path(), &[&RUN[..], more].concat()).fails(&["run is not a run directory", "another --out"]);
    }
    assert_eq!(files(&dir.path().join("run")).len(), 1);
    write(&dir.path().join("file"), "");
    small_shapes(dir.path(), &["run", "--out", "file"]).fails(&["cannot write file"]);
}

#[test]
fn a_run_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &["classify", "--out", "run"]).succeeds();
    // This test is the other process.
    let lock = fs::File::options()
        .write(true)
        .open(dir.path().join("run/.lock"))
        .unwrap();
    lock.lock().unwrap();
    let before = files(&dir.path().join("run"));
    for more in [&[][..], &["--fresh"]] {
        small_shapes(dir.path(), &[&RUN[..], more].concat()).fails(&["run is in use by another"]);
    }
    assert_same(&files(&dir.path().join("run")), &before);
    drop(lock);
    small_shapes(dir.path(), &RUN).succeeds();
}

#[test]
fn checkpoints_that_are_truncated_or_of_another_network_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |stage: &str| {
        let path = dir.path().join("run").join(stage);
        path.join("checkpoint.safetensors")
    };
    small_shapes(dir.path(), &RUN).succeeds();
    let whole = results(&dir.path().join("run"));
    let network = |stage: &str| whole[&format!("{stage}/checkpoint.safetensors")].clone();
    picture(30, 30).save(dir.path().join("a.png")).unwrap();
    for (stage, user) in [
        ("classify", &["cam", "--again", "--out", "run"][..]),
        ("affinity", &["propagate", "--again", "--out", "run"]),
        ("segment", &["predict", "a.png", "--out", "run"]),
    ] {
        let good = network(stage);
        let path = at(stage);
        let file = Path::new("run").join(stage).join("checkpoint.safetensors");
        let file = file.display().to_string();
        let user = [user, &["--device", "cpu"]].concat();
        for length in [0, 5, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            weakseg(dir.path(), &user).fails(&[&file, "is truncated"]);
        }
        fs::write(&path, b"hello, this is not a checkpoint").unwrap();
        weakseg(dir.path(), &user).fails(&[&file, "is not a safetensors file"]);
        let wrong = if stage == "affinity" { "segment" } else { "affinity" };
        fs::write(&path, network(wrong)).unwrap();
        weakseg(dir.path(), &user).fails(&[&file, "is of another architecture"]);
        fs::remove_file(&path).unwrap();
        weakseg(dir.path(), &user).fails(&[&file, "does not exist"]);
        fs::write(&path, good).unwrap();
        // With a good copy in its place the run goes on, and nothing else has changed.
        small_shapes(dir.path(), &RUN).succeeds();
        assert_same(&results(&dir.path().join("run")), &whole);
    }
    // The other remedy: its stage is trained again.
    fs::write(at("classify"), b"").unwrap();
    small_shapes(dir.path(), &["classify", "--again", "--out", "run"]).succeeds();
    small_shapes(dir.path(), &RUN).succeeds();
    assert_same(&results(&dir.path().join("run")), &whole);
}

#[test]
fn other_damaged_files_of_a_run_are_named() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &RUN).succeeds();
    let whole = results(&dir.path().join("run"));
    let maps = dir.path().join("run/cam/train_00000.npz");
    for (name, part) in [
        ("config.toml", "is damaged"),
        ("run.json", "is damaged"),
        ("cam/train_00000.npz", "cannot read the score maps"),
        ("labels/train_00001.png", "cannot read the mask"),
    ] {
        let path = dir.path().join("run").join(name);
        let good = fs::read(&path).unwrap();
        // Half a text may still be good, were it not for an end that is none.
        fs::write(&path, [&good[..good.len() / 2], b" = ["].concat()).unwrap();
        let place = name.split('/').fold(PathBuf::from("run"), |p, part| p.join(part));
        let place = place.display().to_string();
        weakseg(dir.path(), &["eval", "--out", "run"]).fails(&[&place, part]);
        fs::write(&path, good).unwrap();
    }
    weakseg(dir.path(), &["eval", "--out", "run"]).succeeds();
    // The remedy that the error names.
    fs::write(maps, b"").unwrap();
    small_shapes(dir.path(), &RUN).fails(&["train_00000.npz", "--again"]);
    small_shapes(dir.path(), &["cam", "--again", "--out", "run"]).succeeds();
    small_shapes(dir.path(), &RUN).succeeds();
    assert_same(&results(&dir.path().join("run")), &whole);
}

/// A limit on the size of files stands for the disk: it cuts a write off at any place, even for root.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_and_the_run_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &["run", "--out", "whole"]).succeeds();
    let whole = results(&dir.path().join("whole"));
    let run = dir.path().join("run");
    // What a coverage build writes at the end is not the run's.
    let limits = |blocks: u32| format!("trap '' XFSZ; export LLVM_PROFILE_FILE=/dev/null; ulimit -f {blocks}");
    let args = [&RUN[..], &SMALL, &SMALL_SHAPES].concat();
    let full = |blocks: u32, file: &str| {
        let parts = ["cannot write", file, "disk is full"];
        limited(dir.path(), &limits(blocks), &args).fails(&parts);
        let left = files(&run);
        let unfinished = left.keys().find(|n| n.contains("tmp"));
        assert_eq!(unfinished, None);
        left
    };
    // Blocks of 512 bytes: not even the configuration fits, then the first network does not.
    full(1, "config.toml");
    full(100, "classify/checkpoint.safetensors");
    for stage in ["classify", "cam"] {
        small_shapes(dir.path(), &[stage, "--out", "run"]).succeeds();
    }
    let before = files(&run);
    let after = full(100, "affinity/checkpoint.safetensors");
    for (name, bytes) in &before {
        let writes_on = ["run.json", "log.txt"].contains(&name.as_str());
        assert!(writes_on || after.get(name) == Some(bytes), "{name} changed");
    }
    limited(dir.path(), &limits(20), &["shapes", "--out", "set", "--train", "2"]).fails(&[
        "cannot write",
        "set",
        "disk is full",
    ]);
    small_shapes(dir.path(), &RUN).succeeds();
    assert_same(&results(&run), &whole);
}

/// Results that cannot be printed are an error as any other; a reader that has seen enough is none.
#[cfg(target_os = "linux")]
#[test]
fn standard_output_may_be_full_or_closed() {
    let dir = tempfile::tempdir().unwrap();
    small_shapes(dir.path(), &["classify", "--out", "run"]).succeeds();
    for json in ["", "--json"] {
        let args = ["eval", "--out", "run", json];
        let args = &args[..if json.is_empty() { 3 } else { 4 }];
        limited(dir.path(), "exec >/dev/full", args).fails(&["standard output"]);
        limited(dir.path(), "exec >&-", args);
    }
    let pipe = format!("'{WEAKSEG}' eval --out run --json | true");
    let ran = std::process::Command::new("sh")
        .args(["-c", &pipe])
        .env_remove("RUST_BACKTRACE")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!err.contains("panicked") && !err.contains("is a bug"), "{err}");
}
