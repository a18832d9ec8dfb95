//! What labels cost one another, in groups of lanes.

use crate::kernels::mean_field::Compatibility;

/// A kernel's compatibility in groups of lanes.
pub enum Weights<const L: usize> {
    /// See [`Compatibility::Potts`].
    Potts(f32),
    /// For every group of senders and every sender in it, what each group of receivers gets: `[groups, L, groups]`.
    Matrix(Vec<[f32; L]>),
}

impl<const L: usize> Weights<L> {
    /// Of so many labels in so many groups.
    pub fn new(compatibility: &Compatibility, channels: usize, groups: usize) -> Self {
        match compatibility {
            Compatibility::Potts(weight) => Self::Potts(*weight),
            Compatibility::Matrix(matrix) => {
                let mut weights = vec![[0.0; L]; groups * L * groups];
                for to in 0..channels {
                    for from in 0..channels {
                        weights[from * groups + to / L][to % L] =
                            -0.5 * (matrix[to * channels + from] + matrix[from * channels + to]);
                    }
                }
                Self::Matrix(weights)
            }
        }
    }

    /// Adds what one group's `message` does to a pixel's logits.
    #[inline(always)]
    pub fn add(&self, message: [f32; L], logits: &mut [[f32; L]], group: usize) {
        match self {
            Self::Potts(weight) => {
                for lane in 0..L {
                    logits[group][lane] += weight * message[lane];
                }
            }
            Self::Matrix(weights) => {
                let groups = logits.len();
                let senders = weights[group * L * groups..].chunks_exact(groups);
                for (value, weights) in message.iter().zip(senders) {
                    for (logits, weights) in logits.iter_mut().zip(weights) {
                        for lane in 0..L {
                            logits[lane] += value * weights[lane];
                        }
                    }
                }
            }
        }
    }
}
