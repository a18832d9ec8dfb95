//! SBD's masks: `cls/NAME.mat`, MATLAB 5 files with the struct `GTcls`, whose field `Segmentation` is `uint8 [H, W]`
//! (Hariharan et al., ICCV 2011). Reads that field and nothing else.
//!
//! Format: "MAT-File Level 5", a header of 128 bytes and elements of type, length and data; a matrix is an element of
//! elements, and a compressed one holds another element.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use flate2::read::ZlibDecoder;
use image::GrayImage;

/// The most bytes of a file, and of what a compressed element of it holds: SBD's have a few hundred thousand.
const MAX_BYTES: u64 = 64 << 20;
const HEADER: usize = 128;

/// Types of elements.
const UINT8: u32 = 2;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Classes of matrices.
const STRUCT: u8 = 2;
const UINT8_ARRAY: u8 = 9;

/// Whether a mask is a `.mat` file, by its name.
pub(super) fn is_mat(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mat"))
}

/// Reads `GTcls.Segmentation` of a `.mat` file: 0 = background, c + 1 = class c of PASCAL VOC's twenty.
///
/// # Errors
/// One line that names the file: missing, damaged, another version of the format, or without such a field.
pub(super) fn read_segmentation(path: &Path) -> Result<GrayImage> {
    let read = || -> Result<GrayImage> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MAX_BYTES, "it is too large");
        segmentation(&bytes)
    };
    read().map_err(|e| {
        anyhow!(
            "cannot read the mask {}: {e:#}; masks of this kind are SBD's cls/*.mat",
            path.display()
        )
    })
}

fn segmentation(file: &[u8]) -> Result<GrayImage> {
    if file.starts_with(b"MATLAB 7.3") {
        bail!("a MATLAB 7.3 file; save it with -v7");
    }
    let version = file.get(124..HEADER);
    ensure!(version == Some(b"\x00\x01IM"), "no little-endian MATLAB 5 file");
    let mut rest = file.get(HEADER..).unwrap_or_default();
    while !rest.is_empty() {
        let element = Element::next(&mut rest)?;
        let found = match element.kind {
            COMPRESSED => {
                let inflated = inflate(element.data)?;
                field(Element::next(&mut inflated.as_slice())?)?
            }
            _ => field(element)?,
        };
        if let Some(image) = found {
            return Ok(image);
        }
    }
    bail!("it has no GTcls.Segmentation")
}

fn inflate(data: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(data).take(MAX_BYTES + 1).read_to_end(&mut out)?;
    ensure!(
        out.len() as u64 <= MAX_BYTES,
        "an element inflates to more than {} MiB",
        MAX_BYTES >> 20
    );
    Ok(out)
}

/// A piece of data of one type.
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

