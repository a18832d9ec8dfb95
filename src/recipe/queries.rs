//! How often an image is asked for in trainings on related images.

use serde::{Deserialize, Serialize};

/// Which images have partners drawn for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queries {
    /// Those of a class that is drawn first, every class alike: images of rare classes more often.
    #[default]
    Balanced,
    /// Every image once an epoch, as in the released codes of CIAN and MCIS.
    Once,
}

impl Queries {
    pub(super) fn is_balanced(&self) -> bool {
        *self == Queries::Balanced
    }
}
