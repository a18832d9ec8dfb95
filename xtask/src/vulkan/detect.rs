//! Whether a Vulkan loader and a driver are installed, from the places that the loader itself reads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

const LOADER: &str = "libvulkan.so.1";

/// The variables that name driver files in place of the default folders, the loader's favourite first.
const DRIVER_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Where a machine may keep a loader and drivers.
pub struct Vulkan {
    /// The shared libraries that the dynamic linker knows, as `ldconfig -p` lists them.
    linker_cache: String,
    /// Folders of shared libraries, for systems without such a cache.
    library_folders: Vec<PathBuf>,
    /// The variable that overrides the driver folders, and the paths it lists.
    named_drivers: Option<(&'static str, Vec<PathBuf>)>,
    /// Folders of driver descriptions, one JSON file for each driver ("ICD").
    driver_folders: Vec<PathBuf>,
}

impl Vulkan {
    pub fn of_this_machine() -> Self {
        Self::new(linker_cache(), |name| {
            std::env::var_os(name).filter(|value| !value.is_empty())
        })
    }

    fn new(linker_cache: String, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let paths = |name: &str, default: &str| -> Vec<PathBuf> {
            let listed = variable(name).unwrap_or_else(|| default.into());
            std::env::split_paths(&listed)
                .filter(|path| !path.as_os_str().is_empty())
                .collect()
        };
        let home = variable("HOME").map(PathBuf::from);
        let own = |name: &str, default: &str| {
            variable(name)
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(default)))
        };
        let mut driver_roots = paths("XDG_CONFIG_DIRS", "/etc/xdg");
        driver_roots.extend(["/etc", "/usr/local/etc", "/usr/local/share", "/usr/share"].map(PathBuf::from));
        driver_roots.extend(paths("XDG_DATA_DIRS", ""));
        driver_roots.extend(own("XDG_CONFIG_HOME", ".config"));
        driver_roots.extend(own("XDG_DATA_HOME", ".local/share"));

        let arch = std::env::consts::ARCH;
        let mut library_folders = paths("LD_LIBRARY_PATH", "");
        library_folders.extend(["/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib64", "/lib"].map(PathBuf::from));
        library_folders.push(format!("/usr/lib/{arch}-linux-gnu").into());

        Self {
            linker_cache,
            library_folders,
            named_drivers: DRIVER_VARIABLES
                .into_iter()
                .find(|name| variable(name).is_some())
                .map(|name| (name, paths(name, ""))),
            driver_folders: driver_roots.iter().map(|root| root.join("vulkan/icd.d")).collect(),
        }
    }

    /// `None` if everything is there, else what is not, as in "no Vulkan driver".
    ///
    /// # Errors
    /// A variable names drivers, none of which exists: an installation would change nothing.
    pub fn missing(&self) -> Result<Option<String>, Failure> {
        if let Some((name, paths)) = &self.named_drivers
            && !paths.iter().any(|path| path.is_file() || holds_driver(path))
        {
            return Err(Failure::new(format!(
                "{name} names no Vulkan driver file that exists; correct that variable, or unset it"
            )));
        }
        if !self.has_loader() {
            Ok(Some(format!("no Vulkan loader ({LOADER})")))
        } else if self.named_drivers.is_none() && !self.driver_folders.iter().any(|folder| holds_driver(folder)) {
            Ok(Some(
                "no Vulkan driver (a JSON file in /usr/share/vulkan/icd.d)".to_string(),
            ))
        } else {
            Ok(None)
        }
    }

    fn has_loader(&self) -> bool {
        self.linker_cache.split_whitespace().any(|word| word == LOADER)
            || self.library_folders.iter().any(|folder| folder.join(LOADER).exists())
    }
}

/// Whether `folder` has the description of a driver.
fn holds_driver(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
    })
}

/// Empty where there is no ldconfig.
fn linker_cache() -> String {
    // The PATH of an ordinary user on Debian has no /sbin.
    ["ldconfig", "/sbin/ldconfig"]
        .into_iter()
        .find_map(|program| Command::new(program).arg("-p").stderr(Stdio::null()).output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: &str = "\tlibvulkan.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libvulkan.so.1\n";

    fn vulkan(cache: &str, drivers: &Path) -> Vulkan {
        Vulkan {
            linker_cache: cache.to_string(),
            library_folders: Vec::new(),
            named_drivers: None,
            driver_folders: vec![drivers.to_path_buf()],
        }
    }

    /// An empty folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, "{}").unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn needs_a_loader_and_a_driver() {
        let folder = Folder::new("drivers");
        assert!(vulkan(CACHE, &folder.0).missing().unwrap().unwrap().contains("driver"));
        folder.file("readme.txt");
        assert!(vulkan(CACHE, &folder.0).missing().unwrap().is_some());
        folder.file("lvp_icd.json");
        assert_eq!(vulkan(CACHE, &folder.0).missing().unwrap(), None);
        let other = "\tlibvulkan_lvp.so (libc6) => /lib/libvulkan_lvp.so\n";
        assert!(vulkan(other, &folder.0).missing().unwrap().unwrap().contains("loader"));
    }

    #[test]
    fn loader_in_a_library_folder() {
        let folder = Folder::new("libraries");
        folder.file("lvp_icd.json");
        folder.file(LOADER);
        let found = Vulkan {
            library_folders: vec![folder.0.clone()],
            ..vulkan("", &folder.0)
        };
        assert_eq!(found.missing().unwrap(), None);
    }

    #[test]
    fn named_drivers_replace_the_folders() {
        let folder = Folder::new("named");
        let driver = folder.file("lvp_icd.json");
        let named = |path: PathBuf| Vulkan {
            named_drivers: Some(("VK_DRIVER_FILES", vec![path])),
            ..vulkan(CACHE, &folder.0)
        };
        assert_eq!(named(driver).missing().unwrap(), None);
        let message = named(folder.0.join("gone.json")).missing().unwrap_err().to_string();
        assert!(message.contains("VK_DRIVER_FILES"), "{message}");
    }

    #[test]
    fn folders_follow_the_environment() {
        let list = |paths: [&str; 2]| Some(std::env::join_paths(paths).unwrap());
        let variable = |name: &str| match name {
            "HOME" => Some("/home/me".into()),
            "XDG_DATA_DIRS" => list(["/opt/a", "/opt/b"]),
            "VK_ICD_FILENAMES" => list(["/x/one.json", "/x/two.json"]),
            _ => None,
        };
        let vulkan = Vulkan::new(String::new(), variable);
        for root in [
            "/etc",
            "/etc/xdg",
            "/usr/share",
            "/opt/a",
            "/opt/b",
            "/home/me/.local/share",
        ] {
            assert!(
                vulkan.driver_folders.contains(&Path::new(root).join("vulkan/icd.d")),
                "{root}"
            );
        }
        assert!(vulkan.library_folders.iter().all(|folder| folder.has_root()));
        let (name, paths) = vulkan.named_drivers.unwrap();
        assert_eq!((name, paths.len()), ("VK_ICD_FILENAMES", 2));
    }
}
