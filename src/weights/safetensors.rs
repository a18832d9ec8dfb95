//! safetensors files: a JSON header, then the values of all tensors without gaps.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use safetensors::tensor::{self, SafeTensorError, SafeTensors};

use super::tensor::Entry;
use crate::dtype::Dtype;

/// Reads the header of `file`; values are not copied. The crate checks that tensors neither overlap nor leave the file.
///
/// # Errors
/// One line where it is damaged; tensors of types that no network here has (8 bits and fewer per float) are left out.
pub fn entries(file: &Bytes, notes: &mut Vec<String>) -> Result<BTreeMap<String, Entry>> {
    let parsed = SafeTensors::deserialize(file).map_err(|error| match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            anyhow!("it is truncated, or its header and its values disagree ({error}): get it again")
        }
        _ => anyhow!("it is damaged ({error}): get it again"),
    })?;
    let mut entries = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let Some(dtype) = dtype(view.dtype()) else {
            notes.push(format!("left out {name:?}, whose type {} is not read", view.dtype()));
            continue;
        };
        let data = file.slice_ref(view.data());
        let entry = Entry::new(dtype, view.shape().to_vec(), data).with_context(|| format!("tensor {name:?}"))?;
        entries.insert(name.to_owned(), entry);
    }
    Ok(entries)
}

fn dtype(stored: tensor::Dtype) -> Option<Dtype> {
    Some(match stored {
        tensor::Dtype::BOOL => Dtype::Bool,
        tensor::Dtype::U8 => Dtype::U8,
        tensor::Dtype::I8 => Dtype::I8,
        tensor::Dtype::U16 => Dtype::U16,
        tensor::Dtype::I16 => Dtype::I16,
        tensor::Dtype::F16 => Dtype::F16,
        tensor::Dtype::BF16 => Dtype::BF16,
        tensor::Dtype::U32 => Dtype::U32,
        tensor::Dtype::I32 => Dtype::I32,
        tensor::Dtype::F32 => Dtype::F32,
        tensor::Dtype::U64 => Dtype::U64,
        tensor::Dtype::I64 => Dtype::I64,
        tensor::Dtype::F64 => Dtype::F64,
        _ => return None,
    })
}
