//! What goes wrong with weight files. Texts are one line and name files; advice about a program's commands is the
//! program's to add.

use std::io;
use std::path::PathBuf;

use super::format::Format;

/// The variable that names the folder with fetched weights.
pub(super) const CACHE_VARIABLE: &str = "WEAKSEG_WEIGHTS";

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why weights could not be read, found, fetched or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened and mapped.
    #[error("cannot read the weight file {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is often taken for weights.
    #[error("{} is no weight file but {what}", .path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file of no format that is read here.
    #[error("{} is of no format that is known here: give a PyTorch (.pth), MXNet (.params), Caffe (.caffemodel) or safetensors file", .0.display())]
    UnknownFormat(PathBuf),
    /// A damaged or truncated file, or a pickle that would run code.
    #[error("cannot read the weight file {} ({format}): {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        format: Format,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file without tensors.
    #[error("{} ({format}) holds no tensors{}: give the file with a network's state_dict", .path.display(), left_out(.notes))]
    NoTensors {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// What was left out while reading, one sentence each.
        notes: Vec<String>,
    },
    /// A file without the tensor of a name.
    #[error("{} has no tensor {name:?}", .path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A tensor's values cannot be decoded.
    #[error("tensor {name:?} of {}: {reason}", .path.display())]
    DamagedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A network for which there are no published weights.
    #[error(
        "no published weights of {0:?} are known: use a ResNet38, VGG16, ResNet, pre-activation ResNet or EfficientNet-Lite"
    )]
    UnknownNetwork(String),
    /// A file without the keys that weights of this network have.
    #[error("{} ({format}) does not hold weights of {network}: give {}", .path.display(), .sources.join(" or "))]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// The network.
        network: String,
        /// Where its weights come from, and a key that each of these has.
        sources: Vec<String>,
    },
    /// A tensor of another shape than the network's parameter.
    #[error("{}: {key:?} has shape {:?}, but {name} of {network} has {:?}: give weights of the same network and width", .path.display(), .shapes[0], .shapes[1])]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's key in it.
        key: String,
        /// The network.
        network: String,
        /// The parameter's name.
        name: String,
        /// The tensor's shape, and the parameter's.
        shapes: Box<[Vec<usize>; 2]>,
    },
    /// A kernel whose colours should be turned around has none.
    #[error("{}: {key:?} of shape {shape:?} has no colour channels to turn around", .path.display())]
    NoColours {
        /// The file.
        path: PathBuf,
        /// The tensor's key in it.
        key: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two tensors of a file are one parameter of the network.
    #[error("{}: both {:?} and {:?} give {name}: remove one", .path.display(), .keys[0], .keys[1])]
    Twice {
        /// The file.
        path: PathBuf,
        /// Their keys in it.
        keys: [String; 2],
        /// The parameter's name.
        name: String,
    },
    /// A file holds a network several times.
    #[error("{} holds the weights of {network} {} times, under {}: save one of these alone", .path.display(), .prefixes.len(), .prefixes.join(", "))]
    SeveralCopies {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
        /// What is before the keys of each.
        prefixes: Vec<String>,
    },
    /// A parameter has values that are not finite numbers.
    #[error("{}: {count} of the {total} values of {key:?} are not finite numbers (the first is {first}): its training has gone wrong, give an earlier checkpoint", .path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's key in it.
        key: String,
        /// The first such value.
        first: f32,
        /// How many there are.
        count: usize,
        /// How many values the tensor has.
        total: usize,
    },
    /// A file holds no parameter of the network.
    #[error("{} holds no parameter of {network}", .path.display())]
    NothingToLoad {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
    },
    /// No published weights have this name.
    #[error("no published weights are called {name:?}: use {}", .known.join(", "))]
    UnknownName {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Neither a file nor the name of published weights.
    #[error("{} is neither a file nor the name of published weights", .0.display())]
    NeitherFileNorName(PathBuf),
    /// None of a published file's sources gave it.
    #[error("cannot fetch {name}: {}: {remedy}", .failures.join("; "))]
    NotFetched {
        /// The weights' name.
        name: String,
        /// What is wrong with each source.
        failures: Vec<String>,
        /// What to do by hand.
        remedy: String,
    },
    /// The user has no folder for caches.
    #[error("this user has no folder for caches: set {CACHE_VARIABLE} to a folder for weight files")]
    NoCache,
    /// The cache cannot be read.
    #[error("cannot read {}: {reason}: make it readable, or set {CACHE_VARIABLE} to another folder", .path.display())]
    CacheRead {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The cache cannot be written.
    #[error("cannot write {}: {reason}: {}, or set {CACHE_VARIABLE} to another folder", .path.display(), remedy(.reason))]
    CacheWrite {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Tensors cannot be written as one file: names repeat, or shapes are too large.
    #[error("cannot write {}: {reason}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key map or table that is part of the library is wrong, which its tests rule out.
    #[error("{0}: this is a bug in weakseg, please report it")]
    Asset(String),
    /// An error of something else, which names the file.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// What was left out of a file while reading it, as far as one line holds it.
fn left_out(notes: &[String]) -> String {
    let most = &notes[..notes.len().min(3)];
    match notes.len() {
        0 => String::new(),
        n if n > most.len() => format!(" ({}; ...)", most.join("; ")),
        _ => format!(" ({})", most.join("; ")),
    }
}

/// What to do where the cache cannot be written.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => "free some space",
        _ => "make the folder writable",
    }
}

/// All that an error inside of this module says, in one line.
pub(super) fn reason(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
