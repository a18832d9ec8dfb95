//! What goes wrong around a dense CRF. Texts are one line and name files; advice about a program's options is the
//! program's to add.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use crate::data::MaskValue;

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of something else.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a CRF could not be built, applied, or given its scores.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A pairwise potential has deviations, of position or of colour, that are not positive numbers.
    Deviation(Vec<f32>),
    /// The scores have no labels.
    NoLabels,
    /// Scores and image differ in width and height.
    Size {
        /// Width and height of the scores.
        scores: [usize; 2],
        /// Width and height of the image.
        image: [u32; 2],
    },
    /// The scores hold NaN or infinities.
    NotFinite,
    /// A pixel or point has energies that leave it no label: NaN, -∞, or ∞ for every one.
    Impossible {
        /// Which one.
        point: usize,
    },
    /// A posterior holds NaN or infinities.
    Posterior,
    /// An array of another shape than the CRF's.
    Shape {
        /// What was given: unary energies, features or a posterior.
        what: &'static str,
        /// Its rows and columns.
        given: [usize; 2],
        /// What they have to be; `None` for any.
        wanted: [Option<usize>; 2],
    },
    /// A label compatibility of another number of labels.
    Compatibility {
        /// Values of the matrix.
        values: usize,
        /// Labels of the scores.
        labels: usize,
    },
    /// The confidence in a label map is no probability between 0 and 1, both excluded.
    Confidence(f32),
    /// A pixel of a label map has a label that there is not.
    Label {
        /// The label.
        label: usize,
        /// x and y.
        at: [u32; 2],
        /// Number of labels that there are.
        labels: usize,
    },
    /// Posteriors of another number of channels than there are values for their mask.
    MaskValues {
        /// Channels of the posteriors.
        channels: usize,
        /// Values given.
        values: usize,
    },
    /// A mask cannot tell the channels of these scores apart.
    TooManyChannels {
        /// The file with the scores.
        path: PathBuf,
        /// How many channels it has.
        channels: usize,
        /// The highest label.
        highest: usize,
    },
    /// A file does not hold scores of its image.
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// There are no scores at a path.
    NoScores(PathBuf),
    /// One file of scores for several images.
    OneFile {
        /// The file.
        path: PathBuf,
        /// How many images there are.
        images: usize,
    },
    /// Two images have one name, upper or lower case aside, and so would what is made of them.
    SameName([PathBuf; 2]),
    /// A folder lacks the scores of some images.
    Missing {
        /// The folder.
        folder: PathBuf,
        /// How many images have no scores.
        missing: usize,
        /// How many images there are.
        images: usize,
        /// The first few without, and what was looked for.
        first: Vec<String>,
    },
    /// A file that is read would be overwritten.
    Overwritten(PathBuf),
    /// A file cannot be read or written; the source names it.
    File(Cause),
    /// The device or its kernels: no memory, buffers that are too small, features that no lattice holds.
    Device(Cause),
}

