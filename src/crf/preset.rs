//! Named parameters of the CRF.

use serde::{Deserialize, Serialize};

use super::{DenseCrf, Pairwise};

/// Updates of the mean field, of every preset.
pub const ITERATIONS: usize = 10;

/// Parameters by name, as the papers use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For labels: sxy 3 compat 3, and sxy 80 srgb 13 compat 10; 10 iterations (released AffinityNet).
    Default,
    /// For predictions: sxy 3 compat 3, and sxy 83 srgb 5 compat 4; 10 iterations (released RRM).
    Inference,
    /// No CRF.
    None,
}

impl Preset {
    /// The CRF of this name; `None` where there is none.
    pub fn crf(self) -> Option<DenseCrf> {
        let [position, colour] = self.potentials()?;
        Some(DenseCrf {
            pairwise: vec![
                Pairwise::gaussian(position.0, position.2),
                Pairwise::bilateral(colour.0, colour.1, colour.2),
            ],
            iterations: ITERATIONS,
            reference_side: None,
        })
    }

    /// (sxy, srgb, compat) of the Gaussian potential, which has no colours, and of the bilateral one.
    pub(crate) fn potentials(self) -> Option<[(f32, f32, f32); 2]> {
        let gaussian = (3.0, 0.0, 3.0);
        match self {
            Preset::Default => Some([gaussian, (80.0, 13.0, 10.0)]),
            Preset::Inference => Some([gaussian, (83.0, 5.0, 4.0)]),
            Preset::None => None,
        }
    }
}
