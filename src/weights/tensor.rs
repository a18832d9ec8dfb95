//! A tensor inside of a weight file: where its bytes are, and how they become float32 values.

use std::borrow::Cow;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use flate2::read::DeflateDecoder;

use crate::dtype::Dtype;

/// Bytes in the mapped file.
#[derive(Clone, Debug)]
pub enum TensorBytes {
    /// As they are.
    Plain(Bytes),
    /// Compressed by deflate, `size` bytes when unpacked.
    Deflated {
        /// The compressed bytes.
        packed: Bytes,
        /// Unpacked size, which whoever made this has checked to be plausible.
        size: usize,
    },
}

impl TensorBytes {
    /// Number of bytes when unpacked.
    pub fn len(&self) -> usize {
        match self {
            TensorBytes::Plain(bytes) => bytes.len(),
            TensorBytes::Deflated { size, .. } => *size,
        }
    }

    /// The bytes, unpacked where they are compressed. Errors where that gives another number of bytes than declared.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            TensorBytes::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            TensorBytes::Deflated { packed, size } => {
                let mut unpacked = Vec::new();
                DeflateDecoder::new(&packed[..])
                    .take(*size as u64 + 1)
                    .read_to_end(&mut unpacked)
                    .context("its compressed data is damaged")?;
                ensure!(
                    unpacked.len() == *size,
                    "it does not unpack to the {size} bytes that it declares"
                );
                Ok(Cow::Owned(unpacked))
            }
        }
    }
}

/// One tensor of a weight file. Its range and its strides have been checked against the file.
#[derive(Clone, Debug)]
pub struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data: TensorBytes,
    /// First element, counted in elements from the start of `data`.
    offset: usize,
    /// Step of each dimension in elements; `None` where the values follow one another.
    strides: Option<Vec<usize>>,
}

impl Entry {
    /// A row-major tensor that fills `data`. Errors where it does not.
    pub fn new(dtype: Dtype, shape: Vec<usize>, data: Bytes) -> Result<Self> {
        let bytes = elements(&shape).and_then(|n| n.checked_mul(dtype.size()));
        ensure!(
            bytes == Some(data.len()),
            "shape {shape:?} of {} does not fit its {} bytes: the file is damaged, get it again",
            dtype.name(),
            data.len()
        );
        Ok(Self {
            dtype,
            shape,
            data: TensorBytes::Plain(data),
            offset: 0,
            strides: None,
        })
    }

    /// A tensor over part of `data`, from element `offset` on. Errors where it leaves `data` or overlaps itself.
    pub fn strided(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        data: TensorBytes,
    ) -> Result<Self> {
        ensure!(
            shape.len() == strides.len(),
            "it has {} dimensions but {} strides",
            shape.len(),
            strides.len()
        );
        let mut steps: Vec<(usize, usize)> = strides
            .iter()
            .copied()
            .zip(shape.iter().copied())
            .filter(|(_, size)| *size != 1)
            .collect();
        let is_row_major = steps
            .iter()
            .rev()
            .try_fold(1usize, |expected, (stride, size)| {
                (*stride == expected).then(|| expected.saturating_mul(*size))
            })
            .is_some();
        steps.sort_unstable();
        // Ordered by stride, each dimension has to step over all that the ones before it cover.
        let mut reach = 1usize;
        for (stride, size) in steps {
            ensure!(
                size == 0 || stride >= reach,
                "its strides {strides:?} make values of shape {shape:?} overlap: save a contiguous copy of it"
            );
            reach = stride
                .checked_mul(size.saturating_sub(1))
                .and_then(|span| span.checked_add(reach))
                .context("its strides are too large")?;
        }
        let is_empty = shape.contains(&0);
        let end = if is_empty { Some(0) } else { offset.checked_add(reach) };
        ensure!(
            end.is_some_and(|end| end <= data.len() / dtype.size()) && elements(&shape).is_some(),
            "shape {shape:?} from element {offset} on reaches beyond its storage of {} bytes: the file is damaged, get it again",
            data.len()
        );
        Ok(Self {
            dtype,
            shape,
            data,
            offset: if is_empty { 0 } else { offset },
            strides: (!is_row_major && !is_empty).then_some(strides),
        })
    }

