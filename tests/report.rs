//! The report as a person sees it: opened in headless Chromium, where that is installed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// The first browser on the PATH.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> String {
    let out = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}: {}", program.display(), text(&out.stderr));
    text(&out.stdout)
}

/// The value of an attribute of `<body>`.
fn attribute<'a>(page: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=\"");
    page.split_once(&start)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or_else(
            || panic!("the page says no {name}: its script did not run"),
            |(value, _)| value,
        )
}

#[test]
fn every_picture_and_curve_of_the_report_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let weakseg = Path::new(env!("CARGO_BIN_EXE_weakseg"));
    let demo = ["demo", "--smoke", "--device", "cpu", "--out", "run", "--json"];
    let summary: serde_json::Value = serde_json::from_str(&run(weakseg, &demo, folder.path())).unwrap();
    let report = folder.path().join("run/report.html");
    let html = std::fs::read_to_string(&report).unwrap();
    for stage in ["cam", "propagate", "label", "segment"] {
        assert!(summary["stages"][stage]["mean_iou"].is_number(), "{stage}: {summary}");
        assert!(html.contains(stage));
    }
    let own = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!own.contains("http://") && !own.contains("https://"), "an outside link");
    let Some(browser) = browser() else {
        println!("no Chromium on the PATH: the report was not opened");
        return;
    };
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let address = format!("file://{}", report.display());
    let page = run(
        &browser,
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--virtual-time-budget=10000",
            &profile,
            "--dump-dom",
            &address,
        ],
        folder.path(),
    );
    assert_eq!(attribute(&page, "data-errors"), "0", "errors in the console");
    let check = attribute(&page, "data-check");
    let counts: Vec<(usize, usize)> = check
        .split_whitespace()
        .filter_map(|part| part.split_once('=')?.1.split_once('/'))
        .map(|(drawn, all)| (drawn.parse().unwrap(), all.parse().unwrap()))
        .collect();
    // 6 pictures a row but for validation images, which have no CAM, walk and pseudo-label; 5 curves.
    assert_eq!(counts.len(), 2, "{check}");
    assert!(counts.iter().all(|(drawn, all)| drawn == all), "{check}");
    assert!(counts[0].0 >= 40 && counts[1].0 == 5, "{check}");
}
