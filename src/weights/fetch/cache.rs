//! The folder with the files that were fetched: where it is, what of it can be trusted, and who writes to it.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::digest::sha256;
use super::folder;
use crate::files;
use crate::weights::error::{Error, Result};
use crate::weights::published::PublishedFile;

/// The folder with the files that were fetched.
///
/// Beside a `FILE` there may be `FILE.part`, which is unfinished; `FILE.lock`, which the process that writes holds; and
/// `FILE.ok`, the stamp: length, time of change and SHA-256 of the file when all of its bytes were last read. While the
/// stamp's length and time are the file's, its digest is taken for the file's, so that half a gigabyte is not read at
/// each start.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What the cache has of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// The file, whose SHA-256 is right.
    Checked,
    /// A file of the right length, of which nobody has read all bytes.
    Unchecked,
    /// Another file, and how it differs.
    Wrong(String),
}

impl Cache {
    /// The cache in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { folder }
    }

    /// The user's cache: the folder that `WEAKSEG_WEIGHTS` names, or `weakseg/weights` in the system's cache folder.
    ///
    /// # Errors
    /// Where the system has no such folder for this user.
    pub fn of_user() -> Result<Self> {
        folder::of_user().map(Self::new)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file of `entry` is, once it is there.
    pub fn path(&self, entry: &PublishedFile) -> PathBuf {
        self.folder.join(&entry.file)
    }

    /// `FILE.extension`.
    pub(super) fn beside(&self, entry: &PublishedFile, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", entry.file))
    }

    /// What is there of `entry`, by length and stamp alone.
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    pub fn glance(&self, entry: &PublishedFile) -> Result<State> {
        let about = match self.measure(entry)? {
            Ok(about) => about,
            Err(state) => return Ok(state),
        };
        let stamp = fs::read_to_string(self.beside(entry, "ok")).unwrap_or_default();
        let digest = identity(&about).and_then(|is| stamp.trim().strip_prefix(&is));
        Ok(digest.map_or(State::Unchecked, |digest| verdict(entry, digest)))
    }

    /// What the system knows of a file of the right length; what is there, where that is none.
    fn measure(&self, entry: &PublishedFile) -> Result<Result<Metadata, State>> {
        let path = self.path(entry);
        Ok(match path.metadata() {
            Ok(about) if !about.is_file() => Err(State::Wrong("is not a file".to_owned())),
            Ok(about) if about.len() != entry.bytes => {
                Err(State::Wrong(format!("has {} bytes, not {}", about.len(), entry.bytes)))
            }
            Ok(about) => Ok(about),
            // A file where the folder should be is told when something is to be written.
            Err(error) if is_missing(&error) => Err(State::Absent),
            Err(reason) => return Err(Error::CacheRead { path, reason }),
        })
    }

    /// As [`Cache::glance`], but a file that nobody has read in full is, which leaves a stamp where one can be written.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn check(&self, entry: &PublishedFile) -> Result<State> {
        match self.glance(entry)? {
            State::Unchecked => self.check_in_full(entry),
            known => Ok(known),
        }
    }

    /// As [`Cache::check`], but every byte is read in any case.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn check_in_full(&self, entry: &PublishedFile) -> Result<State> {
        if let Err(state) = self.measure(entry)? {
            return Ok(state);
        }
        let path = self.path(entry);
        let digest = match sha256(&path) {
            Ok(digest) => digest,
            Err(reason) => return Err(Error::CacheRead { path, reason }),
        };
        self.stamp(entry, &digest);
        Ok(verdict(entry, &digest))
    }

    /// Notes that the file has the SHA-256 `digest`. Without a stamp the file is read again next time, no more.
    pub(super) fn stamp(&self, entry: &PublishedFile, digest: &str) {
        let path = self.beside(entry, "ok");
        let about = self.path(entry).metadata().ok();
        if let Some(identity) = about.as_ref().and_then(identity)
            && let Err(error) = files::write_bytes(&path, format!("{identity}{digest}\n").as_bytes())
        {
            log::debug!("{error:#}");
        }
    }

    /// Makes the folder, and waits until this process is the only one that writes the file of `entry`, which it is
    /// until the result is dropped.
    ///
    /// # Errors
    /// One line with the remedy where nothing can be written there.
    pub(super) fn lock(&self, entry: &PublishedFile) -> Result<File> {
        let write_error = |path: &Path, reason| Error::CacheWrite {
            path: path.to_owned(),
            reason,
        };
        fs::create_dir_all(&self.folder).map_err(|error| write_error(&self.folder, error))?;
        let path = self.beside(entry, "lock");
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path).map_err(|error| write_error(&path, error))?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                log::info!("another weakseg process fetches {}: waiting for it", entry.file);
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        if let Err(error) = locked {
            log::warn!(
                "{} cannot be locked ({error}): do not fetch the same file twice at once",
                path.display()
            );
        }
        Ok(file)
    }
}

