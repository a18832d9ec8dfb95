//! Parts of a stage that goes image by image, each for a process of its own: which images are whose, and what a part
//! leaves behind for the process that finishes the stage.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::files;

/// Where the records of parts are, in a run directory.
pub(super) const FOLDER: &str = "shards";

/// One of `count` parts of the images, as `K/N` with K from 1 to N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    number: usize,
    count: usize,
}

impl Shard {
    /// Part `number`, from 1 on, of `count`.
    ///
    /// # Errors
    /// Where there is no such part.
    pub fn new(number: usize, count: usize) -> Result<Shard> {
        ensure!(count > 0, "{number}/{count} is no shard: there has to be one at least");
        ensure!(
            (1..=count).contains(&number),
            "{number}/{count} is no shard: they are called 1/{count} to {count}/{count}"
        );
        Ok(Shard { number, count })
    }

    /// K of K/N.
    pub fn number(self) -> usize {
        self.number
    }

    /// N of K/N.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether both may be of one stage: of the same number of parts.
    pub(super) fn is_beside(self, other: Shard) -> bool {
        self.count == other.count
    }

    /// Its images of `images`: neighbours, so that what needs several images finds them together, and as many as any
    /// other part's but for one.
    pub fn range(self, images: usize) -> Range<usize> {
        let bound = |part: usize| (images as u128 * part as u128 / self.count as u128) as usize;
        bound(self.number - 1)..bound(self.number)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Shard> {
        let parts = text.split_once('/').and_then(|(number, count)| {
            let of = |text: &str| text.trim().parse::<usize>().ok();
            Some((of(number)?, of(count)?))
        });
        let (number, count) = parts.with_context(|| format!("{text:?} is no shard: write K/N, as in 1/4"))?;
        Shard::new(number, count)
    }
}

/// What a part says of itself, in a file of its own: parts run at the same time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    pub stage: String,
    /// What the stage's results depend on, as in `run.json`.
    pub fingerprint: String,
    pub shard: Shard,
    pub finished: bool,
    /// Seconds that it took, in its last process.
    pub seconds: f64,
    /// Warnings logged meanwhile.
    pub warnings: u64,
}

impl ShardRecord {
    pub fn write(&self, run: &Path) -> Result<()> {
        files::write_json(&file(run, &self.stage, self.shard), self)
    }
}

fn file(run: &Path, stage: &str, shard: Shard) -> PathBuf {
    let name = format!("{stage}.{}-of-{}.json", shard.number, shard.count);
    run.join(FOLDER).join(name)
}

/// What the parts of `stage` have left, in the order of their names.
pub(super) fn records(run: &Path, stage: &str) -> Result<Vec<ShardRecord>> {
    let mut found = Vec::new();
    for path in paths(run)? {
        let text = match fs::read(&path) {
            // Another process may have finished the stage meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let record: ShardRecord = serde_json::from_slice(&text)
            .map_err(|error| anyhow!("{} is damaged ({error}): delete it, no result is lost", path.display()))?;
        if record.stage == stage {
            found.push(record);
        }
    }
    Ok(found)
}

/// Removes the records of the parts of `stage`, or of all stages.
pub(super) fn forget(run: &Path, stage: Option<&str>) -> Result<()> {
    for path in paths(run)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of_stage = stage.is_none_or(|stage| name.strip_prefix(stage).is_some_and(|rest| rest.starts_with('.')));
        if of_stage {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    // Fails where something is left, which is the intention.
    let _ = fs::remove_dir(run.join(FOLDER));
    Ok(())
}

fn paths(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join(FOLDER);
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
        Ok(entries.iter().map(|entry| entry.path()).collect())
    };
    let mut paths = match read() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".json") && !name.starts_with(files::TEMPORARY_PREFIX)
    });
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_images_once_and_even() {
        for (images, count) in [(10, 3), (3, 3), (2, 5), (0, 4), (7, 1)] {
            let parts: Vec<Range<usize>> = (1..=count)
                .map(|k| Shard::new(k, count).unwrap().range(images))
                .collect();
            let all: Vec<usize> = parts.iter().cloned().flatten().collect();
            assert_eq!(all, (0..images).collect::<Vec<_>>());
            let sizes = parts.iter().map(ExactSizeIterator::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        assert_eq!("2/4".parse::<Shard>().unwrap(), Shard::new(2, 4).unwrap());
        for text in ["0/4", "5/4", "1/0", "4", "a/b", "-1/4", "1/4/2", ""] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains("is no shard"), "{error}");
        }
    }
}
