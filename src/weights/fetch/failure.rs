//! Why a source gave no file, as far as it decides what is tried next.

use std::path::Path;

use crate::weights::Error;
use crate::weights::published::PublishedFile;

/// Why a source gave no file. The texts are parts of one line.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was cut, or nothing came any more: the same again may go on from there.
    Cut(String),
    /// This source does not have the file, or cannot be reached: another one may.
    Source(String),
    /// All bytes came, and are not those of the file.
    Wrong(String),
    /// Nothing can be written here, so that no source helps.
    Here(Error),
}

impl Failure {
    /// The source has a file of another length.
    pub fn length(entry: &PublishedFile, found: u64) -> Self {
        Failure::Source(format!("the file there has {found} bytes, not {}", entry.bytes))
    }

    /// `path`, in the cache, cannot be written.
    pub fn here(path: &Path, reason: std::io::Error) -> Self {
        let path = path.to_owned();
        Failure::Here(Error::CacheWrite { path, reason })
    }
}

/// What a library or another program says, as a part of a line: without line ends and without what a terminal acts on.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "\u{FFFD}")
}
