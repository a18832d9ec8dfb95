//! Running the program, and making the files that it is run on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::{GrayImage, Luma, Rgb, RgbImage};

/// The program that these tests are of.
pub const WEAKSEG: &str = env!("CARGO_BIN_EXE_weakseg");

/// A recipe of a few small steps, for a data set of any kind.
pub const SMALL: [&str; 12] = [
    "--device",
    "cpu",
    "--recipe",
    "smoke",
    "--set",
    "classify.augment.crop=48",
    "--set",
    "affinity.training.augment.crop=48",
    "--set",
    "segment.augment.crop=48",
    "--set",
    "propagate.steps=4",
];
/// The same on a built-in data set of six training and two validation images.
pub const SMALL_SHAPES: [&str; 6] = [
    "--set",
    "shapes.size=48",
    "--set",
    "shapes.train=6",
    "--set",
    "shapes.val=2",
];

/// What a run of the program left on its terminal.
pub struct Ran {
    /// Exit status.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the program in `folder`; no outcome may look like a crash.
pub fn weakseg(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(WEAKSEG);
    command.args(args);
    run(folder, command, Duration::from_secs(300))
}

/// As [`weakseg`], with time for a software adapter that has nothing tuned yet.
pub fn weakseg_slowly(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(WEAKSEG);
    command.args(args);
    run(folder, command, Duration::from_secs(1800))
}

/// As [`weakseg`], of a small recipe.
pub fn small(folder: &Path, args: &[&str]) -> Ran {
    weakseg(folder, &[args, &SMALL].concat())
}

/// As [`weakseg`], of a small recipe on the small built-in data set.
pub fn small_shapes(folder: &Path, args: &[&str]) -> Ran {
    weakseg(folder, &[args, &SMALL, &SMALL_SHAPES].concat())
}

/// Under the limits that the shell commands `limits` set.
#[cfg(target_os = "linux")]
pub fn limited(folder: &Path, limits: &str, args: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    let script = format!("{limits}; exec \"$@\"");
    command.args(["-c", &script, "sh", WEAKSEG]).args(args);
    run(folder, command, Duration::from_secs(300))
}

fn run(folder: &Path, mut command: Command, limit: Duration) -> Ran {
    command
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        // Few threads: the memory that a test may use is not for their stacks.
        .env("RAYON_NUM_THREADS", "2");
    let output = assert_cmd::Command::from_std(command).timeout(limit).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    for word in ["panicked", "backtrace", "RUST_BACKTRACE", "is a bug"] {
        assert!(!ran.err.contains(word), "{}", ran.err);
    }
    ran
}

impl Ran {
    /// It ended well.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// It ended with status 1 and one line about it, the last, which contains all of `parts`.
    #[track_caller]
    pub fn fails(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.err);
        let last = self.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{}", self.err);
        for part in parts {
            assert!(last.contains(part), "no {part:?} in: {}", self.err);
        }
        assert_eq!(self.out, "", "results of a failure");
        self
    }

    /// One of its warnings contains all of `parts`.
    #[track_caller]
    pub fn warns(&self, parts: &[&str]) -> &Self {
        let mut warnings = self.err.lines().filter(|l| l.starts_with("warning: "));
        let found = warnings.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no warning with {parts:?} in: {}", self.err);
        self
    }
}

/// The bytes of every file below `folder` but the lock, by path relative to it with `/`.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            // Windows lets nobody read a file that is locked.
            let is_lock = path.ends_with(".lock");
            if path.is_dir() {
                folders.push(path);
            } else if !is_lock {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy();
                found.insert(name.replace('\\', "/"), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The results among a run's [`files`]: networks, curves, maps and masks, without what tells times and places.
pub fn results(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_result = |name: &String| name.contains('/');
    let mut found = files(run);
    found.retain(|name, _| is_result(name));
    for (name, bytes) in &mut found {
        if name.ends_with("metrics.csv") {
            *bytes = without_speed(bytes);
        }
    }
    found
}

/// A `metrics.csv` without its last column, which is images per second.
fn without_speed(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let cut = |line: &str| {
        line.rsplit_once(',')
            .map_or(String::new(), |(kept, _)| format!("{kept}\n"))
    };
    assert!(text.lines().next().unwrap().ends_with("images_per_second"));
    text.lines().map(cut).collect::<String>().into_bytes()
}

/// Fails with the names of the files that differ, not with their bytes.
#[track_caller]
pub fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    let differ = |name: &&String| a.get(*name) != b.get(*name);
    let names: Vec<_> = a.keys().chain(b.keys()).filter(differ).collect();
    assert!(names.is_empty(), "these differ: {names:?}");
}

/// The JSON in a file.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A picture that is nowhere flat.
pub fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 7 + y) as u8, (y * 5) as u8, (x * y) as u8])
    })
}

/// A mask with a block of `value` in the background.
pub fn mask(width: u32, height: u32, value: u8) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if 2 * x < width && 2 * y < height { value } else { 0 }])
    })
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A PNG of 20,000 x 20,000 pixels that is a valid header and nothing behind it.
pub fn huge_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 20_000, 20_000);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[]).unwrap();
    drop(writer);
    bytes
}

/// A folder data set in `folder`: four tagged pictures `a.png` to `d.png` of two sizes, classes cat and dog.
pub fn pets(folder: &Path) {
    let tags = "file,tags\na.png,cat\nb.png,dog\nc.png,cat;dog\nd.png,dog\n";
    write(&folder.join("tags.csv"), tags);
    for (name, size) in [("a", 40), ("b", 52), ("c", 52), ("d", 40)] {
        let path = folder.join(format!("{name}.png"));
        picture(size, 44).save(path).unwrap();
    }
}
