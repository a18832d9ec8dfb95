//! Which folder the user's cache of weights is.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::weights::error::{CACHE_VARIABLE, Error, Result};

/// The folder that `WEAKSEG_WEIGHTS` names, or `weakseg/weights` in the system's folder for caches.
///
/// # Errors
/// Where the system has no such folder for this user.
pub(super) fn of_user() -> Result<PathBuf> {
    by(|name| std::env::var_os(name), std::env::home_dir()).ok_or(Error::NoCache)
}

/// The folder, by the environment `variable` and the user's `home`.
fn by(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(chosen) = set(CACHE_VARIABLE) {
        return Some(chosen.into());
    }
    let home = home.filter(|home| home.is_absolute());
    let cache = if cfg!(target_os = "windows") {
        set("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library/Caches"))
    } else {
        // The standard has relative paths ignored.
        set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| home.map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("weakseg").join("weights"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_systems_folder() {
        let home = || Some(PathBuf::from(if cfg!(windows) { "C:\\me" } else { "/me" }));
        let of = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), OsString::from(value));
            by(move |asked| (asked == name).then(|| value.clone()), home())
        };
        assert_eq!(of(CACHE_VARIABLE, "here"), Some(PathBuf::from("here")));
        if cfg!(target_os = "linux") {
            let default = Some(PathBuf::from("/me/.cache/weakseg/weights"));
            assert_eq!(of(CACHE_VARIABLE, ""), default);
            assert_eq!(of("XDG_CACHE_HOME", "relative"), default);
            assert_eq!(
                of("XDG_CACHE_HOME", "/cache"),
                Some(PathBuf::from("/cache/weakseg/weights"))
            );
            assert_eq!(by(|_| None, None), None);
        }
    }
}
