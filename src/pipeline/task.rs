//! What decides how the networks of a run are built.

use crate::recipe::Recipe;

/// What a head depends on.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Hyper-parameters.
    pub recipe: &'a Recipe,
    /// Number of classes, without background.
    pub classes: usize,
    /// Whether images of an extra data set are among the training images.
    pub has_extra: bool,
}
