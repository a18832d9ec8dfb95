//! Memory that this process can still have: of the system, its container and its own limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that this process can still take, and what bounds them; `None` where the system does not tell, as others than
/// Linux do not.
///
/// The least of: `MemAvailable`; what the limits of the control groups that the process is in, version 1 or 2, and of
/// those around them leave, where file caches count as free; and what `ulimit -v` leaves of the address space.
pub fn available() -> Option<Available> {
    Available::read(Path::new("/"))
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Available {
    /// Bytes.
    pub bytes: u64,
    /// What says so.
    pub bound: Bound,
}

/// What bounds a process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// What the machine has left.
    System,
    /// The limit of a container.
    Container,
    /// `ulimit -v`.
    Process,
}

impl Bound {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Bound::System => "the system has",
            Bound::Container => "the container's limit leaves",
            Bound::Process => "the limit on the process (ulimit -v) leaves",
        }
    }
}

impl Available {
    /// As [`available`], of the files below `root`.
    fn read(root: &Path) -> Option<Available> {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let found = |bytes: Option<u64>, bound| bytes.map(|bytes| Available { bytes, bound });
        let system = text("proc/meminfo").and_then(|text| kilobytes(&text, "MemAvailable:"));
        let groups = text("proc/self/cgroup").unwrap_or_default();
        let container = groups.lines().filter_map(|line| group(root, line)).min();
        let limits = text("proc/self/limits");
        let limit = limits.and_then(|text| address_space(&text));
        let taken = text("proc/self/status").and_then(|text| kilobytes(&text, "VmSize:"));
        let process = limit.map(|limit| limit.saturating_sub(taken.unwrap_or(0)));
        let all = [
            found(system, Bound::System),
            found(container, Bound::Container),
            found(process, Bound::Process),
        ];
        all.into_iter().flatten().min()
    }
}

/// The bytes in the line of a file of `NAME: COUNT kB` lines.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

/// The soft limit on the address space in `/proc/self/limits`, where there is one.
fn address_space(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the limit of a control group leaves, or that of one around it: `line` is of `/proc/self/cgroup`,
/// `NUMBER:CONTROLLERS:PATH`.
fn group(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, limit, usage, cache) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
        c if c.split(',').any(|c| c == "memory") => (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file ",
        ),
        _ => return None,
    };
    let mount = root.join(mount);
    let own = mount.join(path.trim_start_matches('/'));
    // A container sees its own group at the mount, whatever the path says.
    let folders: Vec<PathBuf> = match own.is_dir() {
        true => own
            .ancestors()
            .take_while(|folder| folder.starts_with(&mount))
            .map(Path::to_owned)
            .collect(),
        false => vec![mount],
    };
    let left = |folder: &PathBuf| {
        let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        // "max" is no number.
        let limit = number(limit)?;
        let stat = text("memory.stat").unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cache));
        let cached = cached.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        Some(limit.saturating_sub(number(usage)?.saturating_sub(cached)))
    };
    folders.iter().filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a folder, and what they say.
    fn said(files: &[(&str, &str)]) -> Option<Available> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Available::read(root.path())
    }

    const SYSTEM: (&str, &str) = ("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    8000 kB\n");
    const SPACE: (&str, &str) = ("proc/self/status", "Name:\tweakseg\nVmSize:\t    1000 kB\n");

    #[test]
    fn the_least_of_system_container_and_process_counts() {
        let of = |bytes, bound| Some(Available { bytes, bound });
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[SYSTEM]), of(8_192_000, Bound::System));
        let limits = |limit: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax address space  {limit}  unlimited  bytes\n")
        };
        let (none, some) = (limits("unlimited"), limits("3000000"));
        assert_eq!(
            said(&[SYSTEM, SPACE, ("proc/self/limits", &none)]),
            of(8_192_000, Bound::System)
        );
        assert_eq!(
            said(&[SYSTEM, SPACE, ("proc/self/limits", &some)]),
            of(1_976_000, Bound::Process)
        );
    }

    #[test]
    fn control_groups_of_both_versions_are_read_with_those_around_them() {
        let bytes = |files: &[(&str, &str)]| {
            let mut all = vec![SYSTEM];
            all.extend(files);
            let found = said(&all).unwrap();
            (found.bytes, found.bound)
        };
        let two = ("proc/self/cgroup", "0::/user/run\n");
        assert_eq!(
            bytes(&[
                two,
                ("sys/fs/cgroup/user/run/memory.max", "max\n"),
                ("sys/fs/cgroup/user/run/memory.current", "100\n"),
                ("sys/fs/cgroup/user/memory.max", "5000\n"),
                ("sys/fs/cgroup/user/memory.current", "3000\n"),
                ("sys/fs/cgroup/user/memory.stat", "anon 1\ninactive_file 500\n"),
            ]),
            (2500, Bound::Container)
        );
        // In a container the path is that of the host.
        let at_mount = [
            two,
            ("sys/fs/cgroup/memory.max", "1000\n"),
            ("sys/fs/cgroup/memory.current", "2000\n"),
        ];
        assert_eq!(bytes(&at_mount), (0, Bound::Container));
        assert_eq!(
            bytes(&[
                ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "10\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "700\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "500\n"),
            ]),
            (200, Bound::Container)
        );
        assert_eq!(bytes(&[two]), (8_192_000, Bound::System));
    }

    #[test]
    fn this_machine_says_something_that_can_be() {
        if cfg!(target_os = "linux") {
            let found = available().unwrap();
            assert!(found.bytes > 1 << 20 && found.bytes < 1 << 50, "{found:?}");
        }
    }
}
