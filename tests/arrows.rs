//! Which modules may know of which: what a library consists of knows nothing of the program on top of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Files of Rust below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Lines of a module's files that name one of `others` outside of comments.
fn lines_with(module: &str, others: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    let files = sources(&folder);
    assert!(!files.is_empty(), "{} has no sources", folder.display());
    let mut found = Vec::new();
    for file in files {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if others.iter().any(|other| code.contains(other)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    found
}

/// The modules of the program, and what only these may use.
const PROGRAM: [&str; 9] = [
    "crate::cli",
    "crate::stages",
    "crate::methods",
    "crate::recipe",
    "clap::",
    "indicatif::",
    "plotters::",
    "minijinja::",
    "fern::",
];

#[test]
fn the_library_does_not_know_the_program() {
    let modules = [
        "annotations",
        "crf",
        "data",
        "kernels",
        "losses",
        "metrics",
        "models",
        "pickle",
        "weights",
    ];
    let found: Vec<String> = modules.iter().flat_map(|module| lines_with(module, &PROGRAM)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn readers_of_files_know_nothing_of_who_asks_them() {
    let others = ["crate::crf", "crate::weights", "crate::maps", "crate::data"];
    let found = [lines_with("pickle", &others), lines_with("annotations", &others)].concat();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let between = [
        lines_with("crf", &["crate::weights"]),
        lines_with("weights", &["crate::crf"]),
    ]
    .concat();
    assert!(between.is_empty(), "{}", between.join("\n"));
}

#[test]
fn the_program_is_found_where_it_is() {
    assert!(!lines_with("cli", &PROGRAM).is_empty());
}