    /// Element type in the file.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Dimensions; none for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values in row-major order, as float32. Errors where compressed data is damaged.
    pub fn values(&self) -> Result<Vec<f32>> {
        let bytes = self.data.bytes()?;
        let (size, read) = (self.dtype.size(), self.dtype.reader());
        let start = self.offset * size;
        let Some(strides) = &self.strides else {
            let end = start + self.elements() * size;
            return Ok(bytes[start..end].chunks_exact(size).map(read).collect());
        };
        let mut values = Vec::with_capacity(self.elements());
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..self.elements() {
            values.push(read(&bytes[at * size..]));
            // The next index in row-major order: the last dimension runs fastest.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                at += strides[d];
                if index[d] < self.shape[d] {
                    break;
                }
                at -= index[d] * strides[d];
                index[d] = 0;
            }
        }
        Ok(values)
    }
}

/// Number of values of `shape`, if that is a number.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes it zero, but only where the other dimensions are sane as well.
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn floats(count: u8) -> TensorBytes {
        TensorBytes::Plain((0..count).flat_map(|v| f32::from(v).to_le_bytes()).collect())
    }

    fn strided(shape: &[usize], strides: &[usize], offset: usize) -> Result<Vec<f32>> {
        Entry::strided(Dtype::F32, shape.into(), strides.into(), offset, floats(12))?.values()
    }

    #[test]
    fn strides_are_honoured() {
        let rows = strided(&[2, 3], &[3, 1], 4).unwrap();
        assert_eq!(rows, [4., 5., 6., 7., 8., 9.]);
        let transposed = strided(&[3, 2], &[1, 3], 4).unwrap();
        assert_eq!(transposed, [4., 7., 5., 8., 6., 9.]);
        // Channels last: [1, 2, 2, 3] with channels innermost; the stride of the single batch means nothing.
        let last = strided(&[1, 2, 2, 3], &[77, 1, 6, 2], 0).unwrap();
        assert_eq!(last, [0., 2., 4., 6., 8., 10., 1., 3., 5., 7., 9., 11.]);
        assert_eq!(strided(&[], &[], 11).unwrap(), [11.]);
        assert!(strided(&[0, 5], &[5, 1], 99).unwrap().is_empty());
    }

    #[test]
    fn tensors_stay_inside_of_their_storage_and_apart_from_themselves() {
        let max = usize::MAX;
        for (shape, strides, offset) in [
            (vec![2, 3], vec![3, 1], 7),
            (vec![], vec![], 12),
            (vec![13], vec![1], 0),
            (vec![2], vec![max], 0),
            (vec![max], vec![1], 1),
            (vec![max, max], vec![max, 1], 0),
            (vec![2], vec![1], max),
        ] {
            let error = strided(&shape, &strides, offset).unwrap_err().to_string();
            let told = error.contains("reaches beyond") || error.contains("too large");
            assert!(told, "{error}");
        }
        for (shape, strides) in [(vec![1000], vec![0]), (vec![3, 3], vec![1, 1])] {
            let error = strided(&shape, &strides, 0).unwrap_err().to_string();
            assert!(error.contains("overlap"), "{error}");
        }
    }

    #[test]
    fn every_type_becomes_float32() {
        let read = |dtype: Dtype, bytes: &[u8]| {
            let entry = Entry::new(dtype, vec![1], Bytes::copy_from_slice(bytes)).unwrap();
            entry.values().unwrap()[0]
        };
        assert_eq!(read(Dtype::Bool, &[2]), 1.0);
        assert_eq!(read(Dtype::U8, &[255]), 255.0);
        assert_eq!(read(Dtype::I8, &[255]), -1.0);
        assert_eq!(read(Dtype::U16, &[0, 1]), 256.0);
        assert_eq!(read(Dtype::I16, &[0, 255]), -256.0);
        assert_eq!(read(Dtype::F16, &f16::from_f32(0.5).to_le_bytes()), 0.5);
        assert_eq!(read(Dtype::BF16, &bf16::from_f32(-2.0).to_le_bytes()), -2.0);
        assert_eq!(read(Dtype::U32, &70000u32.to_le_bytes()), 70000.0);
        assert_eq!(read(Dtype::I32, &(-70000i32).to_le_bytes()), -70000.0);
        assert_eq!(read(Dtype::F32, &0.1f32.to_le_bytes()), 0.1);
        assert_eq!(read(Dtype::U64, &(1u64 << 40).to_le_bytes()), 2f32.powi(40));
        assert_eq!(read(Dtype::I64, &(-3i64).to_le_bytes()), -3.0);
        assert_eq!(read(Dtype::F64, &0.1f64.to_le_bytes()), 0.1);
    }
}
