//! The types of numbers in files of other programs.

use half::{bf16, f16};

/// Element type of a stored tensor, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE half precision.
    F16,
    /// Upper half of a float32.
    BF16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// Single precision.
    F32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// Double precision.
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }

    /// Its name as numpy and PyTorch have it, such as `float32`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::U8 => "uint8",
            Dtype::I8 => "int8",
            Dtype::U16 => "uint16",
            Dtype::I16 => "int16",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::U32 => "uint32",
            Dtype::I32 => "int32",
            Dtype::F32 => "float32",
            Dtype::U64 => "uint64",
            Dtype::I64 => "int64",
            Dtype::F64 => "float64",
        }
    }

    /// What turns the bytes of one element into the nearest float32.
    pub(crate) fn reader(self) -> fn(&[u8]) -> f32 {
        // A chunk is never short here; a zero is cheaper than a panic in every loop.
        fn le<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.first_chunk().copied().unwrap_or([0; N])
        }
        match self {
            Dtype::Bool => |b| f32::from(u8::from(le::<1>(b) != [0])),
            Dtype::U8 => |b| f32::from(u8::from_le_bytes(le(b))),
            Dtype::I8 => |b| f32::from(i8::from_le_bytes(le(b))),
            Dtype::U16 => |b| f32::from(u16::from_le_bytes(le(b))),
            Dtype::I16 => |b| f32::from(i16::from_le_bytes(le(b))),
            Dtype::F16 => |b| f16::from_le_bytes(le(b)).to_f32(),
            Dtype::BF16 => |b| bf16::from_le_bytes(le(b)).to_f32(),
            Dtype::U32 => |b| u32::from_le_bytes(le(b)) as f32,
            Dtype::I32 => |b| i32::from_le_bytes(le(b)) as f32,
            Dtype::F32 => |b| f32::from_le_bytes(le(b)),
            Dtype::U64 => |b| u64::from_le_bytes(le(b)) as f32,
            Dtype::I64 => |b| i64::from_le_bytes(le(b)) as f32,
            Dtype::F64 => |b| f64::from_le_bytes(le(b)) as f32,
        }
    }
}
