//! The folder that an export goes to: nothing is written outside of it, nothing is overwritten without being asked to,
//! and what an export that fails has written is taken away again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::NamedTempFile;

use crate::annotations::path::inside;
use crate::files::{self, write_error};

/// How images come into the folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Images {
    /// As copies.
    Copy,
    /// As hard links, or copies where the file system has none.
    Link,
    /// Not at all.
    None,
}

/// A folder that is being written.
pub struct Folder {
    root: PathBuf,
    /// Files and folders that were not there before, in the order in which they were made.
    made: Mutex<Vec<PathBuf>>,
}

impl Folder {
    /// A folder to write to, which need not exist. Where it holds something, files of the same names are only replaced
    /// with `force`.
    ///
    /// # Errors
    /// Where it is a file, or is not empty and there is no `force`.
    pub fn open(root: &Path, force: bool) -> Result<Folder> {
        ensure!(
            root.is_dir() || !root.exists(),
            "{} is a file: name a folder with --to",
            root.display()
        );
        let is_used = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        ensure!(
            force || !is_used,
            "the folder {} is not empty: choose another --to, or say --force to replace files of the same names in it",
            root.display()
        );
        Ok(Folder {
            root: root.to_owned(),
            made: Mutex::new(Vec::new()),
        })
    }

    /// Where the file `name` goes, a path in the folder with `/`. Folders above it are made.
    ///
    /// # Errors
    /// Where the name leads out of the folder, also by a link, or a folder cannot be made.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        let name = inside("", name)?;
        let mut path = self.root.clone();
        self.make(&path)?;
        let mut parts = name.split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some() {
                ensure!(
                    !path.is_symlink(),
                    "{} is a link to another folder, and is not followed: choose another --to",
                    path.display()
                );
                self.make(&path)?;
            }
        }
        if !path.exists() {
            self.note(&path);
        }
        Ok(path)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// As [`Folder::place`] and [`files::write_bytes`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write_bytes(&self.place(name)?, bytes)
    }

    /// Begins a file that is written bit by bit.
    ///
    /// # Errors
    /// As [`Folder::place`], or where it cannot be made.
    pub fn begin(&self, name: &str) -> Result<Growing> {
        let path = self.place(name)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(files::TEMPORARY_PREFIX);
        // As in `files::replace`.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let folder = path.parent().unwrap_or(&self.root);
        let file = builder.tempfile_in(folder).map_err(|e| write_error(&path, &e.into()))?;
        Ok(Growing {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Brings an image file into the folder.
    ///
    /// # Errors
    /// As [`Folder::place`]; where the image is the file that would be replaced; or where it cannot be copied.
    pub fn bring(&self, source: &Path, name: &str, how: Images) -> Result<()> {
        if how == Images::None {
            return Ok(());
        }
        let path = self.place(name)?;
        let source = source
            .canonicalize()
            .with_context(|| format!("cannot read the image {}", source.display()))?;
        ensure!(
            path.canonicalize().ok().as_ref() != Some(&source),
            "{} is an image of the data set and would be replaced by itself: choose another --to",
            path.display()
        );
        if how == Images::Link {
            if path.exists() {
                fs::remove_file(&path).map_err(|e| write_error(&path, &e.into()))?;
            }
            if fs::hard_link(&source, &path).is_ok() {
                return Ok(());
            }
        }
        let mut image = File::open(&source).map_err(|e| anyhow!("cannot read the image {}: {e}", source.display()))?;
        files::replace(&path, |file| {
            io::copy(&mut image, file.as_file_mut())?;
            Ok(())
        })
    }

    /// Takes away what was not there before.
    pub fn undo(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for path in made.drain(..).rev() {
            // Folders that others have put something into stay.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }

    fn make(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists())
            .collect();
        fs::create_dir_all(path).map_err(|e| write_error(path, &e.into()))?;
        for folder in missing.into_iter().rev() {
            self.note(folder);
        }
        Ok(())
    }

    fn note(&self, path: &Path) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path.to_owned());
    }
}

/// A file that grows under a temporary name until it is finished.
pub struct Growing {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Growing {
    /// Adds text to it.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|e| write_error(&self.path, &e.into()))
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// As [`Growing::add`].
    pub fn finish(self) -> Result<()> {
        let Growing { path, mut file } = self;
        let fail = |e: io::Error| write_error(&path, &e.into());
        file.flush().map_err(fail)?;
        match file.into_parts() {
            (file, Ok(_)) => file.persist(&path).map(|_| ()).map_err(|e| fail(e.error)),
            (_, Err(_)) => bail!("cannot write {}", path.display()),
        }
    }
}

/// Whether `path`, which need not exist, is `folder` or lies in it.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors()
        .find_map(|above| above.canonicalize().ok())
        .is_some_and(|real| real.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_and_a_failed_export_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let folder = Folder::open(&at("new/to"), false).unwrap();
        folder.write("a/b.txt", b"x").unwrap();
        let mut growing = folder.begin("c.json").unwrap();
        growing.add("{}").unwrap();
        drop(growing);
        for name in ["../x", "/x", "a/../../x", "C:\\x", ""] {
            assert!(folder.write(name, b"x").is_err(), "{name}");
        }
        folder.undo();
        assert!(!at("new").exists() && !at("x").exists());

        fs::create_dir_all(at("to/deep")).unwrap();
        fs::write(at("to/mine.txt"), "mine").unwrap();
        let error = Folder::open(&at("to"), false).err().unwrap().to_string();
        assert!(error.contains("not empty") && error.contains("--force"), "{error}");
        assert!(Folder::open(&at("to/mine.txt"), true).is_err());
        let folder = Folder::open(&at("to"), true).unwrap();
        folder.write("mine.txt", b"new").unwrap();
        folder.write("deep/other.txt", b"new").unwrap();
        folder.undo();
        assert!(at("to/mine.txt").exists() && at("to/deep").exists() && !at("to/deep/other.txt").exists());
        assert!(folder.bring(&at("to/mine.txt"), "mine.txt", Images::Copy).is_err());
        assert!(is_within(&at("to/not/yet"), &at("to")) && !is_within(&at("not/yet"), &at("to")));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_elsewhere_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("to")).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join("to/labels")).unwrap();
        let folder = Folder::open(&dir.path().join("to"), true).unwrap();
        let error = folder.write("labels/a.txt", b"x").unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        assert!(fs::read_dir(dir.path().join("elsewhere")).unwrap().next().is_none());
    }
}
