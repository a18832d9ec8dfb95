//! What can go wrong in the operators that check more than shapes.

use std::fmt;

/// Why an operator cannot compute what it was asked for. All of them speak of a [`Lattice`](super::Lattice): the other
/// operators take whatever has the right shape.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Features of a number of dimensions that no lattice has.
    Dimensions {
        /// D.
        dimensions: usize,
        /// Largest D.
        most: usize,
    },
    /// Features of no pixels.
    NoPixels,
    /// A number of values that is not a multiple of the number of dimensions.
    Uneven {
        /// Number of values.
        values: usize,
        /// D.
        dimensions: usize,
    },
    /// More vertices than there are numbers for.
    TooManyPixels {
        /// N.
        pixels: usize,
        /// D.
        dimensions: usize,
    },
    /// Features that are NaN or infinite.
    NotFinite {
        /// Which of the D features.
        feature: usize,
    },
    /// Features whose place in a lattice cannot be told in single precision.
    TooLarge,
    /// Features whose lattice points cannot be numbered.
    TooFarApart {
        /// D.
        dimensions: usize,
    },
    /// Features that are not numbers or whose place cannot be told in single precision, found on a device.
    BadPixels {
        /// How many pixels have such features.
        pixels: usize,
    },
    /// A lattice that does not fit the device's buffers.
    LatticeTooLarge {
        /// N.
        pixels: usize,
        /// Bytes of the buffer that is needed.
        needed: usize,
        /// Bytes of the largest buffer that the device has.
        largest: usize,
    },
    /// A mean field that does not fit the device's buffers.
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
    Unread(Box<dyn std::error::Error + Send + Sync>),
    /// The device gave back something else than the size of a lattice.
    Misread(Vec<u32>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Dimensions { dimensions, most } => {
                write!(f, "a lattice over {dimensions} feature dimensions: use 1 to {most}")
            }
            Error::NoPixels => write!(f, "a lattice over no pixels"),
            Error::Uneven { values, dimensions } => {
                write!(f, "{values} feature values are no image in {dimensions} dimensions")
            }
            Error::TooManyPixels { pixels, dimensions } => write!(
                f,
                "{pixels} pixels in {dimensions} dimensions: more than a lattice can number, use a smaller image"
            ),
            Error::NotFinite { feature } => write!(f, "feature {feature} of a lattice holds NaN or infinite values"),
            Error::TooLarge => write!(
                f,
                "features are too large for a lattice in single precision: use larger standard deviations"
            ),
            Error::TooFarApart { dimensions } => write!(
                f,
                "features spread too far for a lattice of {dimensions} dimensions: use larger standard deviations"
            ),
            Error::BadPixels { pixels } => write!(
                f,
                "the features of {pixels} pixels are not numbers or too far out: divide them by larger deviations"
            ),
            Error::LatticeTooLarge {
                pixels,
                needed,
                largest,
            } => write!(
                f,
                "a lattice over {pixels} pixels needs buffers of {:.1} MB, but this device's largest is {:.1} MB",
                *needed as f64 / 1e6,
                *largest as f64 / 1e6
            ),
            Error::TooManyLabels {
                labels,
                pixels,
                needed,
                largest,
            } => write!(
                f,
                "{labels} labels on {pixels} pixels need a buffer of {} MB, but this device's largest is {} MB",
                needed / 1_000_000,
                largest / 1_000_000
            ),
            Error::Unread(_) => write!(f, "reading the size of a lattice"),
            Error::Misread(counts) => write!(f, "reading the size of a lattice: the device returned {counts:?}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unread(source) => Some(&**source),
            _ => None,
        }
    }
}
