//! `weakseg weights list`, `fetch` and `path`: the published weight files that have names.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::cli::output::{print, print_json};
use crate::weights::fetch::{Cache, Fetcher, State};
use crate::weights::published::{self, PublishedFile};

/// Lists the published weights, and whether the cache has them. No file is read for it.
pub fn list(json: bool) -> Result<()> {
    let cache = Cache::of_user()?;
    let mut rows = Vec::new();
    for entry in published::all()? {
        rows.push((entry, cache.glance(entry)?));
    }
    if json {
        let entries: Vec<Value> = rows.iter().map(|row| row_json(row, &cache)).collect();
        return print_json(&json!({"cache": cache.folder().display().to_string(), "weights": entries}));
    }
    print(format_args!(
        "{:<20} {:<20} {:>9}  {:<14} in the cache",
        "name", "backbone", "size", "licence"
    ))?;
    for (entry, state) in &rows {
        print(format_args!(
            "{:<20} {:<20} {:>9}  {:<14} {}",
            entry.name,
            entry.backbone,
            entry.size(),
            entry.licence,
            word(state)
        ))?;
    }
    print(format_args!("cache: {}", cache.folder().display()))
}

fn row_json((entry, state): &(&PublishedFile, State), cache: &Cache) -> Value {
    let sources: Vec<String> = entry.sources.iter().map(ToString::to_string).collect();
    json!({
        "name": entry.name,
        "backbone": entry.backbone,
        "file": entry.file,
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "publisher": entry.publisher,
        "sources": sources,
        "path": cache.path(entry).display().to_string(),
        "cached": word(state),
    })
}

fn word(state: &State) -> &'static str {
    match state {
        State::Absent => "no",
        State::Checked => "yes",
        State::Unchecked => "unchecked",
        State::Wrong(_) => "damaged",
    }
}

/// Fetches the weights called `names`, or checks every byte of those that are there, and prints where they are.
pub fn fetch(names: &[String], json: bool) -> Result<()> {
    // A name that is none is told before anything is fetched.
    let entries: Vec<&PublishedFile> = names
        .iter()
        .map(|name| published::find(name))
        .collect::<Result<_, _>>()?;
    let fetcher = Fetcher::of_user()?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = fetcher.ensure_in_full(entry)?;
        paths.push((&entry.name, path.display().to_string()));
    }
    if json {
        let paths: Vec<Value> = paths
            .iter()
            .map(|(name, path)| json!({"name": name, "path": path}))
            .collect();
        return print_json(&paths);
    }
    paths.iter().try_for_each(|(_, path)| print(path))
}

/// Prints where the cache has the weights called `name`.
pub fn path(name: &str, json: bool) -> Result<()> {
    let entry = published::find(name)?;
    let cache = Cache::of_user()?;
    let path = cache.path(entry).display().to_string();
    let remedy = format!("fetch it with `weakseg weights fetch {name}`");
    match cache.check(entry)? {
        State::Checked if json => print_json(&json!({"name": name, "path": path})),
        State::Checked => print(path),
        State::Wrong(how) => bail!("{path} {how}: {remedy}"),
        State::Absent | State::Unchecked => bail!("there is no {path}: {remedy}"),
    }
}
