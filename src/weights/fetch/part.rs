//! The unfinished file: bytes come in from a source, and what is there stays for the next one to go on from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::cache::Cache;
use super::failure::{Failure, one_line};
use super::progress::{self, MEGABYTE};
use crate::weights::published::PublishedFile;

const BUFFER: usize = 1 << 16;

/// An unfinished file, `FILE.part` in the cache. Only one process has it, by the cache's lock.
pub(super) struct Part<'a> {
    pub entry: &'a PublishedFile,
    path: PathBuf,
    file: File,
    length: u64,
}

impl<'a> Part<'a> {
    /// The unfinished file of `entry`, with what an earlier process left of it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn open(cache: &Cache, entry: &'a PublishedFile) -> Result<Self, Failure> {
        let path = cache.beside(entry, "part");
        let open = || -> io::Result<(File, u64)> {
            let mut options = File::options();
            let mut file = options.create(true).truncate(false).write(true).open(&path)?;
            if file.metadata()?.len() > entry.bytes {
                file.set_len(0)?;
            }
            let length = file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| Failure::here(&path, error))?;
        Ok(Self {
            entry,
            path,
            file,
            length,
        })
    }

    /// How much is there.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether all bytes are there, whatever they are.
    pub fn is_whole(&self) -> bool {
        self.length == self.entry.bytes
    }

    /// Begins anew.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn clear(&mut self) -> Result<(), Failure> {
        self.length = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|error| Failure::here(&self.path, error))
    }

    /// Appends what `source` gives. It may end early; [`Part::is_whole`] tells.
    ///
    /// # Errors
    /// Where reading fails, where there is more than the file's length, and where it cannot be written.
    pub fn append(&mut self, mut source: impl Read) -> Result<(), Failure> {
        let total = self.entry.bytes / MEGABYTE;
        let bar = progress::begin(total, "MB", &self.entry.file);
        bar.set(self.length / MEGABYTE);
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Cut(one_line(&error.to_string()))),
            };
            if self.length + n as u64 > self.entry.bytes {
                self.clear()?;
                return Err(Failure::Source(format!(
                    "the file there has more than {} bytes",
                    self.entry.bytes
                )));
            }
            self.file
                .write_all(&buffer[..n])
                .map_err(|error| Failure::here(&self.path, error))?;
            let before = self.length / MEGABYTE;
            self.length += n as u64;
            bar.inc(self.length / MEGABYTE - before);
        }
        if self.is_whole() {
            bar.finish();
        }
        Ok(())
    }

    /// Has the disk take what is there, so that a finished name never stands for bytes that a power cut takes away, and
    /// closes the file. Gives its path.
    ///
    /// # Errors
    /// Where the disk is full or broken.
    pub fn close(self) -> Result<PathBuf, Failure> {
        match self.file.sync_all() {
            Ok(()) => Ok(self.path),
            Err(error) => Err(Failure::here(&self.path, error)),
        }
    }
}
