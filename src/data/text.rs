//! Text files as people have them: UTF-8, UTF-16, UTF-32 and what was written before.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};

/// Reads a text file, without a byte order mark: UTF-8; UTF-16 in either order, with a mark or without; else Latin-1,
/// of which every file is one.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    if let Some(text) = unicode(&bytes) {
        return Ok(text);
    }
    let text = latin_1(&bytes);
    // Signs that names hardly hold: two bytes of another encoding, such as GB18030 or Shift-JIS, have some.
    if text.chars().any(|c| ('\u{80}'..='\u{bf}').contains(&c)) {
        log::warn!(
            "{} is not in Unicode and is taken for Latin-1: where names look wrong, save it as UTF-8",
            path.display()
        );
    }
    Ok(text)
}

/// Reads an XML file in the encoding that it declares. Of one that is neither Unicode nor Latin-1, all that is not
/// ASCII becomes U+FFFD: its structure can be read, and names in ASCII.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read_xml(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    if let Some(text) = unicode(&bytes) {
        return Ok(text);
    }
    let encoding = declared_encoding(&bytes).unwrap_or_default();
    let latin = ["iso-8859-1", "latin1", "latin-1", "windows-1252", "cp1252"];
    if latin.contains(&encoding.as_str()) {
        return Ok(latin_1(&bytes));
    }
    let ascii = |byte: &u8| match byte.is_ascii() {
        true => char::from(*byte),
        false => char::REPLACEMENT_CHARACTER,
    };
    Ok(bytes.iter().map(ascii).collect())
}

/// The encoding in an XML declaration, in lower case.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned();
    let declaration = start.split("?>").next()?;
    let value = declaration.split("encoding").nth(1)?.trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
    Some(value.split(quote).nth(1)?.to_ascii_lowercase())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| anyhow!("cannot read {}: {e}", path.display()))
}

fn unicode(bytes: &[u8]) -> Option<String> {
    let pairs = |order: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|b| order([b[0], b[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let fours = |order: fn([u8; 4]) -> u32, bytes: &[u8]| {
        let units = bytes.chunks_exact(4).map(|b| order([b[0], b[1], b[2], b[3]]));
        units
            .map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => return Some(fours(u32::from_le_bytes, rest)),
        [0, 0, 0xfe, 0xff, rest @ ..] => return Some(fours(u32::from_be_bytes, rest)),
        [0xff, 0xfe, rest @ ..] => return Some(pairs(u16::from_le_bytes, rest)),
        [0xfe, 0xff, rest @ ..] => return Some(pairs(u16::from_be_bytes, rest)),
        [0xef, 0xbb, 0xbf, rest @ ..] => return String::from_utf8(rest.to_vec()).ok(),
        // The first character of a table or of XML is in ASCII: half of its unit is zero.
        [first, 0, ..] if *first != 0 => return Some(pairs(u16::from_le_bytes, bytes)),
        [0, first, ..] if *first != 0 => return Some(pairs(u16::from_be_bytes, bytes)),
        _ => {}
    }
    String::from_utf8(bytes.to_vec()).ok()
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_encoding_reads_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let text = "file,tags\na.png,Kätzchen\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|u| u.to_be_bytes()).collect();
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            little,
            big,
            latin,
        ] {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(read_text(&path).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn xml_is_read_in_the_encoding_that_it_declares() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.xml");
        let write = |encoding: &str, name: &[u8]| {
            let start = format!("<?xml version=\"1.0\" encoding='{encoding}'?><name>");
            fs::write(&path, [start.as_bytes(), name, b"</name>"].concat()).unwrap();
            read_xml(&path).unwrap()
        };
        assert!(write("ISO-8859-1", b"K\xe4fer").ends_with("<name>Käfer</name>"));
        assert!(write("gb2312", b"\xb9\xb7cat").ends_with("<name>\u{fffd}\u{fffd}cat</name>"));
        assert!(write("gb2312", "Käfer".as_bytes()).ends_with("<name>Käfer</name>"));
    }
}
