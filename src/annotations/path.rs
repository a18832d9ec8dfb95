//! Paths that annotations name. They come from somebody else's machine: none is followed out of the data set's folder.

use anyhow::{Result, bail};

/// The path that `name` means in the folder `base`, both relative to the data set's folder, with `/` between folders and
/// without `.` and `..`. Windows' `\` is read as `/`.
///
/// # Errors
/// Where the name is empty, absolute, or leads out of the data set's folder.
pub fn inside(base: &str, name: &str) -> Result<String> {
    let plain = name.replace('\\', "/");
    let drive = plain.as_bytes().get(1) == Some(&b':');
    if plain.starts_with('/') || drive || plain.contains("://") {
        bail!("the path {name:?} is absolute; paths are relative to the data set, and others are not followed");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(plain.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    bail!("the path {name:?} leads out of the data set's folder, and is not followed");
                }
            }
            _ => parts.push(part),
        }
    }
    if plain.trim_matches(['/', '.']).is_empty() || plain.contains('\0') {
        bail!("the path {name:?} names no file");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn no_path_leads_out() {
        for (base, name, path) in [
            ("", "a.jpg", "a.jpg"),
            ("", "./x//a.jpg", "x/a.jpg"),
            ("labels/train", "..\\..\\images\\a.jpg", "images/a.jpg"),
            ("x", "y/../a..b.jpg", "x/a..b.jpg"),
        ] {
            assert_eq!(inside(base, name).unwrap(), path);
        }
        for (base, name, part) in [
            ("", "../a.jpg", "leads out"),
            ("x", "../../a.jpg", "leads out"),
            ("x", "../x/../../a.jpg", "leads out"),
            ("", "/etc/passwd", "absolute"),
            ("", "\\\\host\\a.jpg", "absolute"),
            ("", "C:\\a.jpg", "absolute"),
            ("", "https://x/a.jpg", "absolute"),
            ("", "", "names no file"),
            ("x", "..", "names no file"),
            ("", "a\0.jpg", "names no file"),
        ] {
            let error = inside(base, name).unwrap_err().to_string();
            assert!(error.contains(part), "{name:?}: {error}");
        }
    }
}