/// What a file with the SHA-256 `digest` is.
fn verdict(entry: &PublishedFile, digest: &str) -> State {
    if entry.is_of(digest) {
        State::Checked
    } else {
        State::Wrong(differs(entry, digest))
    }
}

/// How a file with the SHA-256 `digest` differs from `entry`.
pub(super) fn differs(entry: &PublishedFile, digest: &str) -> String {
    let rest = if entry.sha256.len() < digest.len() { "..." } else { "" };
    format!("has the SHA-256 {digest}, not {}{rest}", entry.sha256)
}

/// What tells an unchanged file: length and time of change. `None` where the system keeps no such times.
fn identity(about: &Metadata) -> Option<String> {
    let changed = about.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} {} ", about.len(), since.as_nanos()))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> PublishedFile {
        PublishedFile {
            name: "abc".to_owned(),
            backbone: "abc".to_owned(),
            file: "abc-ba7816bf.pth".to_owned(),
            bytes: 3,
            sha256: "ba7816bf".to_owned(),
            licence: "MIT".to_owned(),
            publisher: "nobody".to_owned(),
            sources: vec![],
        }
    }

    #[test]
    fn a_file_is_read_once_and_again_when_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, entry) = (Cache::new(dir.path()), entry());
        assert_eq!(cache.check(&entry).unwrap(), State::Absent);
        let path = cache.path(&entry);
        fs::write(&path, "abc").unwrap();
        assert_eq!(cache.glance(&entry).unwrap(), State::Unchecked);
        assert_eq!(cache.check(&entry).unwrap(), State::Checked);
        assert_eq!(cache.glance(&entry).unwrap(), State::Checked);

        // Other bytes with the old time pass a glance, and fail the check of every byte.
        let before = path.metadata().unwrap().modified().unwrap();
        fs::write(&path, "abd").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(before).unwrap();
        assert_eq!(cache.glance(&entry).unwrap(), State::Checked);
        assert!(matches!(cache.check_in_full(&entry).unwrap(), State::Wrong(_)));
        assert!(matches!(cache.glance(&entry).unwrap(), State::Wrong(_)));
        fs::write(&path, "abc").unwrap();
        assert_eq!(cache.check_in_full(&entry).unwrap(), State::Checked);

        fs::write(&path, "ab").unwrap();
        let State::Wrong(how) = cache.check(&entry).unwrap() else {
            panic!("two bytes are not three");
        };
        assert_eq!(how, "has 2 bytes, not 3");
    }

    #[test]
    fn a_stamp_of_nonsense_is_no_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, entry) = (Cache::new(dir.path()), entry());
        fs::write(cache.path(&entry), "abd").unwrap();
        for stamp in [&b""[..], b"3", b"\xff\xfe", b"3 0 ba7816bf"] {
            fs::write(cache.beside(&entry, "ok"), stamp).unwrap();
            assert_eq!(cache.glance(&entry).unwrap(), State::Unchecked);
        }
    }
}
