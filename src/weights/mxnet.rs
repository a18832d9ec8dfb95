//! MXNet's NDArray lists (`.params`): arrays with their headers, then their names, `arg:` for parameters and `aux:` for
//! statistics.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use super::tensor::{Entry, elements};
use crate::dtype::Dtype;

/// First eight bytes of a list.
pub const MAGIC: u64 = 0x112;

/// Starts of an array's header. Before version 1, an array starts with its number of dimensions.
const V1: u32 = 0xF993_FAC8;
const V2: u32 = 0xF993_FAC9;
const V3: u32 = 0xF993_FACA;

/// Most arrays in a list, a hundred times what the largest networks have; bounds memory.
const MAX_ARRAYS: u64 = 100_000;

/// Most dimensions of an array.
const MAX_DIMENSIONS: u32 = 32;

const TRUNCATED: &str = "it ends in the middle of an array: the file is truncated, get it again";

/// Reads the list `file`; values are not copied.
///
/// # Errors
/// One line where it is damaged or holds sparse arrays.
pub fn entries(file: &Bytes, notes: &mut Vec<String>) -> Result<BTreeMap<String, Entry>> {
    let mut rest = file.clone();
    let (magic, _, count) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    ensure!(magic == MAGIC, "it does not start as a list of arrays");
    ensure!(
        count <= MAX_ARRAYS,
        "it claims to hold {count} arrays, far more than a network has: the file is damaged, get it again"
    );
    let mut arrays = Vec::new();
    for i in 0..count {
        arrays.push(array(&mut rest).with_context(|| format!("array {i} of {count}"))?);
    }
    let names = number(&mut rest)?;
    ensure!(
        names == count,
        "it has {count} arrays but {names} names: save it with mxnet.nd.save and a dictionary"
    );
    let mut entries = BTreeMap::new();
    let mut empty = 0;
    for entry in arrays {
        let length = usize::try_from(number(&mut rest)?).unwrap_or(usize::MAX);
        ensure!(length <= rest.len(), TRUNCATED);
        let name = String::from_utf8(rest.split_to(length).into())
            .context("an array's name is not text: the file is damaged, get it again")?;
        match entry {
            Some(entry) => drop(entries.insert(name, entry)),
            None => empty += 1,
        }
    }
    if empty > 0 {
        notes.push(format!("left out {empty} arrays that were never filled"));
    }
    Ok(strip_kinds(entries, notes))
}

/// The next array; none where it was saved before it had a shape.
fn array(rest: &mut Bytes) -> Result<Option<Entry>> {
    let version = rest.try_get_u32_le().context(TRUNCATED)?;
    if matches!(version, V2 | V3) {
        let storage = rest.try_get_i32_le().context(TRUNCATED)?;
        ensure!(
            storage == 0,
            "it is sparse: save it as a dense array (tostype('default'))"
        );
    }
    let shape = match version {
        V1 | V2 | V3 => {
            let dimensions = rest.try_get_i32_le().context(TRUNCATED)?;
            // Since version 3 a scalar has no dimensions and an unknown shape has -1 of them.
            if dimensions == -1 || (dimensions == 0 && version != V3) {
                return Ok(None);
            }
            shape(rest, dimensions as u32, |rest| Some(rest.try_get_i64_le().ok()? as u64))?
        }
        0 => return Ok(None),
        dimensions => shape(rest, dimensions, |rest| rest.try_get_u32_le().ok().map(u64::from))?,
    };
    // The device it was on, by type and number.
    rest.try_get_u64_le().context(TRUNCATED)?;
    let dtype = match rest.try_get_i32_le().context(TRUNCATED)? {
        0 => Dtype::F32,
        1 => Dtype::F64,
        2 => Dtype::F16,
        3 => Dtype::U8,
        4 => Dtype::I32,
        5 => Dtype::I8,
        6 => Dtype::I64,
        7 => Dtype::Bool,
        8 => Dtype::I16,
        9 => Dtype::U16,
        10 => Dtype::U32,
        11 => Dtype::U64,
        12 => Dtype::BF16,
        other => {
            bail!("it has the unknown element type {other}: the file is damaged, get it again")
        }
    };
    let bytes = elements(&shape)
        .and_then(|n| n.checked_mul(dtype.size()))
        .filter(|bytes| *bytes <= rest.len())
        .with_context(|| {
            format!("its shape {shape:?} needs more bytes than there are: the file is truncated, get it again")
        })?;
    Entry::new(dtype, shape, rest.split_to(bytes)).map(Some)
}