impl<'a> Element<'a> {
    /// Takes the next element off `rest`.
    fn next(rest: &mut &'a [u8]) -> Result<Element<'a>> {
        let first = word(rest, 0)?;
        // Up to four bytes of data fit beside a short type and length.
        let (kind, from, length) = match first >> 16 {
            0 => (first, 8, word(rest, 4)? as usize),
            short => (first & 0xffff, 4, short as usize),
        };
        let whole = from + length;
        let data = rest.get(from..whole).context("it is truncated")?;
        let padded = match kind {
            COMPRESSED => whole,
            _ => whole.next_multiple_of(8),
        };
        *rest = rest.get(padded..).unwrap_or_default();
        Ok(Element { kind, data })
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    found.map(u32::from_le_bytes).context("it is truncated")
}

/// A matrix up to its content: class, dimensions and name.
fn matrix<'a>(rest: &mut &'a [u8]) -> Result<(u8, Vec<u32>, &'a [u8])> {
    let flags = word(Element::next(rest)?.data, 0)?;
    let sizes = Element::next(rest)?.data;
    let sizes = (0..sizes.len() / 4).map(|i| word(sizes, 4 * i));
    Ok((flags as u8, sizes.collect::<Result<_>>()?, Element::next(rest)?.data))
}

/// The field `Segmentation` of the variable `GTcls`; `None` for another variable.
fn field(variable: Element) -> Result<Option<GrayImage>> {
    if variable.kind != MATRIX {
        return Ok(None);
    }
    let mut rest = variable.data;
    let (class, _, name) = matrix(&mut rest)?;
    if (class, name) != (STRUCT, b"GTcls") {
        return Ok(None);
    }
    let length = word(Element::next(&mut rest)?.data, 0)? as usize;
    let names = Element::next(&mut rest)?.data;
    ensure!(length > 0, "the names of its fields have no length");
    for name in names.chunks(length) {
        let value = Element::next(&mut rest)?;
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        if &name[..end] == b"Segmentation" {
            return pixels(value).map(Some);
        }
    }
    Ok(None)
}

fn pixels(value: Element) -> Result<GrayImage> {
    let mut rest = value.data;
    let (class, sizes, _) = matrix(&mut rest)?;
    let values = Element::next(&mut rest)?;
    let &[height, width] = sizes.as_slice() else {
        bail!("its Segmentation has {} dimensions, not two", sizes.len());
    };
    ensure!(
        (class, values.kind) == (UINT8_ARRAY, UINT8),
        "its Segmentation is not of type uint8"
    );
    let (w, h) = (width as usize, height as usize);
    ensure!(
        w.checked_mul(h) == Some(values.data.len()) && !values.data.is_empty(),
        "its Segmentation of {width} x {height} has {} values",
        values.data.len()
    );
    // MATLAB stores columns.
    let rows = (0..h).flat_map(|y| values.data.iter().skip(y).step_by(h).copied());
    GrayImage::from_raw(width, height, rows.collect()).context("its Segmentation is too large")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        if kind != COMPRESSED {
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out
    }

    fn array(class: u8, sizes: [u32; 2], name: &str, content: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = sizes.into_iter().flat_map(u32::to_le_bytes).collect();
        let parts = [
            element(6, &[class, 0, 0, 0, 0, 0, 0, 0]),
            element(5, &sizes),
            element(1, name.as_bytes()),
            content.to_vec(),
        ];
        element(MATRIX, &parts.concat())
    }

    /// SBD's layout: `GTcls` with an empty cell array, then the mask, of `width` x values / width.
    pub fn sbd_file(width: u32, rows: &[u8], compressed: bool) -> Vec<u8> {
        let (w, h) = (width as usize, rows.len() / width as usize);
        let columns: Vec<u8> = (0..w * h).map(|i| rows[i % h * w + i / h]).collect();
        let mut names = Vec::new();
        for name in ["Boundaries", "Segmentation", "CategoriesPresent"] {
            names.extend(name.bytes().chain([0; 32]).take(32));
        }
        let content = [
            vec![5, 0, 4, 0, 32, 0, 0, 0],
            element(1, &names),
            array(1, [0, 0], "", &[]),
            array(UINT8_ARRAY, [h as u32, width], "", &element(UINT8, &columns)),
            array(UINT8_ARRAY, [1, 1], "", &[2, 0, 1, 0, 7, 0, 0, 0]),
        ];
        let variable = array(STRUCT, [1, 1], "GTcls", &content.concat());
        let mut file = b"MATLAB 5.0 MAT-file".to_vec();
        file.resize(124, b' ');
        file.extend(b"\x00\x01IM");
        file.extend(array(UINT8_ARRAY, [1, 1], "other", &element(UINT8, &[1])));
        if compressed {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&variable).unwrap();
            file.extend(element(COMPRESSED, &encoder.finish().unwrap()));
        } else {
            file.extend(variable);
        }
        file
    }

    #[test]
    fn masks_are_read_row_by_row() {
        for compressed in [false, true] {
            let file = sbd_file(3, &[0, 1, 2, 20, 0, 7], compressed);
            let mask = segmentation(&file).unwrap();
            assert_eq!(mask.dimensions(), (3, 2));
            assert_eq!(mask.into_raw(), [0, 1, 2, 20, 0, 7]);
        }
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let whole = sbd_file(3, &[0, 1, 2, 20, 0, 7], false);
        let last = whole.len() - 80;
        for length in 0..last {
            assert!(segmentation(&whole[..length]).is_err(), "{length}");
        }
        for at in HEADER..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                // Whatever comes out, it is no panic and no more than the file holds.
                if let Ok(mask) = segmentation(&bytes) {
                    assert!(mask.as_raw().len() <= whole.len());
                }
            }
        }
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mat");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", read_segmentation(&path).unwrap_err())
        };
        let mut bomb = sbd_file(1, &[0], false);
        bomb.truncate(HEADER);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..65 {
            encoder.write_all(&zeros).unwrap();
        }
        bomb.extend(element(COMPRESSED, &encoder.finish().unwrap()));
        let mut renamed = sbd_file(1, &[0], false);
        let name = renamed.windows(5).position(|w| w == b"GTcls").unwrap();
        renamed[name] = b'X';
        for (bytes, part) in [
            (bomb, "more than 64 MiB"),
            (renamed, "no GTcls.Segmentation"),
            (b"MATLAB 7.3 MAT-file".to_vec(), "save it with -v7"),
            (b"\x89PNG".to_vec(), "no little-endian MATLAB 5 file"),
        ] {
            let text = error(&bytes);
            assert!(text.contains("a.mat") && text.contains(part), "{text}");
        }
    }
}
