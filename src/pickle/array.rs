//! Arrays of numpy inside of a pickle.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};

use super::heap::{Heap, Object, PickleValue};
use crate::dtype::Dtype;

/// Most dimensions of an array; numpy's own limit was this for long.
const MAX_DIMENSIONS: usize = 32;

/// A type of numpy's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberType {
    /// The type; none for Python's objects.
    dtype: Option<Dtype>,
    /// Whether the most significant byte comes first.
    is_big_endian: bool,
}

impl NumberType {
    /// What `numpy.dtype(code, ...)` gives; none for the types that are not read, such as text.
    pub(super) fn named(arguments: &[PickleValue]) -> Option<NumberType> {
        let Some(PickleValue::Text(code)) = arguments.first() else {
            return None;
        };
        let dtype = match *code {
            "b1" => Dtype::Bool,
            "u1" => Dtype::U8,
            "i1" => Dtype::I8,
            "u2" => Dtype::U16,
            "i2" => Dtype::I16,
            "f2" => Dtype::F16,
            "u4" => Dtype::U32,
            "i4" => Dtype::I32,
            "f4" => Dtype::F32,
            "u8" => Dtype::U64,
            "i8" => Dtype::I64,
            "f8" => Dtype::F64,
            "O8" | "O4" | "O" => {
                return Some(NumberType {
                    dtype: None,
                    is_big_endian: false,
                });
            }
            _ => return None,
        };
        Some(NumberType {
            dtype: Some(dtype),
            is_big_endian: false,
        })
    }

    /// With the byte order of its state `(version, order, ...)`.
    pub(super) fn built<'a>(self, state: PickleValue<'a>, heap: &Heap<'a>) -> NumberType {
        let order = heap.sequence(state).and_then(|state| state.get(1));
        NumberType {
            is_big_endian: order == Some(&PickleValue::Text(">")),
            ..self
        }
    }
}

