//! Weight files of other frameworks: PyTorch (zip and older pickles), MXNet, Caffe and safetensors, read without any of
//! them. Files are memory-mapped and decoded one tensor at a time.
//!
//! [`Checkpoint`] is what a file holds; [`load::plan`] says which of it a network takes, by the key maps in
//! `assets/weights/` ([`keys`]); [`write_safetensors`] writes a network for others.
//! [`published`] are the files that have names, and [`fetch`] brings them here.

mod caffe;
mod error;
mod export;
pub mod fetch;
mod format;
pub mod keys;
pub mod load;
mod mxnet;
mod pattern;
mod prefix;
pub mod published;
mod safetensors;
mod tensor;
mod torch;
mod torch_legacy;
mod torch_zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use bytes::Bytes;
use memmap2::Mmap;

use error::reason;
pub use error::{Error, Result};
pub use export::write_safetensors;
pub use format::Format;
use tensor::Entry;

pub use crate::dtype::Dtype;

/// Starts of files that are often taken for weights, and what they are.
const OTHERS: [(&[u8], &str); 6] = [
    (b"\x89HDF", "an HDF5 file (Keras, or Caffe's other format)"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x93NUMPY", "a numpy array"),
    (b"<", "a web page: the download went wrong, get it again"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer: fetch the file itself with git lfs pull",
    ),
];

/// The tensors of a weight file by name, under a memory map. Values are decoded when they are asked for.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    bytes: u64,
    entries: BTreeMap<String, Entry>,
    notes: Vec<String>,
}

impl Checkpoint {
    /// Opens the weight file `path`, whose format is told by its content. Its header is read and every tensor's range
    /// checked, but no value is decoded. The file must not be changed while it is open.
    ///
    /// # Errors
    /// One line that names the file where it cannot be read, is of an unknown format, is damaged or truncated, holds no
    /// tensors, or holds a pickle that would run code.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = map(path).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            reason: format!("{error:#}"),
        })?;
        Self::from_bytes(path, bytes)
    }

    fn from_bytes(path: &Path, bytes: Bytes) -> Result<Self> {
        let path = path.to_owned();
        let other = OTHERS.iter().find(|(start, _)| bytes.starts_with(start));
        if let Some((_, what)) = other.filter(|_| !format::is_safetensors(&bytes)) {
            return Err(Error::NotWeights { path, what });
        }
        let format = Format::of(&bytes);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        let is_expected = format.extensions().contains(&extension.as_str());
        let mut notes = Vec::new();
        let read = match format {
            Format::TorchZip => torch_zip::entries(&bytes, &mut notes),
            Format::TorchLegacy => torch_legacy::entries(&bytes, &mut notes),
            Format::Mxnet => mxnet::entries(&bytes, &mut notes),
            Format::Caffe => caffe::entries(&bytes, &mut notes),
            Format::Safetensors => safetensors::entries(&bytes, &mut notes),
        };
        let entries = match read {
            Ok(entries) if entries.is_empty() => return Err(Error::NoTensors { path, format, notes }),
            Ok(entries) => entries,
            Err(_) if format == Format::Caffe && !is_expected => {
                return Err(Error::UnknownFormat(path));
            }
            Err(error) => {
                return Err(Error::Damaged {
                    path,
                    format,
                    reason: reason(&error),
                });
            }
        };
        let is_known = [Format::TorchZip, Format::Mxnet, Format::Caffe, Format::Safetensors]
            .iter()
            .any(|format| format.extensions().contains(&extension.as_str()));
        if is_known && !is_expected {
            notes.push(format!("it is a {format} file in spite of its name"));
        }
        let entries = prefix::take_off(entries, &mut notes);
        Ok(Self {
            path,
            format,
            bytes: bytes.len() as u64,
            entries,
            notes,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The file's size in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// What was unwrapped, renamed or left out while reading, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The tensors' names in alphabetical order: state-dict keys without prefixes of wrappers such as `module.`, MXNet
    /// names without `arg:` and `aux:`, and `LAYER.0`, `LAYER.1`, ... for a Caffe layer's blobs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of the tensor called `name`, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(Entry::shape)
    }

    /// The element type of the tensor called `name`, if there is one.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.entries.get(name).map(Entry::dtype)
    }

    /// The values of the tensor called `name` in row-major order, as float32.
    ///
    /// # Errors
    /// One line where there is no such tensor, or its compressed data is damaged.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let (path, name) = (self.path.clone(), name.to_owned());
        let Some(entry) = self.entries.get(&name) else {
            return Err(Error::NoTensor { path, name });
        };
        entry.values().map_err(|error| Error::DamagedTensor {
            path,
            name,
            reason: format!("{error:#}"),
        })
    }
}

/// The file as bytes that are read when they are looked at.
fn map(path: &Path) -> anyhow::Result<Bytes> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    ensure!(about.is_file(), "it is not a file");
    ensure!(about.len() > 0, "it is empty: get it again");
    // SAFETY: a map is only unsound where somebody changes the file meanwhile, which `open` asks not to do. Every
    // reader checks ranges against the map's length and treats the bytes as untrusted.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}
