//! What a dense CRF ends with: posteriors as a file, and the mask of the winning channels.

use std::io::BufWriter;
use std::path::Path;

use image::{GrayImage, Luma};
use ndarray::{Array2, ArrayView3, Axis, Zip};
use ndarray_npy::WriteNpyExt;

use super::error::{self, Error, Result};
use crate::files::replace;

/// Writes posteriors `[C, H, W]` as a `.npy` of float32 in C order, under a temporary name that is then renamed.
///
/// # Errors
/// Names the file: missing permissions, or a full disk.
pub fn write_posteriors(path: &Path, values: ArrayView3<f32>) -> Result<()> {
    // A view in Fortran order would be saved as one.
    let values = values.as_standard_layout();
    replace(path, |file| Ok(values.write_npy(BufWriter::new(file.as_file_mut()))?)).map_err(error::file)
}

/// The mask of the channels with the highest posterior `[C, H, W]`, the first of equal ones; channel c is written as
/// `values[c]`, see [`Scores::png_values`](super::scores::Scores::png_values).
///
/// # Errors
/// Another number of values than channels, none at all, or an image too large for 32 bits.
pub fn winners(posterior: ArrayView3<f32>, values: &[u8]) -> Result<GrayImage> {
    let (channels, height, width) = posterior.dim();
    if channels != values.len() || channels == 0 {
        return Err(Error::MaskValues {
            channels,
            values: values.len(),
        });
    }
    let mut highest = Array2::from_elem((height, width), f32::NEG_INFINITY);
    let mut mask = Array2::from_elem((height, width), values[0]);
    for (channel, &value) in posterior.axis_iter(Axis(0)).zip(values) {
        Zip::from(&mut mask)
            .and(&mut highest)
            .and(channel)
            .for_each(|mask, highest, &v| {
                if v > *highest {
                    (*mask, *highest) = (value, v);
                }
            });
    }
    let side = |length: usize| u32::try_from(length).map_err(error::device);
    let (width, height) = (side(width)?, side(height)?);
    let mut pixels = mask.into_iter();
    Ok(GrayImage::from_fn(width, height, |_, _| {
        Luma([pixels.next().unwrap_or_default()])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};
    use ndarray_npy::read_npy;

    #[test]
    fn posteriors_are_saved_in_c_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out/a.npy");
        let values = Array3::from_shape_fn((3, 2, 4), |(c, y, x)| (c * 100 + y * 10 + x) as f32);
        write_posteriors(&path, values.view()).unwrap();
        let first = std::fs::read(&path).unwrap();
        let header = String::from_utf8_lossy(&first[..128]).into_owned();
        assert!(header.contains("'fortran_order': False"), "{header}");
        assert!(header.contains("(3, 2, 4)"), "{header}");
        if cfg!(target_endian = "little") {
            assert!(header.contains("'<f4'"), "{header}");
        }
        assert_eq!(read_npy::<_, Array3<f32>>(&path).unwrap(), values);

        let mut fortran = Array3::zeros(ndarray::ShapeBuilder::f((3, 2, 4)));
        fortran.assign(&values);
        write_posteriors(&path, fortran.view()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn the_first_of_the_highest_wins_under_its_mask_value() {
        let posterior = array![[[0.2, 0.4, 0.1]], [[0.5, 0.4, 0.1]], [[0.3, 0.2, 0.8]]];
        let mask = winners(posterior.view(), &[0, 7, 12]).unwrap();
        assert_eq!(mask.dimensions(), (3, 1));
        assert_eq!(mask.into_raw(), [7, 0, 12]);
        assert!(winners(posterior.view(), &[0, 7]).is_err());
        assert!(winners(Array3::zeros((0, 2, 2)).view(), &[]).is_err());
    }
}
