//! Writing whole files: a reader sees the old file or the new one, never half of one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tempfile::NamedTempFile;

/// Start of the names of unfinished files, so that what a killed run left behind is recognised.
pub const TEMPORARY_PREFIX: &str = ".weakseg-tmp-";

/// Writes `path` by filling a temporary file in the same folder and renaming it, creating the folder where needed.
///
/// # Errors
/// One line that names the file and the remedy; the file that was there before is untouched and nothing else is left.
pub fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    let written = || -> Result<()> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // tempfile's own default would leave files that only their owner can read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        fill(&mut file)?;
        file.flush()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    written().map_err(|error| write_error(path, &error))
}

/// The one-line error for a file that cannot be written: what, where and what to do about it.
pub fn write_error(path: &Path, error: &anyhow::Error) -> anyhow::Error {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    let remedy = match kind {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
            "the disk is full; free some space and run the same command again"
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            "make the folder writable or choose another one"
        }
        _ => "check the folder or choose another one",
    };
    let cause = format!("{error:#}").replace('\n', " ");
    anyhow!("cannot write {}: {cause}: {remedy}", path.display())
}

/// Writes `bytes` to `path` in one step.
///
/// # Errors
/// As [`replace`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| Ok(file.as_file_mut().write_all(bytes)?))
}

/// Writes `value` as indented JSON that ends in a newline.
///
/// # Errors
/// As [`replace`], or where `value` cannot be written as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_vec_pretty(value).with_context(|| format!("{} cannot be written as JSON", path.display()))?;
    text.push(b'\n');
    write_bytes(path, &text)
}

/// Writes `value` as TOML.
///
/// # Errors
/// As [`replace`], or where `value` cannot be written as TOML.
pub fn write_toml(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = toml::to_string(value).with_context(|| format!("{} cannot be written as TOML", path.display()))?;
    write_bytes(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_full_disk_keeps_the_old_file_and_leaves_no_half_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        write_bytes(&path, b"old").unwrap();
        let error = replace(&path, |file| {
            file.write_all(b"half of the ne")?;
            // Linux has a device that is always full; elsewhere its answer is made up.
            match fs::OpenOptions::new().write(true).open("/dev/full") {
                Ok(mut full) => full.write_all(b"w")?,
                Err(_) => Err(io::Error::from(io::ErrorKind::StorageFull))?,
            }
            Ok(())
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("checkpoint"), "{error}");
        assert!(error.contains("free some space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["checkpoint"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = write_bytes(&dir.path().join("file/a.png"), b"").unwrap_err();
        assert!(error.to_string().contains("a.png"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn files_have_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("usual"), "").unwrap();
        write_bytes(&dir.path().join("ours"), b"").unwrap();
        let mode = |name| dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("usual"));
    }
}
