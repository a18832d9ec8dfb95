//! PyTorch checkpoints before version 1.6: five pickles (magic number, protocol version, system, object, storage keys),
//! then the raw values of each storage.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use super::tensor::{Entry, TensorBytes};
use super::torch;
use crate::pickle::{self, Object, Pickle, PickleValue};

/// 0x1950a86a20f9469cfc6c, as little-endian two's complement.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads the checkpoint `file`; values are not copied.
///
/// # Errors
/// One line where it is another pickle, or damaged.
pub fn entries(file: &Bytes, notes: &mut Vec<String>) -> Result<BTreeMap<String, Entry>> {
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>> {
        let pickle = pickle::read(file.get(at..).unwrap_or_default())?;
        at += pickle.length;
        Ok(pickle)
    };
    ensure!(
        next()?.root == PickleValue::Bytes(&MAGIC),
        "it is a pickle, but not one that torch.save wrote: in Python, load it and write model.state_dict() with torch.save"
    );
    ensure!(
        next()?.root == PickleValue::Int(1001),
        "it has an unknown protocol version: save it again with a newer PyTorch"
    );
    let system = next()?;
    let is_little = (PickleValue::Text("little_endian"), PickleValue::Bool(true));
    ensure!(
        system
            .heap
            .dict(system.root)
            .is_some_and(|items| items.contains(&is_little)),
        "it was not written on a little-endian machine: save it again on one"
    );
    let object = next()?;
    let keys = next()?;
    let keys = keys
        .heap
        .sequence(keys.root)
        .context("it has no list of its storages: the file is damaged, get it again")?;
    let storages = storages(&object, keys, file.slice(at..))?;
    torch::entries(&object, notes, |storage| {
        let values = storages
            .get(storage.key)
            .context("its values are missing: the file is damaged, get it again")?;
        Ok(TensorBytes::Plain(values.clone()))
    })
}

/// The raw values of each storage from `rest`: a count of elements, then the elements.
fn storages<'a>(object: &Pickle<'a>, keys: &[PickleValue<'a>], mut rest: Bytes) -> Result<HashMap<&'a str, Bytes>> {
    let mut known = HashMap::new();
    for index in 0..object.heap.len() {
        if let Some(Object::Storage(storage)) = object.heap.get(PickleValue::Object(index)) {
            let first = known.entry(storage.key).or_insert(storage.dtype);
            ensure!(
                *first == storage.dtype,
                "storage {:?} has two types: the file is damaged",
                storage.key
            );
        }
    }
    let mut storages = HashMap::new();
    for key in keys {
        let PickleValue::Text(key) = key else {
            bail!("a storage has no name: the file is damaged, get it again");
        };
        let (key, dtype) = known
            .get_key_value(key)
            .with_context(|| format!("storage {key:?} is of an unknown type"))?;
        let truncated = || format!("it ends inside of storage {key:?}: the file is truncated, get it again");
        let count = rest.try_get_u64_le().with_context(truncated)?;
        let bytes = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(dtype.size()))
            .filter(|bytes| *bytes <= rest.len())
            .with_context(truncated)?;
        storages.insert(*key, rest.split_to(bytes));
    }
    Ok(storages)
}
