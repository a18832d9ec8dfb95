//! Checkpoints of trainings: named float32 tensors and a few lines of text in one safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View, serialize};

use crate::files;

/// The one metadata entry we write: JSON of all of `meta`. The safetensors crate keeps metadata in a hash map, whose
/// order changes from one process to the next, and equal checkpoints should be equal files.
const META: &str = "weakseg";

/// Tensors in host memory by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The state of a training stage, or of a trained network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingState {
    /// Shape and row-major values of each tensor, by name.
    pub tensors: Tensors,
    /// `architecture`, `step` and whatever else the stage needs to go on.
    pub meta: BTreeMap<String, String>,
}

impl TrainingState {
    /// Writes the checkpoint as a safetensors file, in one step; equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// As [`files::write_bytes`]; also where a tensor's values do not fill its shape.
    pub fn save(&self, path: &Path) -> Result<()> {
        for (name, (shape, values)) in &self.tensors {
            ensure!(
                shape.iter().product::<usize>() == values.len(),
                "{}: tensor {name} of shape {shape:?} has {} values: this is a bug in weakseg, please report it",
                path.display(),
                values.len()
            );
        }
        let meta = serde_json::to_string(&self.meta).with_context(|| format!("cannot write {}", path.display()))?;
        let tensors = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| (name.as_str(), Tensor { shape, values }));
        // Not serialize_to_file, which renames a file of its own and so could not go through ours.
        let bytes = serialize(tensors, Some(HashMap::from([(META.to_owned(), meta)])))
            .map_err(|error| files::write_error(path, &error.into()))?;
        files::write_bytes(path, &bytes)
    }

    /// Reads a checkpoint. Metadata that other programs wrote beside ours is kept in `meta`.
    ///
    /// # Errors
    /// One line, with the file and the remedy, where the file is missing, is not a safetensors file, is truncated,
    /// or holds other than float32 tensors.
    pub fn load(path: &Path) -> Result<Self> {
        let file = path.display();
        let bytes = fs::read(path).map_err(|error| {
            anyhow!("cannot read the checkpoint {file}: {error}: run the stage that makes it first")
        })?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| unreadable(path, &e))?;
        let parsed = SafeTensors::deserialize(&bytes).map_err(|e| unreadable(path, &e))?;
        let mut meta = BTreeMap::new();
        for (key, value) in header.metadata().iter().flatten() {
            if key == META {
                let ours: BTreeMap<String, String> =
                    serde_json::from_str(value).map_err(|_| unreadable(path, &SafeTensorError::TensorInvalidInfo))?;
                meta.extend(ours);
            } else {
                meta.insert(key.clone(), value.clone());
            }
        }
        let mut tensors = BTreeMap::new();
        for (name, tensor) in parsed.iter() {
            ensure!(
                tensor.dtype() == Dtype::F32,
                "tensor {name} of {file} is {:?}, not F32: use a checkpoint that weakseg wrote",
                tensor.dtype()
            );
            // Copied value by value, because the data of a safetensors file need not be aligned.
            let (chunks, _) = tensor.data().as_chunks();
            let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
            tensors.insert(name.to_owned(), (tensor.shape().to_vec(), values));
        }
        Ok(Self { tensors, meta })
    }

    /// Checks that this checkpoint, read from `path`, belongs to `architecture`: a text that names whatever must be
    /// equal for the tensors to fit, such as backbone, width, head and number of classes.
    ///
    /// # Errors
    /// One line that names both architectures.
    pub fn expect(&self, path: &Path, architecture: &str) -> Result<()> {
        match self.meta.get("architecture") {
            Some(found) if found == architecture => Ok(()),
            Some(found) => bail!(
                "checkpoint {} is of another architecture ({found}, not {architecture}): use the recipe and data it was trained with, or train again with another --out",
                path.display()
            ),
            None => bail!(
                "checkpoint {} names no architecture: use one that weakseg wrote for {architecture}",
                path.display()
            ),
        }
    }
}

fn unreadable(path: &Path, error: &SafeTensorError) -> anyhow::Error {
    let what = match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => "is truncated",
        SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeader(_)
        | SafeTensorError::InvalidHeaderDeserialization(_) => "is not a safetensors file",
        _ => "is damaged",
    };
    anyhow!(
        "checkpoint {} {what}: train its stage again with --again, or put a good copy in its place",
        path.display()
    )
}

struct Tensor<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TrainingState {
        let values: Vec<f32> = vec![0.1, -0.0, f32::MIN_POSITIVE, 1e-42, f32::MAX, -3.5];
        TrainingState {
            tensors: BTreeMap::from([
                ("w".to_owned(), (vec![2, 3], values)),
                ("b".to_owned(), (vec![], vec![1.5])),
            ]),
            meta: BTreeMap::from([
                ("architecture".to_owned(), "nano cam 6".to_owned()),
                ("step".to_owned(), "12".to_owned()),
            ]),
        }
    }

    #[test]
    fn every_bit_survives_and_equal_checkpoints_are_equal_files() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        example().save(&a).unwrap();
        let loaded = TrainingState::load(&a).unwrap();
        assert_eq!(loaded, example());
        assert!(loaded.tensors["w"].1[1].is_sign_negative());
        loaded.save(&b).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        loaded.expect(&a, "nano cam 6").unwrap();
        let error = loaded.expect(&a, "nano cam 20").unwrap_err().to_string();
        assert!(error.contains("nano cam 6, not nano cam 20"), "{error}");
    }

    #[test]
    fn unaligned_data_is_read() {
        let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        for pad in 0..4 {
            let mut bytes = ((header.len() + pad) as u64).to_le_bytes().to_vec();
            bytes.extend(header);
            bytes.extend(vec![b' '; pad]);
            bytes.extend(1.25f32.to_le_bytes());
            bytes.extend((-7.0f32).to_le_bytes());
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bytes).unwrap();
            let loaded = TrainingState::load(file.path()).unwrap();
            assert_eq!(loaded.tensors["w"], (vec![2], vec![1.25, -7.0]));
        }
    }

    #[test]
    fn bad_files_are_told_apart_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let error = || {
            let error = format!("{:#}", TrainingState::load(&path).unwrap_err());
            assert!(
                error.contains("checkpoint.safetensors") && !error.contains('\n'),
                "{error}"
            );
            error
        };
        assert!(error().contains("run the stage"));
        example().save(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(error().contains("is truncated"), "{length}");
        }
        fs::write(&path, b"\x89PNG\r\n\x1a\nand so on").unwrap();
        assert!(error().contains("is not a safetensors file"));
        fs::write(&path, b"\x05\0\0\0\0\0\0\0hello").unwrap();
        assert!(error().contains("is not a safetensors file"));
    }
}
