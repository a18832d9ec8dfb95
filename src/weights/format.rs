//! Formats of weight files.

use std::fmt;

use serde::Deserialize;

use super::mxnet;

/// Format of a weight file, told by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// What `torch.save` writes since version 1.6: a zip archive.
    TorchZip,
    /// What `torch.save` wrote before: pickles and raw storages.
    TorchLegacy,
    /// MXNet's NDArray list, `.params`.
    Mxnet,
    /// Caffe's `.caffemodel`.
    Caffe,
    /// safetensors.
    Safetensors,
}

impl Format {
    /// Extensions that files of this format have.
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::TorchZip | Format::TorchLegacy => &["pth", "pt", "pkl", "bin", "ckpt", "tar", "model"],
            Format::Mxnet => &["params"],
            Format::Caffe => &["caffemodel"],
            Format::Safetensors => &["safetensors"],
        }
    }

    /// The format of a file that starts with `start`. Caffe's has no mark of its own: it is what is left.
    pub(super) fn of(start: &[u8]) -> Format {
        // First, because the length of a safetensors header may be what another format starts with.
        if is_safetensors(start) {
            Format::Safetensors
        } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            Format::TorchZip
        } else if start.first() == Some(&0x80) {
            Format::TorchLegacy
        } else if start.starts_with(&mxnet::MAGIC.to_le_bytes()) {
            Format::Mxnet
        } else if start.get(8) == Some(&b'{') {
            Format::Safetensors
        } else {
            Format::Caffe
        }
    }
}

/// Whether a file starts as one of safetensors does: the header's length as eight bytes, of which the upper four are
/// zero in all that the format allows (100 MB), and the brace that opens the header. No other format has both: a zip
/// archive's ninth byte is a method of compression, that of MXNet's list is zero, and after two bytes of a pickle's
/// protocol no opcode is zero.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', ..]) && start[..4] != [0; 4]
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::TorchZip => "PyTorch zip",
            Format::TorchLegacy => "PyTorch legacy pickle",
            Format::Mxnet => "MXNet params",
            Format::Caffe => "Caffe caffemodel",
            Format::Safetensors => "safetensors",
        })
    }
}