/// Where the values of an array are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    /// Bytes of the pickle.
    Bytes(&'a [u8]),
    /// Bytes of the pickle, one for each character.
    Latin1(&'a str),
    /// A list of Python's objects.
    Objects(PickleValue<'a>),
    /// Values of a type, or in a form, that is not read.
    Unknown,
}

/// An array or scalar of numpy. Its size is not checked before [`Array::values`].
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    /// Type of its numbers; none where it holds objects, or is not read.
    number: Option<NumberType>,
    /// Dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// Whether the first dimension runs fastest in memory.
    pub is_fortran: bool,
    /// Where its values are.
    pub raw: Raw<'a>,
}

impl<'a> Array<'a> {
    /// One of which nothing is known.
    pub(super) fn unknown() -> Self {
        Array {
            number: None,
            shape: Vec::new(),
            is_fortran: false,
            raw: Raw::Unknown,
        }
    }

    /// With the state `(version, shape, type, is_fortran, values)` of `numpy.ndarray.__setstate__`; none where it has
    /// another form.
    pub(super) fn built(state: PickleValue<'a>, heap: &Heap<'a>) -> Option<Self> {
        let [_, shape, number, PickleValue::Bool(is_fortran), values] = heap.sequence(state)?
        else {
            return None;
        };
        Self::of(*values, *number, *shape, *is_fortran, heap)
    }

    /// What `numpy._core.multiarray.scalar(type, bytes)` gives.
    pub(super) fn scalar(arguments: &[PickleValue<'a>], heap: &Heap<'a>) -> Self {
        let scalar = match arguments {
            [number, values] => Some(Array {
                number: number_type(*number, heap),
                raw: raw(*values, heap),
                ..Self::unknown()
            }),
            _ => None,
        };
        scalar.unwrap_or_else(Self::unknown)
    }

    /// What `numpy._core.numeric._frombuffer(bytes, type, shape, order)` gives.
    pub(super) fn from_buffer(arguments: &[PickleValue<'a>], heap: &Heap<'a>) -> Self {
        let array = match arguments {
            [values, number, shape, PickleValue::Text(order)] => {
                Self::of(*values, *number, *shape, *order == "F", heap)
            }
            _ => None,
        };
        array.unwrap_or_else(Self::unknown)
    }

    fn of(
        values: PickleValue<'a>,
        number: PickleValue<'a>,
        shape: PickleValue<'a>,
        is_fortran: bool,
        heap: &Heap<'a>,
    ) -> Option<Self> {
        let shape = heap.sequence(shape)?;
        if shape.len() > MAX_DIMENSIONS {
            return None;
        }
        let size = |value: &PickleValue| match value {
            PickleValue::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        Some(Array {
            number: number_type(number, heap),
            shape: shape.iter().map(size).collect::<Option<_>>()?,
            is_fortran,
            raw: raw(values, heap),
        })
    }

    /// Type of its numbers; none where it holds objects, or is not read.
    pub fn dtype(&self) -> Option<Dtype> {
        self.number.and_then(|number| number.dtype)
    }

    /// Bytes that its numbers take, by its shape.
    ///
    /// # Errors
    /// Where it holds something else than numbers, or has another number of bytes than that.
    pub fn bytes(&self) -> Result<usize> {
        let dtype = self
            .dtype()
            .context("an array in its pickle holds something else than numbers")?;
        let there = match self.raw {
            Raw::Bytes(bytes) => bytes.len(),
            Raw::Latin1(text) => text.chars().count(),
            Raw::Objects(_) | Raw::Unknown => 0,
        };
        let promised = self
            .shape
            .iter()
            .try_fold(dtype.size(), |product, n| product.checked_mul(*n));
        ensure!(
            promised == Some(there),
            "an array of shape {:?} and type {} in its pickle has {there} bytes: the file is damaged",
            self.shape,
            dtype.name()
        );
        Ok(there)
    }

    /// Its numbers in the order of memory, as float32.
    ///
    /// # Errors
    /// As [`Self::bytes`], before anything is allocated.
    pub fn values(&self) -> Result<Vec<f32>> {
        self.bytes()?;
        let bytes: Cow<[u8]> = match self.raw {
            Raw::Bytes(bytes) => Cow::Borrowed(bytes),
            Raw::Latin1(text) => {
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                let bytes: Result<Vec<u8>, _> = bytes.collect();
                Cow::Owned(bytes.context("an array in its pickle is damaged")?)
            }
            Raw::Objects(_) | Raw::Unknown => Cow::Borrowed(&[]),
        };
        let Some(NumberType {
            dtype: Some(dtype),
            is_big_endian,
        }) = self.number
        else {
            return Ok(Vec::new());
        };
        let read = dtype.reader();
        let chunks = bytes.chunks_exact(dtype.size());
        Ok(match is_big_endian {
            false => chunks.map(read).collect(),
            true => chunks
                .map(|chunk| {
                    let mut turned = [0; 8];
                    let turned = &mut turned[..dtype.size()];
                    turned.copy_from_slice(chunk);
                    turned.reverse();
                    read(turned)
                })
                .collect(),
        })
    }
}

fn number_type<'a>(value: PickleValue<'a>, heap: &Heap<'a>) -> Option<NumberType> {
    match heap.get(value) {
        Some(Object::NumberType(number)) => Some(*number),
        _ => None,
    }
}

/// What may be the values of an array. Python 2 writes bytes as text, which is text where it is valid.
fn raw<'a>(values: PickleValue<'a>, heap: &Heap<'a>) -> Raw<'a> {
    match values {
        PickleValue::Bytes(bytes) => Raw::Bytes(bytes),
        PickleValue::Text(text) => Raw::Bytes(text.as_bytes()),
        PickleValue::Latin1(text) => Raw::Latin1(text),
        _ if heap.sequence(values).is_some() => Raw::Objects(values),
        _ => Raw::Unknown,
    }
}
