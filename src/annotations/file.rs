//! Files of annotations as bytes and text, with a limit to what is read at once.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use memmap2::Mmap;

/// The most bytes of a text about one image or a list of classes. Larger ones are none: polygons of one image take
/// kilobytes.
pub const MOST_TEXT: u64 = 64 << 20;

/// Reads a UTF-8 text, without a byte order mark.
///
/// # Errors
/// One line that names the file: it cannot be read, has more than `most` bytes, or another encoding.
pub fn text(path: &Path, most: u64) -> Result<String> {
    let bytes = bytes(path, most)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    String::from_utf8(bytes.to_vec()).map_err(|_| anyhow!("{} is not in UTF-8; save it as UTF-8", path.display()))
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// One line that names the file: it cannot be read, or has more.
pub fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| anyhow!("cannot read {}: {e}", path.display());
    let about = fs::metadata(path).map_err(fail)?;
    if !about.is_file() {
        bail!("{} is not a file", path.display());
    }
    if about.len() > most {
        bail!(
            "{} has {} MB, and at most {} MB are read of such a file",
            path.display(),
            about.len() >> 20,
            most >> 20
        );
    }
    fs::read(path).map_err(fail)
}

/// The file as bytes that are read when they are looked at, without a byte order mark. It must not be changed meanwhile.
///
/// # Errors
/// One line that names the file: it cannot be read, or is empty.
pub fn mapped(path: &Path) -> Result<Bytes> {
    let fail = |e: std::io::Error| anyhow!("cannot read {}: {e}", path.display());
    let file = File::open(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    if !about.is_file() || about.len() == 0 {
        bail!("{} is empty or no file", path.display());
    }
    // SAFETY: a map is only unsound where somebody changes the file meanwhile, which the caller asks not to do. What is
    // in it is parsed as untrusted bytes.
    let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
    let bytes = Bytes::from_owner(map);
    match bytes.starts_with(b"\xef\xbb\xbf") {
        true => Ok(bytes.slice(3..)),
        false => Ok(bytes),
    }
}