fn shape(rest: &mut Bytes, dimensions: u32, size: impl Fn(&mut Bytes) -> Option<u64>) -> Result<Vec<usize>> {
    ensure!(
        dimensions <= MAX_DIMENSIONS,
        "it has an impossible number of dimensions: the file is damaged, get it again"
    );
    (0..dimensions)
        .map(|_| {
            let size = size(rest).context(TRUNCATED)?;
            usize::try_from(size).context("it is impossibly large")
        })
        .collect()
}

fn number(rest: &mut Bytes) -> Result<u64> {
    rest.try_get_u64_le().context(TRUNCATED)
}

/// Takes `arg:` and `aux:` off, which tell parameters from statistics, as their names do anyway.
fn strip_kinds(entries: BTreeMap<String, Entry>, notes: &mut Vec<String>) -> BTreeMap<String, Entry> {
    let strip = |name: &str| -> String {
        let kinds = ["arg:", "aux:"];
        let bare = kinds.iter().find_map(|kind| name.strip_prefix(kind));
        bare.unwrap_or(name).to_owned()
    };
    let bare: std::collections::BTreeSet<String> = entries.keys().map(|name| strip(name)).collect();
    if bare.len() < entries.len() || entries.keys().eq(&bare) {
        return entries;
    }
    notes.push("took arg: and aux: off the names".into());
    entries.into_iter().map(|(name, entry)| (strip(&name), entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of one array each, `header` before its device, type and values, and its name.
    fn list(arrays: &[(&[u8], i32, &[u8], &str)]) -> Vec<u8> {
        let count = (arrays.len() as u64).to_le_bytes();
        let mut bytes = [&MAGIC.to_le_bytes()[..], &[0; 8], &count].concat();
        for (header, dtype, values, _) in arrays {
            bytes.extend(*header);
            // Arrays without a shape end there.
            if *dtype >= 0 {
                bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend(dtype.to_le_bytes());
                bytes.extend(*values);
            }
        }
        bytes.extend(count);
        for (.., name) in arrays {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
        }
        bytes
    }

    fn read(bytes: Vec<u8>) -> (BTreeMap<String, Entry>, Vec<String>) {
        let mut notes = Vec::new();
        let entries = entries(&bytes.into(), &mut notes).unwrap();
        (entries, notes)
    }

    #[test]
    fn headers_of_every_version() {
        let [v1, v2, v3] = [V1, V2, V3].map(u32::to_le_bytes);
        let two = [&[1, 0, 0, 0, 2][..], &[0; 7]].concat();
        let old = [2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let first = [&v1[..], &two].concat();
        let second = [&v2[..], &[0; 4], &two].concat();
        let scalar = [&v3[..], &[0; 8]].concat();
        let unknown = [&v3[..], &[0; 4], &[255; 4]].concat();
        let empty = [&v2[..], &[0; 8]].concat();
        let (entries, notes) = read(list(&[
            (&old, 3, &[7, 8], "arg:old"),
            (&first, 5, &[255, 1], "arg:v1"),
            (&second, 2, &[0, 0x3c, 0, 0x40], "aux:v2"),
            (&scalar, 6, &[9, 0, 0, 0, 0, 0, 0, 0], "arg:v3"),
            (&unknown, -1, &[], "unknown"),
            (&empty, -1, &[], "empty"),
        ]));
        let read = |name: &str| {
            let entry = &entries[name];
            (entry.shape().to_vec(), entry.values().unwrap())
        };
        assert_eq!(entries.len(), 4);
        assert_eq!(read("old"), (vec![1, 2], vec![7., 8.]));
        assert_eq!(read("v1"), (vec![2], vec![-1., 1.]));
        assert_eq!(read("v2"), (vec![2], vec![1., 2.]));
        assert_eq!(read("v3"), (vec![], vec![9.]));
        assert!(notes[0].contains("2 arrays") && notes[1].contains("arg:"), "{notes:?}");
    }

    #[test]
    fn kinds_stay_where_they_tell_two_arrays_apart() {
        let old = [1, 0, 0, 0, 1, 0, 0, 0];
        let (entries, notes) = read(list(&[(&old, 3, &[1], "arg:a"), (&old, 3, &[2], "aux:a")]));
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["arg:a", "aux:a"]);
        assert!(notes.is_empty());
    }
}
