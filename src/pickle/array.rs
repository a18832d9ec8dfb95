//! Arrays of numpy inside of a pickle.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};

use super::value::PickleValue;
use crate::dtype::Dtype;

/// A type of numpy's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberType {
    /// The type; none for Python's objects.
    pub(super) dtype: Option<Dtype>,
    /// Whether the most significant byte comes first.
    pub(super) is_big_endian: bool,
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
    pub(super) number: Option<NumberType>,
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
