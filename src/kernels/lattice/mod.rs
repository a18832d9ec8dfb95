//! The permutohedral lattice (Adams et al. 2010; constants of Krähenbühl and Koltun 2011): Gaussian filtering in
//! feature spaces of many dimensions, in time and memory linear in pixels.

mod autodiff;
mod cpu;
mod device;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::error::Error;

pub(super) use cpu::CpuLattice;
pub(super) use device::{CubeLattice, Pass, Scales, Workspace, constants, sources};

/// Most feature dimensions: on a device, ranks are kept in four bits.
const MOST_DIMENSIONS: usize = 15;

/// What a filter is divided by, so that a weight means the same wherever pixels are many or few: the sum of the kernel
/// around a pixel, which is its filter of ones (pydensecrf's `normalization=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalisation {
    /// By nothing (`NO_NORMALIZATION`).
    None,
    /// The values, before they are filtered (`NORMALIZE_BEFORE`).
    Before,
    /// The filtered values (`NORMALIZE_AFTER`).
    After,
    /// Both, by the root of the sum, which keeps the filter symmetric (`NORMALIZE_SYMMETRIC`).
    #[default]
    Symmetric,
}

/// A permutohedral lattice over the features of N pixels, built once and used for any number of filters.
#[derive(Clone)]
pub struct Lattice(Arc<Storage>);

enum Storage {
    Cpu(CpuLattice),
    Cube(Box<CubeLattice>),
}

/// [`Lattice`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait PermutohedralLattice: burn::backend::Backend {
    /// Features `[D, N]` → their lattice; see [`Lattice::new`]. `slots`: how many the hash table has at first, a power of
    /// two, on backends where it has a fixed size.
    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> Result<Lattice, Error>;

    /// Values `[C, N]` → filtered `[C, N]`; see [`Lattice::filter`]. `reversed`: the transpose of the filter.
    fn lattice_filter(values: FloatTensor<Self>, lattice: Lattice, reversed: bool) -> FloatTensor<Self>;
}

impl std::fmt::Debug for Lattice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Lattice of {} points over {} pixels", self.points(), self.pixels())
    }
}

impl Lattice {
    /// The lattice of features `[D, N]`, D of 1 to 15, each divided by its standard deviation.
    ///
    /// Takes memory in O(N D). On a device, waits for the number of points.
    ///
    /// # Errors
    /// On features that are not finite or too far out to be told apart in f32, on other D, and where the device's
    /// buffers are too small for so many pixels.
    pub fn new(features: Tensor<2>) -> Result<Lattice, Error> {
        let [d, n] = features.dims();
        if !(1..=MOST_DIMENSIONS).contains(&d) {
            return Err(Error::Dimensions {
                dimensions: d,
                most: MOST_DIMENSIONS,
            });
        }
        if n == 0 {
            return Err(Error::NoPixels);
        }
        Dispatch::lattice(features.into_dispatch(), None)
    }

    /// [`Lattice::new`] on valid features with a table that begins with `slots`, a power of two, and has to grow.
    #[cfg(test)]
    fn with_slots(features: Tensor<2>, slots: usize) -> Result<Lattice, Error> {
        Dispatch::lattice(features.into_dispatch(), Some(slots))
    }

    /// Values `[C, N]` → their Gaussian-weighted sums over all pixels `[C, N]`, not normalised, with gradient.
    ///
    /// The lattice approximates exp(-‖f_i - f_j‖² / 2) up to a constant factor of about a half, which is a property
    /// of the method. The filter is symmetric up to the order of its blurs; the gradient uses the exact transpose.
    ///
    /// # Panics
    /// Where the values are of another number of pixels or on another device than the lattice.
    pub fn filter(&self, values: Tensor<2>) -> Tensor<2> {
        assert_eq!(values.dims()[1], self.pixels(), "pixels of values and lattice");
        Tensor::from_dispatch(Dispatch::lattice_filter(values.into_dispatch(), self.clone(), false))
    }

    /// Number of pixels N.
    pub fn pixels(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice) => lattice.pixels(),
            Storage::Cube(lattice) => lattice.pixels(),
        }
    }

    /// Number of lattice points M.
    pub fn points(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice) => lattice.points(),
            Storage::Cube(lattice) => lattice.points(),
        }
    }

    /// Computes what a filter that is normalised so multiplies by, which its first use would otherwise wait for.
    pub fn prepare(&self, normalisation: Normalisation) {
        match &*self.0 {
            Storage::Cpu(lattice) => {
                lattice.factors(normalisation);
            }
            Storage::Cube(lattice) => {
                lattice.scales(normalisation);
            }
        }
    }

    /// Whether mean-field inference with so many labels and kernels fits the buffers of the lattice's device.
    ///
    /// # Errors
    /// Names the buffer that is too large, and the largest.
    pub fn check_room(&self, labels: usize, kernels: usize) -> Result<(), Error> {
        let Storage::Cube(lattice) = &*self.0 else {
            return Ok(());
        };
        let (pixels, largest) = (lattice.pixels(), lattice.largest_buffer());
        let messages = 4 * kernels * labels * pixels;
        let needed = messages.max(8 * labels * lattice.points());
        if needed > largest {
            return Err(Error::TooManyLabels {
                labels,
                pixels,
                needed,
                largest,
            });
        }
        Ok(())
    }

    /// The lattice on the CPU. Panics where it is on a device: a mistake in the caller.
    pub(super) fn cpu(&self) -> &CpuLattice {
        match &*self.0 {
            Storage::Cpu(lattice) => lattice,
            Storage::Cube(_) => panic!("the lattice was built on another device"),
        }
    }

    /// The lattice in device memory. Panics where it is on the CPU: a mistake in the caller.
    pub(super) fn cube(&self) -> &CubeLattice {
        match &*self.0 {
            Storage::Cube(lattice) => lattice,
            Storage::Cpu(_) => panic!("the lattice was built on another device"),
        }
    }
}

impl From<CpuLattice> for Lattice {
    fn from(lattice: CpuLattice) -> Lattice {
        Lattice(Arc::new(Storage::Cpu(lattice)))
    }
}

impl From<CubeLattice> for Lattice {
    fn from(lattice: CubeLattice) -> Lattice {
        Lattice(Arc::new(Storage::Cube(Box::new(lattice))))
    }
}
