//! Arrays as numpy saves them, of any number type, byte order and memory order, as `f32`.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use flate2::read::DeflateDecoder;
use ndarray::{ArrayD, Axis};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement};
use rawzip::{CompressionMethod, ZipArchive};

use super::dictionary;
use super::stored::{Names, Stored};
use crate::maps::read_maps;

/// Most bytes that an array may take when unpacked.
const LARGEST: u64 = 4 << 30;

/// The array of a file of several that is taken, the first that is there.
pub const NAMES: [&str; 3] = ["scores", "probs", "arr_0"];

/// Reads the array of a `.npy` file, or the maps of its dictionary.
///
/// # Errors
/// A missing or damaged file, or a number type that is not read, without the file's name.
pub fn read_npy(path: &Path) -> Result<Stored> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read_array(BufReader::new(file), length)
}

/// Reads an array from a `.npy` file of `length` bytes.
fn read_array(mut reader: impl Read + Seek, length: u64) -> Result<Stored> {
    let header = Header::from_reader(&mut reader).map_err(damaged)?;
    // The library makes room for what the header promises before it reads.
    let promised = header
        .shape
        .iter()
        .try_fold(1_u64, |product, &n| product.checked_mul(n as u64));
    ensure!(
        promised.is_some_and(|elements| elements <= length),
        "it is shorter than its shape {:?}; copy or save it again",
        header.shape
    );
    // Whatever is no array is saved as one object without dimensions.
    if header.shape.is_empty() && header.type_descriptor.to_string().contains("|O") {
        let mut pickle = Vec::new();
        reader.take(length).read_to_end(&mut pickle)?;
        return dictionary::read(&pickle);
    }
    convert(&mut reader)
}

/// Reads the only array of a `.npz` file, or one of those called as in [`NAMES`], or the class maps that weakseg
/// writes (`[H, W]` each, named by mask value) as one `[K, H, W]`.
///
/// # Errors
/// A missing or damaged file, arrays of other names, or a number type that is not read, without the file's name.
pub fn read_npz(path: &Path) -> Result<Stored> {
    let bytes = std::fs::read(path)?;
    let archive = ZipArchive::from_slice(&bytes[..]).map_err(damaged)?;
    let mut names = Vec::new();
    let mut entries = Vec::new();
    for entry in archive.entries() {
        let entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        names.push(name.trim_end_matches(".npy").to_string());
        entries.push((
            entry.wayfinder(),
            entry.compression_method(),
            entry.uncompressed_size_hint(),
        ));
    }
    if !names.is_empty() && names.iter().all(|name| name.parse::<usize>().is_ok()) {
        let maps = read_maps(path)?;
        return Ok(Stored {
            values: maps.maps.into_dyn(),
            integers: false,
            names: Names::MaskValues(maps.classes),
        });
    }
    let index = match names.len() {
        1 => Some(0),
        _ => NAMES
            .iter()
            .find_map(|wanted| names.iter().position(|name| name == wanted)),
    };
    let Some(index) = index else {
        let first: Vec<_> = names.iter().take(5).map(String::as_str).collect();
        bail!(
            "it holds {} arrays ({}), none called {}; save one array under such a name",
            names.len(),
            first.join(", "),
            NAMES.join(", ")
        );
    };
    let (place, method, size) = entries[index];
    let packed = archive.get_entry(place).map_err(damaged)?;
    let mut array = Vec::new();
    match method {
        CompressionMethod::Store => array.extend_from_slice(packed.data()),
        CompressionMethod::Deflate => {
            ensure!(
                size <= LARGEST,
                "it unpacks to more than 4 GB; save it with numpy.savez, or in parts"
            );
            let inflated = DeflateDecoder::new(packed.data()).take(size);
            inflated.take(LARGEST).read_to_end(&mut array)?;
        }
        other => bail!("it is compressed by {other:?}; save it again with numpy"),
    }
    let length = array.len() as u64;
    ensure!(
        length == size,
        "its array has {length} bytes instead of {size}; copy or save it again"
    );
    read_array(Cursor::new(array), length)
}

/// The library's error, which says in one text what its sources say again.
fn damaged(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}; save it again with numpy")
}

/// Where an array can be read from as often as there are number types to try.
trait Source {
    fn array<T: ReadableElement>(&mut self) -> Result<ArrayD<T>, ReadNpyError>;
}

impl<R: Read + Seek> Source for R {
    fn array<T: ReadableElement>(&mut self) -> Result<ArrayD<T>, ReadNpyError> {
        self.rewind()?;
        ArrayD::read_npy(self)
    }
}

/// Reads the array as the number type that it has. The library takes both byte orders and both memory orders.
fn convert(source: &mut impl Source) -> Result<Stored> {
    macro_rules! first_that_fits {
        ($($number:ty: $integers:literal, $convert:expr;)*) => {
            $(match source.array::<$number>() {
                Ok(array) => {
                    return Ok(Stored {
                        values: array.mapv_into_any($convert),
                        integers: $integers,
                        names: Names::Channels,
                    });
                }
                Err(ReadNpyError::WrongDescriptor(_)) => {}
                Err(error) => return Err(damaged(error)),
            })*
        };
    }
    first_that_fits! {
        f32: false, |v| v;
        f64: false, |v| v as f32;
        u8: true, f32::from;
        i64: true, |v| v as f32;
        i32: true, |v| v as f32;
        bool: true, f32::from;
        i8: true, f32::from;
        i16: true, f32::from;
        u16: true, f32::from;
        u32: true, |v| v as f32;
        u64: true, |v| v as f32;
    }
    // Whatever type is asked for now, the answer names the one that is there.
    let descriptor = match source.array::<f32>() {
        Err(ReadNpyError::WrongDescriptor(descriptor)) => descriptor.to_string(),
        _ => String::new(),
    };
    bail!("the number type {descriptor} is not read; save it as a.astype('<f4')")
}

/// `[1, C, H, W]` as `[C, H, W]`, everything else as it is.
pub fn without_batch(values: ArrayD<f32>) -> ArrayD<f32> {
    match values.shape() {
        [1, _, _, _] => values.index_axis_move(Axis(0), 0),
        _ => values,
    }
}
