//! The permutohedral lattice and the mean field of the CRF.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::check::{Check, Part};
use super::exact;
use super::input::{Input, Layout, PAST_THE_LIMIT, backward, values, words};
use crate::device::download;
use crate::kernels::{Compatibility, Kernel, Lattice, mean_field};

const TOLERANCE: f64 = 1e-4;
/// Where sums of many thousand values per lattice point are taken in single precision on the CPU.
const LARGE_TOLERANCE: f64 = 1e-3;

/// What a lattice is over.
#[derive(Clone, Copy)]
pub(super) enum Pixels {
    /// So many, with features that differ.
    Varied(usize),
    /// So many, all with the same features.
    Constant(usize),
}

/// Sizes of a check.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub pixels: Pixels,
    pub dimensions: usize,
    pub channels: usize,
    pub layout: Layout,
}

impl Size {
    fn count(self) -> usize {
        match self.pixels {
            Pixels::Varied(n) | Pixels::Constant(n) => n,
        }
    }

    /// `[D, N]`. Pixels on a lattice point or between two simplices would fall to either side of them by rounding;
    /// these lie elsewhere.
    fn features(self) -> Vec<f32> {
        let n = self.count();
        match self.pixels {
            Pixels::Varied(_) if self.dimensions == 1 => values(n, 11, 0.377, 401.3),
            Pixels::Varied(_) => values(n * self.dimensions, 11, 0.1, 4.3),
            Pixels::Constant(_) => (0..self.dimensions)
                .flat_map(|i| std::iter::repeat_n(0.3 + 1.37 * i as f32, n))
                .collect(),
        }
    }

    fn shape(self) -> [usize; 2] {
        [self.dimensions, self.count()]
    }

    fn lattice(self, device: &Device) -> Result<Lattice> {
        let features = self.features();
        let features = Input::new(&features, self.shape(), self.layout, device);
        Ok(Lattice::new(features.tensor())?)
    }

    fn words(self) -> String {
        let constant = match self.pixels {
            Pixels::Varied(_) => "",
            Pixels::Constant(_) => ", one cell",
        };
        let shape = words(&[self.channels, self.count()], self.layout);
        format!("{shape} in {}-D{constant}", self.dimensions)
    }

    fn tolerance(self) -> f64 {
        if self.count() > 1 << 20 {
            LARGE_TOLERANCE
        } else {
            TOLERANCE
        }
    }
}

pub(super) const fn size(pixels: Pixels, dimensions: usize, channels: usize) -> Size {
    Size {
        pixels,
        dimensions,
        channels,
        layout: Layout::Contiguous,
    }
}

const fn transposed(size: Size) -> Size {
    Size {
        layout: Layout::Transposed,
        ..size
    }
}

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    use Pixels::{Constant, Varied};
    let filters = [
        size(Varied(37 * 23), 2, 3),
        size(Varied(41 * 29), 5, 5),
        size(Varied(1), 5, 1),
        size(Varied(61), 15, 2),
        size(Constant(1001), 5, 4),
        transposed(size(Varied(31 * 7), 3, 9)),
        size(Varied(PAST_THE_LIMIT), 1, 1),
    ];
    let matrix = |channels: usize| Compatibility::Matrix(values(channels * channels, 12, -1.5, 1.0));
    let potts = Compatibility::Potts(1.7);
    let small = [
        (size(Varied(13 * 7), 2, 3), potts.clone()),
        (size(Varied(11 * 9), 5, 2), matrix(2)),
        (size(Varied(83), 5, 7), matrix(7)),
        (size(Varied(1), 5, 2), potts.clone()),
        (size(Constant(77), 5, 2), potts.clone()),
        (transposed(size(Varied(9 * 5), 3, 5)), potts.clone()),
    ];
    let exact = small.into_iter().map(|(size, compatibility)| {
        let dense = posterior_by_hand(size, compatibility.clone());
        posterior(size, compatibility, 3, mean_field).exactly(dense)
    });
    let large = [
        (size(Varied(53 * 47), 5, 21), matrix(21), 3),
        // Without iterations there is no lattice, and no memory taken for it.
        (size(Varied(PAST_THE_LIMIT), 1, 2), potts, 0),
    ];
    let large = large.map(|(size, compatibility, iterations)| posterior(size, compatibility, iterations, mean_field));
    (filters.into_iter().map(|size| filter(size, Lattice::filter)))
        .chain(exact)
        .chain(large)
        .collect()
}

