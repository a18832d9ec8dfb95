//! What can go wrong in the operators that check more than shapes.

/// Why an operator cannot compute what it was asked for. All of them speak of a [`Lattice`](super::Lattice): the other
/// operators take whatever has the right shape.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Features of a number of dimensions that no lattice has.
    #[error("a lattice over {dimensions} feature dimensions: use 1 to {most}")]
    Dimensions {
        /// D.
        dimensions: usize,
        /// Largest D.
        most: usize,
    },
    /// Features of no pixels.
    #[error("a lattice over no pixels")]
    NoPixels,
    /// A number of values that is not a multiple of the number of dimensions.
    #[error("{values} feature values are no image in {dimensions} dimensions")]
    Uneven {
        /// Number of values.
        values: usize,
        /// D.
        dimensions: usize,
    },
    /// More vertices than there are numbers for.
    #[error("{pixels} pixels in {dimensions} dimensions: more than a lattice can number, use a smaller image")]
    TooManyPixels {
        /// N.
        pixels: usize,
        /// D.
        dimensions: usize,
    },
    /// Features that are NaN or infinite.
    #[error("feature {feature} of a lattice holds NaN or infinite values")]
    NotFinite {
        /// Which of the D features.
        feature: usize,
    },
    /// Features whose place in a lattice cannot be told in single precision.
    #[error("features are too large for a lattice in single precision: use larger standard deviations")]
    TooLarge,
    /// Features whose lattice points cannot be numbered.
    #[error("features spread too far for a lattice of {dimensions} dimensions: use larger standard deviations")]
    TooFarApart {
        /// D.
        dimensions: usize,
    },
    /// Features that are not numbers or whose place cannot be told in single precision, found on a device.
    #[error("the features of {pixels} pixels are not numbers or too far out: divide them by larger deviations")]
    BadPixels {
        /// How many pixels have such features.
        pixels: usize,
    },
    /// A lattice that does not fit the device's buffers.
    #[error("a lattice over {pixels} pixels needs buffers of {:.1} MB, but this device's largest is {:.1} MB", megabytes(.needed), megabytes(.largest))]
    LatticeTooLarge {
        /// N.
        pixels: usize,
        /// Bytes of the buffer that is needed.
        needed: usize,
        /// Bytes of the largest buffer that the device has.
        largest: usize,
    },
    /// A mean field that does not fit the device's buffers.
    #[error("{labels} labels on {pixels} pixels need a buffer of {} MB, but this device's largest is {} MB", megabytes(.needed) as usize, megabytes(.largest) as usize)]
    TooManyLabels {
        /// C.
        labels: usize,
        /// N.
        pixels: usize,
        /// Bytes of the buffer that is needed.
        needed: usize,
        /// Bytes of the largest buffer that the device has.
        largest: usize,
    },
    /// The device did not give back the size of a lattice; its reason is the source.
    #[error("reading the size of a lattice")]
    Unread(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The device gave back something else than the size of a lattice.
    #[error("reading the size of a lattice: the device returned {0:?}")]
    Misread(Vec<u32>),
}

/// Bytes as MB.
fn megabytes(bytes: &usize) -> f64 {
    *bytes as f64 / 1e6
}
