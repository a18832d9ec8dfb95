//! A golden file: tensors and parameters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::formula;

/// A tensor of a golden file, whatever its type, as f64.
#[derive(Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    pub fn i32(&self) -> Vec<i32> {
        self.values.iter().map(|v| *v as i32).collect()
    }
}

pub struct Golden {
    path: PathBuf,
    /// File name without extension.
    pub name: String,
    pub meta: HashMap<String, String>,
    /// Empty before [`Golden::decode`].
    pub tensors: HashMap<String, Array>,
}

impl Golden {
    /// Reads the parameters; a file that has none, or is none, may be for others than these tests.
    pub fn open(path: &Path) -> Golden {
        let bytes = std::fs::read(path).unwrap_or_default();
        let header = SafeTensors::read_metadata(&bytes).ok();
        Golden {
            path: path.to_owned(),
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            meta: header
                .and_then(|(_, header)| header.metadata().clone())
                .unwrap_or_default(),
            tensors: HashMap::new(),
        }
    }

    /// Reads the tensors.
    pub fn decode(&mut self) {
        let path = &self.path;
        let bytes = std::fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => numbers(data, |b| f64::from(f32::from_le_bytes(b))),
                Dtype::F64 => numbers(data, f64::from_le_bytes),
                Dtype::I32 => numbers(data, |b| f64::from(i32::from_le_bytes(b))),
                Dtype::I64 => numbers(data, |b| i64::from_le_bytes(b) as f64),
                Dtype::U8 => numbers(data, |b| f64::from(u8::from_le_bytes(b))),
                other => panic!("{}: type {other:?} of {name}", path.display()),
            };
            let shape = view.shape().to_vec();
            (name.to_string(), Array { shape, values })
        });
        self.tensors = tensors.collect();
    }

    pub fn tensor(&self, name: &str) -> &Array {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("{}: no tensor {name}", self.name))
    }

    pub fn text(&self, key: &str) -> &str {
        self.meta
            .get(key)
            .unwrap_or_else(|| panic!("{}: no parameter {key}", self.name))
    }

    pub fn number(&self, key: &str) -> f64 {
        let text = self.text(key);
        text.parse()
            .unwrap_or_else(|_| panic!("{}: {key} = {text:?}", self.name))
    }

    pub fn usize(&self, key: &str) -> usize {
        self.number(key) as usize
    }

    /// The number that follows `word` in the text of a parameter: `base lr 0.01, ...`.
    pub fn number_after(&self, key: &str, word: &str) -> f64 {
        self.try_number_after(key, word)
            .unwrap_or_else(|| panic!("{}: no number after {word:?} in {:?}", self.name, self.text(key)))
    }

    /// As [`Golden::number_after`]; `None` where the text does not have it.
    pub fn try_number_after(&self, key: &str, word: &str) -> Option<f64> {
        let (_, rest) = self.text(key).split_once(word)?;
        let rest = rest.trim_start();
        // "2x" is a factor of two.
        let end = rest.find([' ', ',', ';', ')', ']', 'x']);
        rest[..end.unwrap_or(rest.len())].parse().ok()
    }

    /// The tensor that a parameter describes as `tensor(NAME, [SHAPE], LOW, HIGH)`, SALT filled in.
    pub fn described(&self, key: &str) -> Array {
        self.described_with(key, str::to_owned)
    }

    /// The two tensors that a parameter describes as `tensor(PATH/M and .../N, [SHAPE], LOW, HIGH)`.
    pub fn described_pair(&self, key: &str) -> [Array; 2] {
        [false, true].map(|second| {
            self.described_with(key, |names| {
                let (first, other) = names.split_once(" and .../").unwrap_or((names, names));
                match first.rsplit_once('/') {
                    Some((path, _)) if second => format!("{path}/{other}"),
                    _ => first.to_owned(),
                }
            })
        })
    }

    fn described_with(&self, key: &str, name_of: impl Fn(&str) -> String) -> Array {
        let text = self.text(key);
        let inside = text.split_once("tensor(").map(|(_, rest)| rest);
        let parts = inside.and_then(|rest| {
            let (name, rest) = rest.split_once(", [")?;
            let (shape, rest) = rest.split_once("], ")?;
            let (low, rest) = rest.split_once(", ")?;
            let (high, _) = rest.split_once(')')?;
            Some((name, shape, low, high))
        });
        let (name, shape, low, high) = parts.unwrap_or_else(|| panic!("{}: {key} = {text:?}", self.name));
        let name = name_of(name).replace("SALT", self.meta.get("salt").map_or("", String::as_str));
        let shape: Vec<usize> = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
        let (low, high) = (low.parse().unwrap(), high.parse().unwrap());
        let values = formula::tensor(&name, shape.iter().product(), low, high);
        Array { shape, values }
    }
}

fn numbers<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).map(|c| read(c.try_into().unwrap())).collect()
}

/// Whether `WEAKSEG_GOLDEN` names the folder.
pub fn is_elsewhere() -> bool {
    std::env::var_os("WEAKSEG_GOLDEN").is_some()
}

/// All golden files below `tests/golden/`, or below the folder that `WEAKSEG_GOLDEN` names, in order of name, but for
/// weight files, which `tests/weights.rs` reads.
pub fn all() -> Vec<PathBuf> {
    let root = std::env::var_os("WEAKSEG_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}")) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("weights") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "safetensors") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