/// `operator` in place of [`Lattice::filter`] on the device.
pub(super) fn filter(size: Size, operator: impl Fn(&Lattice, Tensor<2>) -> Tensor<2> + 'static) -> Check {
    Check::new(
        "lattice",
        size.words(),
        "the CRF and the dense energy loss",
        move |device| filter_on(size, &operator, device),
        move || filter_on(size, &Lattice::filter, &Device::flex()),
    )
}

fn filter_on(size: Size, operator: &dyn Fn(&Lattice, Tensor<2>) -> Tensor<2>, device: &Device) -> Result<Vec<Part>> {
    let lattice = size.lattice(device)?;
    let shape = [size.channels, size.count()];
    let input = values(shape[0] * shape[1], 13, 0.5, 1.5);
    let input = Input::new(&input, shape, size.layout, &device.clone().autodiff());
    let out = operator(&lattice, input.tensor());
    let mut gradients = backward(&out, &values(shape[0] * shape[1], 14, 0.5, 1.5));
    let part = |name, values| Part {
        name,
        tensors: vec![values],
        tolerance: size.tolerance(),
    };
    let result = download(out.inner())?;
    Ok(vec![
        part("result", result),
        part("gradient", input.gradient(&mut gradients)?),
    ])
}

/// `operator` in place of [`mean_field`] on the device.
pub(super) fn posterior(
    size: Size,
    compatibility: Compatibility,
    iterations: usize,
    operator: impl Fn(Tensor<2>, &[Kernel], usize) -> Tensor<2> + 'static,
) -> Check {
    let kind = match &compatibility {
        _ if iterations == 0 => "no kernel",
        Compatibility::Potts(_) => "Potts",
        Compatibility::Matrix(_) => "matrix",
    };
    let same = compatibility.clone();
    Check::new(
        "mean_field",
        format!("{}, {kind}", size.words()),
        "the CRF",
        move |device| posterior_on(size, &compatibility, iterations, &operator, device),
        move || posterior_on(size, &same, iterations, &mean_field, &Device::flex()),
    )
}

type MeanField<'a> = &'a dyn Fn(Tensor<2>, &[Kernel], usize) -> Tensor<2>;

fn posterior_on(
    size: Size,
    compatibility: &Compatibility,
    iterations: usize,
    operator: MeanField,
    device: &Device,
) -> Result<Vec<Part>> {
    let mut kernels = Vec::new();
    if iterations > 0 {
        kernels.push(Kernel::new(size.lattice(device)?, compatibility.clone()));
    }
    let shape = [size.channels, size.count()];
    let unary = Input::new(&unary(size), shape, size.layout, device);
    let out = operator(unary.tensor(), &kernels, iterations);
    Ok(vec![posterior_part(download(out)?)])
}

fn unary(size: Size) -> Vec<f32> {
    values(size.channels * size.count(), 15, 0.0, 1.5)
}

fn posterior_part(values: Vec<f32>) -> Part {
    Part {
        name: "result",
        tensors: vec![values],
        tolerance: 5.0 * TOLERANCE,
    }
}

/// Three updates with the lattice's filter as a dense matrix.
fn posterior_by_hand(size: Size, compatibility: Compatibility) -> impl Fn() -> Result<Vec<Part>> {
    move || {
        let (n, c) = (size.count(), size.channels);
        let identity: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
        let device = Device::flex();
        let units = Input::new(&identity, [n, n], Layout::Contiguous, &device).tensor();
        let columns = size.lattice(&device)?.filter(units);
        let filter = download(columns.transpose())?;
        let cost = |i: usize| match &compatibility {
            Compatibility::Potts(weight) if i / c == i % c => -weight,
            Compatibility::Potts(_) => 0.0,
            Compatibility::Matrix(matrix) => 0.5 * (matrix[i] + matrix[i % c * c + i / c]),
        };
        let costs = (0..c * c).map(cost).collect();
        let posterior = exact::mean_field(&unary(size), c, &[(filter, costs)], 3);
        Ok(vec![posterior_part(posterior)])
    }
}
