//! What autotune has found, kept from one start to the next: a database of cubecl's, which goes on without it where it
//! cannot be read, and tunes everything anew at every start.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::environment;

use super::fault;

/// Bytes beyond which a database holds something: its tables alone take less.
const TABLES: u64 = 32 << 10;
/// What every database of SQLite's begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Behind the names of the database's files: SQLite's, and turso's for several processes.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-tshm"];

/// Sets a database that cannot be read aside, so that a new one is made, and says so. Once per process, before the first
/// device is used.
pub(super) fn mend() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It says where the database is.
        CubeClRuntimeConfig::get();
        let path = environment::path();
        let is_readable = || is_readable(&path).unwrap_or(true);
        if is_readable() {
            return;
        }
        // Another process may have written to it while it was looked at.
        std::thread::sleep(Duration::from_millis(300));
        if is_readable() {
            return;
        }
        match set_aside(&path) {
            Ok(()) => log::warn!(
                "what autotune had found, {}, is damaged: it is set aside as {}, and tuned anew",
                path.display(),
                with_end(&path, ".damaged").display()
            ),
            Err(error) => log::warn!(
                "what autotune had found, {}, is damaged, and kernels are tuned anew at every start: remove it ({error})",
                path.display()
            ),
        }
    });
}

/// Whether a database can be read, as far as a copy of it tells: one that was opened stays as it is in this process.
fn is_readable(path: &Path) -> std::io::Result<bool> {
    if fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    for end in &BESIDE[..2] {
        let from = with_end(path, end);
        if from.exists() {
            fs::copy(from, with_end(&copy, end))?;
        }
    }
    let size = fs::metadata(&copy)?.len();
    let mut start = Vec::new();
    fs::File::open(&copy)?
        .take(MAGIC.len() as u64)
        .read_to_end(&mut start)?;
    environment::load(&copy);
    let held = fault::caught(|| Ok(environment::namespaces().len()));
    if let Some(root) = path.parent() {
        environment::set_root(root);
    }
    Ok(start == MAGIC && held.is_ok_and(|held| held > 0 || size <= TABLES))
}

fn set_aside(path: &Path) -> std::io::Result<()> {
    for end in BESIDE {
        let file = with_end(path, end);
        if file.exists() {
            fs::rename(&file, with_end(&with_end(path, ".damaged"), end))?;
        }
    }
    Ok(())
}

/// The path with more behind its name.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_database_is_told_from_a_good_one_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("default.db");
        assert!(is_readable(&path).unwrap());
        // One with entries, and the same with the middle overwritten.
        environment::load(&path);
        let options = environment::StoreOptions::new().storage(environment::Namespace::new("test"));
        let mut store = environment::store::<String, String>(options);
        for i in 0..400 {
            store.insert(format!("key {i}"), "value ".repeat(40)).unwrap();
        }
        drop(store);
        assert!(is_readable(&path).unwrap());
        let wal = with_end(&path, "-wal");
        for file in [&path, &wal] {
            let length = fs::metadata(file).map_or(0, |file| file.len());
            if length > 0 {
                fs::write(file, vec![b'x'; length.max(1 << 16) as usize]).unwrap();
            }
        }
        assert!(!is_readable(&path).unwrap());
        set_aside(&path).unwrap();
        assert!(!path.exists() && !wal.exists());
        assert!(with_end(&path, ".damaged").exists());
    }
}
