//! Writing whole files: a reader sees the old file or the new one, never half of one.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use ndarray_npy::{NpzReader, NpzWriter};
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
        Some(
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge,
        ) => {
            "the disk is full; free some space and run the same command again, it continues where it stopped"
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            "make the folder writable or choose another one with --out"
        }
        _ => "check the folder or choose another one with --out",
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
    let mut text = serde_json::to_vec_pretty(value)
        .with_context(|| format!("{} cannot be written as JSON", path.display()))?;
    text.push(b'\n');
    write_bytes(path, &text)
}

/// Writes `value` as TOML.
///
/// # Errors
/// As [`replace`], or where `value` cannot be written as TOML.
pub fn write_toml(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = toml::to_string(value)
        .with_context(|| format!("{} cannot be written as TOML", path.display()))?;
    write_bytes(path, text.as_bytes())
}

/// Score maps of one image: one map per tagged class and, in what the random walk writes, one of the background.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// The mask value of each map, K of them: 0 = background, c + 1 = class c.
    pub classes: Vec<usize>,
    /// `[K, H, W]`, scores in [0, 1].
    pub maps: Array3<f32>,
}

/// Writes the maps as an uncompressed `.npz` that numpy reads: one float32 array `[H, W]` per map, named
/// after its mask value in decimal (0 = background, c + 1 = class c).
///
/// # Errors
/// As [`replace`]; also where the number of classes and of maps differ.
pub fn write_maps(path: &Path, maps: &Maps) -> Result<()> {
    ensure!(
        maps.classes.len() == maps.maps.len_of(Axis(0)),
        "{}: {} classes but {} maps: this is a bug in weakseg, please report it",
        path.display(),
        maps.classes.len(),
        maps.maps.len_of(Axis(0)),
    );
    // In memory first: a zip writer that meets a full disk prints to stderr when it is dropped.
    let archive = || -> Result<Vec<u8>> {
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        for (class, map) in maps.classes.iter().zip(maps.maps.outer_iter()) {
            npz.add_array(class.to_string(), &map)?;
        }
        Ok(npz.finish()?.into_inner())
    };
    write_bytes(path, &archive().map_err(|error| write_error(path, &error))?)
}

/// Reads what [`write_maps`] wrote, in the order in which it was written. A file without arrays gives `[0, 0, 0]`.
///
/// # Errors
/// One line where the file is missing, damaged, or holds other than same-sized float32 maps named by mask value.
pub fn read_maps(path: &Path) -> Result<Maps> {
    let read = || -> Result<Maps> {
        let mut npz = NpzReader::new(BufReader::new(File::open(path)?))?;
        let mut classes = Vec::new();
        let mut arrays: Vec<Array2<f32>> = Vec::new();
        for name in npz.names()? {
            let Ok(class) = name.parse() else {
                bail!("array \"{name}\" is not named by a mask value");
            };
            classes.push(class);
            arrays.push(npz.by_name(&name)?);
        }
        if arrays.is_empty() {
            return Ok(Maps {
                classes,
                maps: Array3::zeros((0, 0, 0)),
            });
        }
        let views: Vec<ArrayView2<f32>> = arrays.iter().map(|map| map.view()).collect();
        let maps = ndarray::stack(Axis(0), &views).context("the maps have more than one size")?;
        Ok(Maps { classes, maps })
    };
    read().map_err(|error| {
        let cause = format!("{error:#}").replace('\n', " ");
        anyhow!(
            "cannot read the score maps {}: {cause}: run the stage that makes them with --again",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn maps_survive_and_repeat_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cam/a.npz");
        let maps = Maps {
            classes: vec![7, 0, 12],
            maps: Array3::from_shape_fn((3, 2, 5), |(k, y, x)| 0.1 * (k * 10 + y * 5 + x) as f32),
        };
        write_maps(&path, &maps).unwrap();
        assert_eq!(read_maps(&path).unwrap(), maps);
        let first = fs::read(&path).unwrap();
        write_maps(&path, &maps).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);

        fs::write(&path, &first[..first.len() / 2]).unwrap();
        let error = read_maps(&path).unwrap_err().to_string();
        assert!(error.contains("a.npz") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn maps_of_no_class() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let none = Maps {
            classes: vec![],
            maps: Array3::zeros((0, 0, 0)),
        };
        write_maps(&path, &none).unwrap();
        assert_eq!(read_maps(&path).unwrap(), none);
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
        let mode = |name| {
            dir.path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("ours"), mode("usual"));
    }
}
