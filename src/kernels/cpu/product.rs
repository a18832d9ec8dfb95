//! Products of matrices, by the kernels that burn's CPU backend uses too.

use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

/// `to` becomes `kept * to + a b`, on this thread; with `kept` 0, whatever `to` holds does not count. Any strides.
///
/// # Panics
/// Where the shapes do not fit each other.
pub fn product(a: ArrayView2<f32>, b: ArrayView2<f32>, kept: f32, mut to: ArrayViewMut2<f32>) {
    let (rows, inner) = a.dim();
    let columns = b.ncols();
    assert_eq!(b.nrows(), inner, "inner sides of a product");
    assert_eq!(to.dim(), (rows, columns), "shape of a product");
    let [a_strides, b_strides, to_strides] = [a.strides(), b.strides(), to.strides()].map(|s| (s[1], s[0]));
    // SAFETY: pointers, shapes and strides are those of live views, which ndarray keeps inside of their memory; `to` is
    // borrowed mutably, so it overlaps neither other, and a mutable view has no two entries in one place.
    unsafe {
        gemm(
            rows,
            columns,
            inner,
            to.as_mut_ptr(),
            to_strides.0,
            to_strides.1,
            kept != 0.0,
            a.as_ptr(),
            a_strides.0,
            a_strides.1,
            b.as_ptr(),
            b_strides.0,
            b_strides.1,
            kept,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    #[test]
    fn parts_and_transposes_multiply_as_the_definition_says() {
        let matrix = |rows, columns, salt: usize| {
            Array2::from_shape_fn((rows, columns), |(i, j)| {
                ((i * 31 + j * 17 + salt) % 23) as f32 / 11.0 - 1.0
            })
        };
        let (a, b) = (matrix(40, 9, 1), matrix(30, 40, 2));
        let (a, b) = (a.slice(s![3..24, ..]), b.slice(s![2..19, 3..24]));
        for kept in [0.0, 1.0, -0.5] {
            let before = matrix(25, 30, 3);
            let mut whole = before.clone();
            product(a.t(), b.t(), kept, whole.slice_mut(s![4..13, 5..22]));
            for ((i, j), value) in whole.indexed_iter() {
                let expected = match (4..13).contains(&i) && (5..22).contains(&j) {
                    true => {
                        let sum: f32 = (0..21).map(|k| a[[k, i - 4]] * b[[j - 5, k]]).sum();
                        kept * before[[i, j]] + sum
                    }
                    false => before[[i, j]],
                };
                assert!((value - expected).abs() < 1e-4, "{i} {j}");
            }
        }
        let mut unset = Array2::from_elem((9, 17), f32::NAN);
        product(a.t(), b.t(), 0.0, unset.view_mut());
        assert!(unset.iter().all(|x| x.is_finite()));
    }
}
