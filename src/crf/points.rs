//! The fully connected CRF over any points with any features, step by step: the whole of what pydensecrf can do.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, ArrayView1, ArrayView2};

use super::check_compatibility;
use super::error::{self, Error, Result};
use crate::device::download;
use crate::kernels::{Compatibility, Kernel, Lattice, Normalisation, mean_field, mean_field_from, pairwise_energy};

/// A CRF over N points, pixels or not, with C labels, that kernels are added to one by one. Copies share what they hold.
///
/// ```
/// use burn::tensor::Device;
/// use ndarray::array;
/// use weakseg::crf::{Compatibility, Normalisation, PointCrf};
///
/// # fn main() -> Result<(), weakseg::crf::Error> {
/// // Two clusters on a line, and a point of the first that is taken for one of the second.
/// let mut crf = PointCrf::new(6, 2, &Device::flex())?;
/// crf.set_unary(array![[0.1, 0.1, 1.5, 2.0, 2.0, 2.0], [2.0, 2.0, 0.5, 0.1, 0.1, 0.1]].view())?;
/// let position = array![[0.0, 0.1, 0.2, 5.0, 5.1, 5.2]];
/// crf.add(position.view(), Compatibility::Potts(3.0), Normalisation::Symmetric)?;
/// let posterior = crf.infer(5)?;
/// assert!(posterior[[0, 2]] > 0.9);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PointCrf {
    labels: usize,
    points: usize,
    /// `[C, N]`
    unary: Option<Tensor<2>>,
    kernels: Vec<Kernel>,
    device: Device,
}

impl PointCrf {
    /// Without kernels and unary energies.
    ///
    /// # Errors
    /// Without labels.
    pub fn new(points: usize, labels: usize, device: &Device) -> Result<PointCrf> {
        if labels == 0 {
            return Err(Error::NoLabels);
        }
        Ok(PointCrf {
            labels,
            points,
            unary: None,
            kernels: Vec::new(),
            device: device.clone(),
        })
    }

    /// Number of labels C.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Number of points N.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Number of kernels.
    pub fn kernels(&self) -> usize {
        self.kernels.len()
    }

    /// Takes over the kernels of `other` from the one of number `from` on.
    #[cfg(feature = "python")]
    pub(crate) fn take_kernels(&mut self, other: PointCrf, from: usize) {
        self.kernels.extend(other.kernels.into_iter().skip(from));
    }

    /// Takes over the unary energies of `other`.
    #[cfg(feature = "python")]
    pub(crate) fn take_unary(&mut self, other: PointCrf) {
        self.unary = other.unary;
    }

    /// Whether unary energies are set.
    pub fn has_unary(&self) -> bool {
        self.unary.is_some()
    }

    /// Sets the unary energies `[C, N]`, negative log probabilities. ∞ stands for a label that a point cannot have.
    ///
    /// # Errors
    /// On another shape, and on points with NaN or -∞, or ∞ for every label.
    pub fn set_unary(&mut self, unary: ArrayView2<f32>) -> Result<()> {
        self.check_shape("the unary energies", unary)?;
        if unary.iter().any(|u| !u.is_finite()) {
            let is_bad = |u: &f32| u.is_nan() || *u == f32::NEG_INFINITY;
            let is_impossible = |energies: &ArrayView1<f32>| {
                energies.iter().any(is_bad) || energies.iter().all(|u| *u == f32::INFINITY)
            };
            if let Some(point) = unary.columns().into_iter().position(|column| is_impossible(&column)) {
                return Err(Error::Impossible { point });
            }
        }
        // Shaders need not know infinities.
        let values = unary.iter().map(|u| u.min(f32::MAX)).collect();
        self.unary = Some(self.upload(values));
        Ok(())
    }

    /// Adds a Gaussian kernel over `features` `[D, N]`, D of 1 to 15, each divided by its standard deviation.
    ///
    /// # Errors
    /// On features of another shape, on those that no lattice holds, on a matrix that is not `[C, C]`, and where the
    /// device has no room for it.
    pub fn add(
        &mut self,
        features: ArrayView2<f32>,
        compatibility: Compatibility,
        normalisation: Normalisation,
    ) -> Result<()> {
        let [d, n] = [features.nrows(), features.ncols()];
        if n != self.points {
            return Err(Error::Shape {
                what: "the features",
                given: [d, n],
                wanted: [None, Some(self.points)],
            });
        }
        self.add_values(features.iter().copied().collect(), compatibility, normalisation)
    }

