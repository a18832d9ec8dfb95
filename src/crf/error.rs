//! What goes wrong around a dense CRF. Texts are one line and name files; advice about a program's options is the
//! program's to add.

use std::path::PathBuf;

use crate::data::MaskValue;

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of something else.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a CRF could not be built, applied, or given its scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pairwise potential has deviations of position and colour that are not positive numbers.
    #[error("a pairwise potential with deviations {0:?}: use positive numbers")]
    Deviation([Option<f32>; 2]),
    /// The scores have no labels.
    #[error("the scores have no labels")]
    NoLabels,
    /// Scores and image differ in width and height.
    #[error("the scores are {} x {}, the image is {} x {}: resize the scores to the image", .scores[0], .scores[1], .image[0], .image[1])]
    Size {
        /// Width and height of the scores.
        scores: [usize; 2],
        /// Width and height of the image.
        image: [u32; 2],
    },
    /// The scores hold NaN or infinities.
    #[error("the scores hold values that are not finite numbers")]
    NotFinite,
    /// A label compatibility of another number of labels.
    #[error("a label compatibility of {values} values for {labels} labels: give {labels} x {labels}")]
    Compatibility {
        /// Values of the matrix.
        values: usize,
        /// Labels of the scores.
        labels: usize,
    },
    /// The confidence in a label map is no probability between 0 and 1, both excluded.
    #[error("the confidence in the labels is {0}; it is a probability between 0 and 1, both excluded")]
    Confidence(f32),
    /// A pixel of a label map has a label that there is not.
    #[error("the label {label} at ({}, {}) is none of 0 to {}", .at[0], .at[1], .labels.saturating_sub(1))]
    Label {
        /// The label.
        label: usize,
        /// x and y.
        at: [u32; 2],
        /// Number of labels that there are.
        labels: usize,
    },
    /// Posteriors of another number of channels than there are values for their mask.
    #[error("{channels} channels but {values} mask values")]
    MaskValues {
        /// Channels of the posteriors.
        channels: usize,
        /// Values given.
        values: usize,
    },
    /// A mask cannot tell the channels of these scores apart.
    #[error("the scores {} have {channels} channels up to label {highest}; a PNG tells {} apart, 0 to 254", .path.display(), MaskValue::MOST_CLASSES + 1)]
    TooManyChannels {
        /// The file with the scores.
        path: PathBuf,
        /// How many channels it has.
        channels: usize,
        /// The highest label.
        highest: usize,
    },
    /// A file does not hold scores of its image.
    #[error("the scores {}: {problem}", .path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// There are no scores at a path.
    #[error("{} does not exist; give the file or the folder with the scores", .0.display())]
    NoScores(PathBuf),
    /// One file of scores for several images.
    #[error("{} is one file, but there are {images} images; give the folder with their scores", .path.display())]
    OneFile {
        /// The file.
        path: PathBuf,
        /// How many images there are.
        images: usize,
    },
    /// Two images have one name, upper or lower case aside, and so would what is made of them.
    #[error("{} and {} have one name, and so would what is made of them; refine them into two folders", .0[0].display(), .0[1].display())]
    SameName([PathBuf; 2]),
    /// A folder lacks the scores of some images.
    #[error("{} lacks the scores of {missing} of {images} images; looked for those of {}", .folder.display(), .first.join(", "))]
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
    #[error("{} is read and would be overwritten", .0.display())]
    Overwritten(PathBuf),
    /// A file cannot be read or written; the source names it.
    #[error(transparent)]
    File(Cause),
    /// The device or its kernels: no memory, buffers that are too small, features that no lattice holds.
    #[error(transparent)]
    Device(Cause),
}

/// What is wrong with a file of scores. The texts are the second half of a line that begins with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is missing, damaged, or of another kind.
    #[error("{0}")]
    Unreadable(String),
    /// Its shape is not that of scores of the image.
    #[error("{0}")]
    Shape(String),
    /// It holds a value that is neither a score nor a label.
    #[error("{0}")]
    Value(String),
    /// It is a label map, and was said to be something else.
    #[error("this is a label map, neither probabilities nor logits")]
    IsLabels,
    /// It was said to be a label map, and holds something else.
    #[error("this is no label map; label maps are integers [H, W] or [1, H, W]")]
    NotLabels,
    /// It is a label map of 0 and 255 alone, in which 255 stands for no label.
    #[error(
        "this is a label map of 0 and 255 alone, and 255 stands for pixels that nobody labelled, so that all would become 0"
    )]
    ZeroAndUnsure,
    /// It has one channel, which leaves no choice, unless it is of the foreground.
    #[error("{0}")]
    OneChannel(String),
    /// It was said to be of the foreground, and has a map of the background.
    #[error("it has a map of the background (0) already")]
    HasBackground,
    /// Its numbers may be probabilities or logits.
    #[error("{0}")]
    Unclear(String),
    /// It was said to be probabilities, and holds a negative number.
    #[error("{0}")]
    Negative(String),
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
