//! `weakseg doctor`.

use super::harness::*;

#[test]
fn the_cpu_agrees_with_brute_force() {
    let dir = tempfile::tempdir().unwrap();
    let ran = weakseg(dir.path(), &["doctor", "--device", "cpu", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.succeeds().out).unwrap();
    assert_eq!(report["fit"], true);
    assert!(report["adapter"].is_null());
    assert!(report["verdict"].as_str().unwrap().contains("fit for use"));
    for library in ["weakseg", "burn", "wgpu", "naga"] {
        let versions = report["versions"].as_array().unwrap();
        assert!(versions.iter().any(|pair| pair[0] == library), "{library}");
    }
    let checks = report["checks"].as_array().unwrap();
    let compared = checks.iter().filter(|c| c["against"] == "brute force");
    assert!(compared.count() >= 15, "{checks:?}");
    let alone = checks.iter().filter(|c| c["against"].is_null());
    assert!(alone.count() >= 15, "{checks:?}");

    let ran = weakseg(dir.path(), &["doctor", "--device", "cpu"]).succeeds();
    let last = ran.out.lines().last().unwrap();
    assert!(last.contains("the CPU is fit for use"), "{}", ran.out);
}

#[test]
fn kernels_are_written_as_a_driver_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    weakseg(dir.path(), &["doctor", "--shaders", "out"]).succeeds();
    let written = files(&dir.path().join("out"));
    for name in ["random_walk.wgsl", "lattice_slice_1d.wgsl", "lattice_slice_15d.wgsl"] {
        let text = String::from_utf8(written[name].clone()).unwrap();
        assert!(text.contains("@compute") && !text.contains("{{"), "{name}");
    }
    write(&dir.path().join("file"), "");
    weakseg(dir.path(), &["doctor", "--shaders", "file"]).fails(&["file", "another folder"]);
}

#[test]
#[ignore = "every network on an adapter: half an hour on software Vulkan"]
fn the_adapter_agrees_with_the_cpu_in_full() {
    adapter_agrees(&["--full"]);
}

#[test]
#[ignore = "burn's kernels are tuned: a minute on software Vulkan"]
fn the_adapter_agrees_with_the_cpu() {
    adapter_agrees(&[]);
}

#[track_caller]
fn adapter_agrees(args: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let ran = weakseg(
        dir.path(),
        &[&["doctor", "--device", "vulkan", "--json"], args].concat(),
    );
    let report: serde_json::Value = serde_json::from_str(&ran.succeeds().out).unwrap();
    assert!(report["adapter"]["driver"].is_string());
    assert!(!report["adapter"]["limits"].as_array().unwrap().is_empty());
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(check["against"], "CPU twin", "{check}");
    }
}