/// What is wrong with a file of scores. The texts are the second half of a line that begins with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is missing, damaged, or of another kind.
    Unreadable(String),
    /// Its shape is not that of scores of the image.
    Shape(String),
    /// It holds a value that is neither a score nor a label.
    Value(String),
    /// It is a label map, and was said to be something else.
    IsLabels,
    /// It was said to be a label map, and holds something else.
    NotLabels,
    /// It is a label map of 0 and 255 alone, in which 255 stands for no label.
    ZeroAndUnsure,
    /// It has one channel, which leaves no choice, unless it is of the foreground.
    OneChannel(String),
    /// It was said to be of the foreground, and has a map of the background.
    HasBackground,
    /// Its numbers may be probabilities or logits.
    Unclear(String),
    /// It was said to be probabilities, and holds a negative number.
    Negative(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(text)
            | Problem::Shape(text)
            | Problem::Value(text)
            | Problem::OneChannel(text)
            | Problem::Unclear(text)
            | Problem::Negative(text) => f.write_str(text),
            Problem::IsLabels => {
                f.write_str("this is a label map, neither probabilities nor logits")
            }
            Problem::NotLabels => {
                f.write_str("this is no label map; label maps are integers [H, W] or [1, H, W]")
            }
            Problem::ZeroAndUnsure => f.write_str(
                "this is a label map of 0 and 255 alone, and 255 stands for pixels that nobody labelled, so that all would become 0",
            ),
            Problem::HasBackground => f.write_str("it has a map of the background (0) already"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Deviation(deviations) => write!(
                f,
                "a pairwise potential with deviations {deviations:?}: use positive numbers"
            ),
            Error::NoLabels => f.write_str("the scores have no labels"),
            Error::Size { scores, image } => write!(
                f,
                "the scores are {} x {}, the image is {} x {}: resize the scores to the image",
                scores[0], scores[1], image[0], image[1]
            ),
            Error::NotFinite => f.write_str("the scores hold values that are not finite numbers"),
            Error::Impossible { point } => write!(
                f,
                "the unary energies of point {point} leave it no label: they are NaN, -inf, or inf for every label"
            ),
            Error::Posterior => f.write_str("the posterior holds values that are not finite numbers"),
            Error::Shape { what, given, wanted } => {
                let side = |length: &Option<usize>| length.map_or("?".into(), |length| length.to_string());
                write!(
                    f,
                    "bad shape for {what}: need ({}, {}), got ({}, {})",
                    side(&wanted[0]),
                    side(&wanted[1]),
                    given[0],
                    given[1]
                )
            }
            Error::Compatibility { values, labels } => write!(
                f,
                "a label compatibility of {values} values for {labels} labels: give {labels} x {labels}"
            ),
            Error::Confidence(confidence) => write!(
                f,
                "the confidence in the labels is {confidence}; it is a probability between 0 and 1, both excluded"
            ),
            Error::Label { label, at, labels } => write!(
                f,
                "the label {label} at ({}, {}) is none of 0 to {}",
                at[0],
                at[1],
                labels.saturating_sub(1)
            ),
            Error::MaskValues { channels, values } => {
                write!(f, "{channels} channels but {values} mask values")
            }
            Error::TooManyChannels {
                path,
                channels,
                highest,
            } => write!(
                f,
                "the scores {} have {channels} channels up to label {highest}; a PNG tells {} apart, 0 to 254",
                path.display(),
                MaskValue::MOST_CLASSES + 1
            ),
            Error::Scores { path, problem } => {
                write!(f, "the scores {}: {problem}", path.display())
            }
            Error::NoScores(path) => write!(
                f,
                "{} does not exist; give the file or the folder with the scores",
                path.display()
            ),
            Error::OneFile { path, images } => write!(
                f,
                "{} is one file, but there are {images} images; give the folder with their scores",
                path.display()
            ),
            Error::SameName([first, second]) => write!(
                f,
                "{} and {} have one name, and so would what is made of them; refine them into two folders",
                first.display(),
                second.display()
            ),
            Error::Missing {
                folder,
                missing,
                images,
                first,
            } => write!(
                f,
                "{} lacks the scores of {missing} of {images} images; looked for those of {}",
                folder.display(),
                first.join(", ")
            ),
            Error::Overwritten(path) => {
                write!(f, "{} is read and would be overwritten", path.display())
            }
            Error::File(source) | Error::Device(source) => source.fmt(f),
        }
    }
}

impl StdError for Error {
    /// What lies behind the error of a file or a device, whose own text is this one's already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::File(source) | Error::Device(source) => source.source(),
            _ => None,
        }
    }
}

/// The error of a device, whatever it is called there.
pub(super) fn device(error: impl Into<Cause>) -> Error {
    Error::Device(error.into())
}

/// The error of a file, which it names.
pub(super) fn file(error: impl Into<Cause>) -> Error {
    Error::File(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_wrapped_error_says_everything_once() {
        let inner = || anyhow!("the device is full").context("building a lattice");
        let plain = format!("{:#}", inner());
        let error = device(inner());
        assert_eq!(error.to_string(), "building a lattice");
        assert_eq!(format!("{:#}", anyhow::Error::from(error)), plain);
    }
}