    /// [`PointCrf::add`] with features `[D, N]` one after the other.
    pub(crate) fn add_values(
        &mut self,
        features: Vec<f32>,
        compatibility: Compatibility,
        normalisation: Normalisation,
    ) -> Result<()> {
        check_compatibility(&compatibility, self.labels)?;
        let shape = [features.len() / self.points.max(1), self.points];
        let features = Tensor::from_data(TensorData::new(features, shape), &self.device);
        let lattice = Lattice::new(features).map_err(error::device)?;
        lattice.prepare(normalisation);
        self.kernels.push(Kernel {
            lattice,
            compatibility,
            normalisation,
        });
        let count = self.kernels.len();
        let room = self
            .kernels
            .iter()
            .try_for_each(|k| k.lattice.check_room(self.labels, count));
        room.map_err(|error| {
            self.kernels.pop();
            error::device(error)
        })
    }

    /// softmax(-unary) `[C, N]`; the same for all labels where no unary is set.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn start(&self) -> Result<Array2<f32>> {
        self.infer(0)
    }

    /// Posterior `[C, N]` after so many updates from [`PointCrf::start`].
    ///
    /// # Errors
    /// Where the device fails.
    pub fn infer(&self, iterations: usize) -> Result<Array2<f32>> {
        if self.points == 0 {
            return Ok(Array2::zeros((self.labels, 0)));
        }
        self.download(mean_field(self.unary(), &self.kernels, iterations))
    }

    /// So many updates of a `posterior` `[C, N]`. n after m of them give the bits of n + m.
    ///
    /// # Errors
    /// On another shape and values that are not finite, and where the device fails.
    pub fn step(&self, posterior: ArrayView2<f32>, iterations: usize) -> Result<Array2<f32>> {
        self.check_shape("the posterior", posterior)?;
        if self.points == 0 {
            return Ok(posterior.to_owned());
        }
        let posterior = self.posterior(posterior)?;
        self.download(mean_field_from(self.unary(), posterior, &self.kernels, iterations))
    }

    /// The label of every point with the highest posterior, the first of equal ones, after so many updates.
    ///
    /// # Errors
    /// As [`PointCrf::infer`].
    pub fn map(&self, iterations: usize) -> Result<Vec<usize>> {
        let posterior = self.infer(iterations)?;
        let highest = posterior.columns().into_iter().map(|column| {
            let mut best = 0;
            for (label, p) in column.iter().enumerate() {
                if *p > column[best] {
                    best = label;
                }
            }
            best
        });
        Ok(highest.collect())
    }

    /// What the mean field makes smaller, for a `posterior` Q `[C, N]`: the sum of Q log Q, Q times the unary and Q times
    /// the pairwise energies. That is the Kullback-Leibler divergence from the CRF's distribution up to a constant, with
    /// pairwise energies counted twice, as pydensecrf's `klDivergence` has it.
    ///
    /// # Errors
    /// As [`PointCrf::step`].
    pub fn kl_divergence(&self, posterior: ArrayView2<f32>) -> Result<f64> {
        self.check_shape("the posterior", posterior)?;
        if self.points == 0 {
            return Ok(0.0);
        }
        let energy = self.download(pairwise_energy(self.posterior(posterior)?, &self.kernels))?;
        let unary = match &self.unary {
            Some(unary) => self.download(unary.clone())?,
            None => Array2::zeros(posterior.raw_dim()),
        };
        let mut sum = 0.0;
        for ((at, q), energy) in posterior.indexed_iter().zip(&energy) {
            // 0 times the energy of an impossible label is 0.
            if *q == 0.0 {
                continue;
            }
            let q = f64::from(*q);
            // pydensecrf's bound.
            sum += q * (q.max(1e-20).ln() + f64::from(unary[at]) + f64::from(*energy));
        }
        Ok(sum)
    }

    /// The unary, or zeros.
    fn unary(&self) -> Tensor<2> {
        let zeros = || Tensor::zeros([self.labels, self.points], &self.device);
        self.unary.clone().unwrap_or_else(zeros)
    }

    fn upload(&self, values: Vec<f32>) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [self.labels, self.points]), &self.device)
    }

    fn download(&self, values: Tensor<2>) -> Result<Array2<f32>> {
        let values = download(values).map_err(error::device)?;
        Array2::from_shape_vec((self.labels, self.points), values).map_err(error::device)
    }

    fn posterior(&self, posterior: ArrayView2<f32>) -> Result<Tensor<2>> {
        self.check_shape("the posterior", posterior)?;
        if !posterior.iter().all(|q| q.is_finite()) {
            return Err(Error::Posterior);
        }
        Ok(self.upload(posterior.iter().copied().collect()))
    }

    fn check_shape(&self, what: &'static str, values: ArrayView2<f32>) -> Result<()> {
        let (given, wanted) = ([values.nrows(), values.ncols()], [self.labels, self.points]);
        if given == wanted {
            return Ok(());
        }
        Err(Error::Shape {
            what,
            given,
            wanted: wanted.map(Some),
        })
    }
}

#[cfg(test)]
mod tests;
