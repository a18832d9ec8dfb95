//! Score maps as files: `.npz`, which numpy reads.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use ndarray_npy::{NpzReader, NpzWriter};

use super::scores::Maps;
use crate::files::{write_bytes, write_error};

/// Writes the maps as an uncompressed `.npz` that numpy reads: one float32 array `[H, W]` per map, named
/// after its mask value in decimal (0 = background, c + 1 = class c).
///
/// # Errors
/// As [`write_bytes`]; also where the number of classes and of maps differ.
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
    use std::fs;

    use super::*;

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
}
