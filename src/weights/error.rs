//! What goes wrong with weight files. Texts are one line and name files; advice about a program's commands is the
//! program's to add.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::format::Format;

/// The variable that names the folder with fetched weights.
pub(super) const CACHE_VARIABLE: &str = "WEAKSEG_WEIGHTS";

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why weights could not be read, found, fetched or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened and mapped.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is often taken for weights.
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file of no format that is read here.
    UnknownFormat(PathBuf),
    /// A damaged or truncated file, or a pickle that would run code.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        format: Format,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file without tensors.
    NoTensors {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// What was left out while reading, one sentence each.
        notes: Vec<String>,
    },
    /// A file without the tensor of a name.
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A tensor's values cannot be decoded.
    DamagedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A network for which there are no published weights.
    UnknownNetwork(String),
    /// A file without the keys that weights of this network have.
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
    NoColours {
        /// The file.
        path: PathBuf,
        /// The tensor's key in it.
        key: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two tensors of a file are one parameter of the network.
    Twice {
        /// The file.
        path: PathBuf,
        /// Their keys in it.
        keys: [String; 2],
        /// The parameter's name.
        name: String,
    },
    /// A file holds a network several times.
    SeveralCopies {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
        /// What is before the keys of each.
        prefixes: Vec<String>,
    },
    /// A parameter has values that are not finite numbers.
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
    NothingToLoad {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
    },
    /// No published weights have this name.
    UnknownName {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Neither a file nor the name of published weights.
    NeitherFileNorName(PathBuf),
    /// None of a published file's sources gave it.
    NotFetched {
        /// The weights' name.
        name: String,
        /// What is wrong with each source.
        failures: Vec<String>,
        /// What to do by hand.
        remedy: String,
    },
    /// The user has no folder for caches.
    NoCache,
    /// The cache cannot be read.
    CacheRead {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache cannot be written.
    CacheWrite {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Tensors cannot be written as one file: names repeat, or shapes are too large.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key map or table that is part of the library is wrong, which its tests rule out.
    Asset(String),
    /// An error of something else, which names the file.
    Other(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable { path, reason } => {
                write!(f, "cannot read the weight file {}: {reason}", path.display())
            }
            Error::NotWeights { path, what } => {
                write!(f, "{} is no weight file but {what}", path.display())
            }
            Error::UnknownFormat(path) => write!(
                f,
                "{} is of no format that is known here: give a PyTorch (.pth), MXNet (.params), Caffe (.caffemodel) or safetensors file",
                path.display()
            ),
            Error::Damaged { path, format, reason } => {
                write!(f, "cannot read the weight file {} ({format}): {reason}", path.display())
            }
            Error::NoTensors { path, format, notes } => {
                write!(f, "{} ({format}) holds no tensors", path.display())?;
                if !notes.is_empty() {
                    let most = &notes[..notes.len().min(3)];
                    let rest = if most.len() < notes.len() { "; ..." } else { "" };
                    write!(f, " ({}{rest})", most.join("; "))?;
                }
                f.write_str(": give the file with a network's state_dict")
            }
            Error::NoTensor { path, name } => {
                write!(f, "{} has no tensor {name:?}", path.display())
            }
            Error::DamagedTensor { path, name, reason } => {
                write!(f, "tensor {name:?} of {}: {reason}", path.display())
            }
            Error::UnknownNetwork(network) => write!(
                f,
                "no published weights of {network:?} are known: use a ResNet38, VGG16, ResNet, pre-activation ResNet or EfficientNet-Lite"
            ),
            Error::OtherNetwork {
                path,
                format,
                network,
                sources,
            } => write!(
                f,
                "{} ({format}) does not hold weights of {network}: give {}",
                path.display(),
                sources.join(" or ")
            ),
            Error::Shape {
                path,
                key,
                network,
                name,
                shapes,
            } => write!(
                f,
                "{}: {key:?} has shape {:?}, but {name} of {network} has {:?}: give weights of the same network and width",
                path.display(),
                shapes[0],
                shapes[1]
            ),
            Error::NoColours { path, key, shape } => write!(
                f,
                "{}: {key:?} of shape {shape:?} has no colour channels to turn around",
                path.display()
            ),
            Error::Twice {
                path,
                keys: [first, second],
                name,
            } => write!(
                f,
                "{}: both {first:?} and {second:?} give {name}: remove one",
                path.display()
            ),
            Error::SeveralCopies {
                path,
                network,
                prefixes,
            } => write!(
                f,
                "{} holds the weights of {network} {} times, under {}: save one of these alone",
                path.display(),
                prefixes.len(),
                prefixes.join(", ")
            ),
            Error::NotFinite {
                path,
                key,
                first,
                count,
                total,
            } => write!(
                f,
                "{}: {count} of the {total} values of {key:?} are not finite numbers (the first is {first}): its training has gone wrong, give an earlier checkpoint",
                path.display()
            ),
            Error::NothingToLoad { path, network } => {
                write!(f, "{} holds no parameter of {network}", path.display())
            }
            Error::UnknownName { name, known } => {
                write!(f, "no published weights are called {name:?}: use {}", known.join(", "))
            }
            Error::NeitherFileNorName(path) => write!(
                f,
                "{} is neither a file nor the name of published weights",
                path.display()
            ),
            Error::NotFetched { name, failures, remedy } => {
                write!(f, "cannot fetch {name}: {}: {remedy}", failures.join("; "))
            }
            Error::NoCache => write!(
                f,
                "this user has no folder for caches: set {CACHE_VARIABLE} to a folder for weight files"
            ),
            Error::CacheRead { path, source } => write!(
                f,
                "cannot read {}: {source}: make it readable, or set {CACHE_VARIABLE} to another folder",
                path.display()
            ),
            Error::CacheWrite { path, source } => {
                let remedy = if is_full(source) {
                    "free some space"
                } else {
                    "make the folder writable"
                };
                write!(
                    f,
                    "cannot write {}: {source}: {remedy}, or set {CACHE_VARIABLE} to another folder",
                    path.display()
                )
            }
            Error::Unwritable { path, reason } => {
                write!(f, "cannot write {}: {reason}", path.display())
            }
            Error::Asset(text) => {
                write!(f, "{text}: this is a bug in weakseg, please report it")
            }
            Error::Other(source) => source.fmt(f),
        }
    }
}

impl StdError for Error {
    /// What lies behind the error of the system or of something else, whose own text is part of this one's.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::CacheRead { source, .. } | Error::CacheWrite { source, .. } => source.source(),
            Error::Other(source) => source.source(),
            _ => None,
        }
    }
}

/// Whether it is a lack of space.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// All that an error inside of this module says, in one line.
pub(super) fn reason(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
