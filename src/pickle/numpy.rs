//! What the calls of numpy in a pickle make: types of numbers, arrays and scalars.

use super::array::{Array, NumberType, Raw};
use super::heap::{Heap, Object};
use super::value::PickleValue;
use crate::dtype::Dtype;

/// Most dimensions of an array; numpy's own limit was this for long.
const MAX_DIMENSIONS: usize = 32;

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

impl<'a> Array<'a> {
    /// With the state `(version, shape, type, is_fortran, values)` of `numpy.ndarray.__setstate__`; none where it has
    /// another form.
    pub(super) fn built(state: PickleValue<'a>, heap: &Heap<'a>) -> Option<Self> {
        let [_, shape, number, PickleValue::Bool(is_fortran), values] = heap.sequence(state)? else {
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
        Some(Array {
            number: number_type(number, heap),
            shape: shape.iter().map(|size| size.natural()).collect::<Option<_>>()?,
            is_fortran,
            raw: raw(values, heap),
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
