//! SHA-256 of a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::progress::{self, MEGABYTE};

/// The SHA-256 of the file `path` in lower-case hexadecimal digits.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let total = file.metadata()?.len() / MEGABYTE;
    let bar = progress::begin(total, "MB", &format!("checking {name}"));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; MEGABYTE as usize];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(&buffer[..n]);
                bar.inc(n as u64 / MEGABYTE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bar.finish();
    let digits = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_three_letters_is_the_standards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(
            sha256(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
