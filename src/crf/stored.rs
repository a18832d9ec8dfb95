//! What a file of scores holds, before it is told what they are.

use ndarray::ArrayD;

/// What a file holds.
pub struct Stored {
    /// The numbers as `f32`, in the file's shape, in any memory order.
    pub values: ArrayD<f32>,
    /// Whether they were saved as integers or booleans.
    pub integers: bool,
    /// What the channels are.
    pub names: Names,
}

/// What a file says of its channels.
pub enum Names {
    /// Nothing: they are counted.
    Channels,
    /// The mask value of each, as weakseg's own maps have it.
    MaskValues(Vec<usize>),
    /// The class of each: the keys of a dictionary, as psa's maps have it, which counts classes from 0 where there is no
    /// background.
    Classes(Vec<usize>),
}
