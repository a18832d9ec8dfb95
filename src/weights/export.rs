//! Writing a network as a safetensors file under PyTorch's names, which `safetensors.torch.load_file` reads.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::error::{Error, Result, reason};
use super::tensor::elements;
use crate::files;

/// Writes float32 tensors to `path` under a temporary name, which is then renamed. `declared` has all names and shapes;
/// `values` gives the values of each, row-major and in the same order, and is asked for one at a time, so that a
/// network larger than memory can be written. Equal tensors give equal bytes.
///
/// # Errors
/// One line where the file cannot be written, a value cannot be read, names repeat, or values and shapes disagree.
pub fn write_safetensors(
    path: &Path,
    declared: &[(String, Vec<usize>)],
    values: impl IntoIterator<Item = Result<Vec<f32>>>,
) -> Result<()> {
    let header = header(declared).map_err(|error| Error::Unwritable {
        path: path.to_owned(),
        reason: reason(&error),
    })?;
    files::replace(path, |file| {
        let mut out = BufWriter::new(file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut values = values.into_iter();
        for (name, shape) in declared {
            let Some(values) = values.next() else {
                bail!("tensor {name} has no values: this is a bug in weakseg, please report it");
            };
            let values = values?;
            ensure!(
                elements(shape) == Some(values.len()),
                "tensor {name} of shape {shape:?} has {} values: this is a bug in weakseg, please report it",
                values.len()
            );
            for value in values {
                out.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(out.flush()?)
    })
    .map_err(|error| Error::Other(error.into()))
}

/// The JSON header, padded so that values start at a multiple of eight bytes.
fn header(declared: &[(String, Vec<usize>)]) -> anyhow::Result<String> {
    let mut end = 0usize;
    let mut tensors = Vec::new();
    let mut names = std::collections::HashSet::new();
    for (name, shape) in declared {
        ensure!(names.insert(name), "two tensors are called {name}");
        let start = end;
        end = elements(shape)
            .and_then(|n| n.checked_mul(4)?.checked_add(start))
            .with_context(|| format!("tensor {name} is too large"))?;
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            data_offsets: (start, end),
        };
        tensors.push((name.clone(), info));
    }
    // "format" tells Python libraries whose names these are. One entry only: the crate's map has no fixed order.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut header = serde_json::to_string(&Metadata::new(Some(about), tensors)?)?;
    header.extend(std::iter::repeat_n(
        ' ',
        header.len().next_multiple_of(8) - header.len(),
    ));
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Checkpoint, Format};

    #[test]
    fn what_is_written_is_read_again_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
        let declared = [
            ("z.weight".to_owned(), vec![2, 1, 1, 3]),
            ("a.bias".to_owned(), vec![2]),
            ("scalar".to_owned(), vec![]),
        ];
        let values = [vec![0.1, -0.0, 1e-42, f32::MAX, 3.0, -7.5], vec![1.0, 2.0], vec![9.0]];
        for path in [&a, &b] {
            write_safetensors(path, &declared, values.iter().cloned().map(Ok)).unwrap();
        }
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        let read = Checkpoint::open(&a).unwrap();
        assert_eq!(read.format(), Format::Safetensors);
        assert_eq!(read.names().count(), 3);
        for ((name, shape), values) in declared.iter().zip(values) {
            assert_eq!(read.shape(name), Some(&shape[..]));
            let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(read.read(name).unwrap()), bits(values));
        }
    }

    #[test]
    fn nothing_is_left_where_values_cannot_be_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let declared = [("a".to_owned(), vec![1]), ("b".to_owned(), vec![1])];
        let refused = [
            vec![Ok(vec![1.0]), Err(Error::Asset("gone".into()))],
            vec![Ok(vec![1.0])],
            vec![Ok(vec![1.0, 2.0]), Ok(vec![1.0])],
        ];
        for values in refused {
            assert!(write_safetensors(&path, &declared, values).is_err());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        let twice = [("a".to_owned(), vec![]), ("a".to_owned(), vec![])];
        let none: [Result<Vec<f32>>; 0] = [];
        assert!(write_safetensors(&path, &twice, none).is_err());
    }
}
