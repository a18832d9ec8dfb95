//! PyTorch checkpoints since version 1.6: a zip archive with one pickle and one file per storage.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rawzip::{CompressionMethod, ZipArchive};

use super::tensor::{Entry, TensorBytes};
use super::torch;
use crate::pickle;

/// All files of the archive together may be so many times larger when unpacked; float32 values hardly shrink at all.
const MAX_RATIO: u64 = 16;

/// Reads the archive `file`; nothing is copied where it is not compressed, as PyTorch leaves it.
///
/// # Errors
/// One line where it is not a PyTorch archive, is damaged, or unpacks to implausibly much.
pub fn entries(file: &Bytes, notes: &mut Vec<String>) -> Result<BTreeMap<String, Entry>> {
    let members = members(file)?;
    let (name, program) = members
        .iter()
        .filter(|(name, _)| *name == "data.pkl" || name.ends_with("/data.pkl"))
        .min_by_key(|(name, _)| (name.len(), *name))
        .context("it is a zip archive, but not one that torch.save wrote: it has no data.pkl")?;
    let root = name.strip_suffix("data.pkl").unwrap_or_default();
    if let Some(order) = members.get(&format!("{root}byteorder")) {
        ensure!(
            *order.bytes()? != *b"big",
            "it was written on a big-endian machine: save it again on a little-endian one"
        );
    }
    let program = program.bytes().context("data.pkl")?;
    let pickle = pickle::read(&program)?;
    torch::entries(&pickle, notes, |storage| {
        let name = format!("{root}data/{}", storage.key);
        let data = members
            .get(&name)
            .with_context(|| format!("its values {name:?} are missing: the file is damaged, get it again"))?;
        Ok(data.clone())
    })
}

/// The files in the archive by name.
fn members(file: &Bytes) -> Result<HashMap<String, TensorBytes>> {
    let archive = ZipArchive::from_slice(&file[..]).map_err(damaged)?;
    let mut members = HashMap::new();
    let mut ranges = Vec::new();
    let mut unpacked = 0u64;
    // PyTorch writes a zip64 trailer that it does not announce: whatever follows the last entry is not to be read as
    // one.
    let count = usize::try_from(archive.entries_hint())?;
    for header in archive.entries().take(count) {
        let header = header.map_err(damaged)?;
        let path = header.file_path();
        let name = str::from_utf8(path.as_ref()).context("a file in the archive has no valid name")?;
        if name.ends_with('/') {
            continue;
        }
        let entry = archive.get_entry(header.wayfinder()).map_err(damaged)?;
        let packed = file.slice_ref(entry.data());
        let size = header.uncompressed_size_hint();
        if !packed.is_empty() {
            ranges.push(entry.compressed_data_range());
        }
        unpacked = unpacked.saturating_add(size);
        ensure!(
            unpacked <= (file.len() as u64).saturating_mul(MAX_RATIO),
            "it claims to unpack to more than {MAX_RATIO} times its size: do not trust it, or save it again without compression"
        );
        let data = match header.compression_method() {
            CompressionMethod::Store => {
                ensure!(
                    size == packed.len() as u64,
                    "{name:?} in the archive has two sizes: the file is damaged"
                );
                TensorBytes::Plain(packed)
            }
            CompressionMethod::Deflate => TensorBytes::Deflated {
                packed,
                size: usize::try_from(size)?,
            },
            other => bail!("{name:?} in the archive is compressed by {other:?}: save it again with torch.save"),
        };
        members.insert(name.to_owned(), data);
    }
    ranges.sort_unstable();
    ensure!(
        ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "files in the archive overlap: the file is damaged, or made to do harm"
    );
    Ok(members)
}

fn damaged(error: rawzip::Error) -> anyhow::Error {
    anyhow::anyhow!("the zip archive is damaged or truncated ({error}): get it again")
}
