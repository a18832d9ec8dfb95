//! Small PyTorch files, made by hand.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::{CompressionMethod, ZipArchiveWriter};

/// The 10 bytes of the older format's magic number, its protocol version and its system.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

/// A tensor as `torch.save` pickles it: its name is also its storage's key.
#[derive(Clone, Debug)]
pub struct Pickled {
    pub name: &'static str,
    pub key: &'static str,
    pub class: &'static str,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
    pub offset: i64,
}

impl Pickled {
    /// A contiguous tensor.
    pub fn new(name: &'static str, class: &'static str, shape: &[i64]) -> Self {
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i];
        }
        Self {
            name,
            key: name,
            class,
            shape: shape.to_vec(),
            strides,
            offset: 0,
        }
    }

    fn opcodes(&self) -> Vec<u8> {
        let storage = [
            b"(".to_vec(),
            text("storage"),
            format!("ctorch\n{}\n", self.class).into_bytes(),
            text(self.key),
            text("cpu"),
            int(1),
            b"tQ".to_vec(),
        ];
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
            storage.concat(),
            int(self.offset),
            tuple(&self.shape),
            tuple(&self.strides),
            b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
        ]
        .concat()
    }
}

/// Opcodes that push a string.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

fn tuple(values: &[i64]) -> Vec<u8> {
    let items = values.iter().flat_map(|value| int(*value));
    [b'('].into_iter().chain(items).chain([b't']).collect()
}

/// Opcodes that push a dictionary of tensors.
pub fn dict(tensors: &[Pickled]) -> Vec<u8> {
    let items = tensors
        .iter()
        .flat_map(|tensor| [text(tensor.name), tensor.opcodes()].concat());
    b"ccollections\nOrderedDict\n)R("
        .iter()
        .copied()
        .chain(items)
        .chain([b'u'])
        .collect()
}

/// The pickle of a state dict.
pub fn state_dict(tensors: &[Pickled]) -> Vec<u8> {
    [b"\x80\x02", &dict(tensors)[..], b"."].concat()
}

/// A file of a zip archive.
pub struct Stored<'a> {
    name: &'a str,
    data: &'a [u8],
    is_deflated: bool,
    /// Unpacked size that the archive claims, if it lies.
    pub claimed: Option<u64>,
}

impl<'a> Stored<'a> {
    pub fn plain(name: &'a str, data: &'a [u8]) -> Self {
        Self {
            name,
            data,
            is_deflated: false,
            claimed: None,
        }
    }

    pub fn deflated(name: &'a str, data: &'a [u8]) -> Self {
        Self {
            is_deflated: true,
            ..Self::plain(name, data)
        }
    }
}

/// A zip archive of `files`.
pub fn archive(files: &[Stored]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for file in files {
        let method = if file.is_deflated {
            CompressionMethod::Deflate
        } else {
            CompressionMethod::Store
        };
        let (mut entry, config) = archive.new_file(file.name).compression_method(method).start().unwrap();
        let descriptor = if file.is_deflated {
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::best()));
            writer.write_all(file.data).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(file.data).unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    for (i, file) in files.iter().enumerate() {
        if let Some(claimed) = file.claimed {
            claim(&mut bytes, i, claimed);
        }
    }
    bytes
}

/// Writes another unpacked size into the central directory's header `index`.
fn claim(archive: &mut [u8], index: usize, size: u64) {
    let mut headers = (0..archive.len() - 4).filter(|at| archive[*at..].starts_with(b"PK\x01\x02"));
    let at = headers.nth(index).unwrap();
    let size = u32::try_from(size).unwrap_or(u32::MAX - 1);
    archive[at + 24..at + 28].copy_from_slice(&size.to_le_bytes());
}

/// A file as PyTorch wrote it before version 1.6, with its storages' keys, claimed numbers of elements, and bytes.
pub fn legacy(program: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = [LEGACY, program, b"\x80\x02]("].concat();
    storages.iter().for_each(|(key, ..)| bytes.extend(text(key)));
    bytes.extend(b"e.");
    for (_, elements, data) in storages {
        bytes.extend(elements.to_le_bytes());
        bytes.extend(*data);
    }
    bytes
}
