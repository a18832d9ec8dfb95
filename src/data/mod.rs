//! Data sets: images with image-level tags, and masks to compare with.
//!
//! Everything about classes comes from the data set. A tag is an index into its class names; in a mask 0 is the
//! background, c + 1 is class c, and 255 is ignored ([`MaskValue`]).

mod annotated;
mod batch;
mod class_names;
pub mod corrected;
pub mod decode;
mod extra;
mod files;
mod folder;
pub mod inspect;
mod kind;
mod layouts;
pub mod loader;
mod mask_files;
mod mask_map;
mod mask_value;
mod masks;
mod mat;
mod naming;
pub mod pairs;
mod palette;
mod seen;
pub mod shapes;
mod split;
mod table;
mod text;
pub mod transforms;
mod truth;
mod turns;
mod verify;
mod voc;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use mask_map::MaskMap;

pub use batch::{Batch, Labels, LoaderOptions, Order};
pub use extra::ExtraKind;
pub use kind::Kind;
pub use loader::Loader;
pub use mask_value::MaskValue;
pub use pairs::{Draw, Pairs, Relation};
pub use palette::{colour, palette};
pub use seen::{LeftOut, MaskFiles, Seen};
pub use shapes::ShapesOptions;
pub use split::Split;
pub use transforms::{Augment, Scaling, limited, normalize};
pub use voc::{VocList, is_voc, voc_list};

/// What to open.
#[derive(Clone, Debug)]
pub struct DataOptions {
    /// The word `shapes`, or the path of a folder (a folder called shapes is `./shapes`).
    pub data: String,
    /// The kind; `None` tells it from the folder's content.
    pub kind: Option<Kind>,
    /// Seed of the generated data set.
    pub seed: u64,
    /// VOC: the training list, a name in `ImageSets/Segmentation` (`train`, `train_aug`, ...) or a path; `train` unless
    /// given. COCO: the file of the training images, where there are several.
    pub train_list: Option<String>,
    /// VOC: the validation list, likewise; `val` unless given. COCO: the file of the validation images.
    pub val_list: Option<String>,
    /// A folder of the same form with the validation images; not of VOC, whose lists name them.
    pub val: Option<PathBuf>,
    /// What values in mask files mean, where it is not themselves: `VALUE=CLASS`, as in `255=dog`.
    pub mask_values: Vec<String>,
    /// Classes that a run was begun with, else none. Where they are those of the data set, their order and spellings hold
    /// and their names are not judged: the run goes on.
    pub begun_with: Vec<String>,
    /// Size of the generated data set.
    pub shapes: ShapesOptions,
}

impl DataOptions {
    /// The built-in data set.
    pub fn built_in(seed: u64, shapes: ShapesOptions) -> DataOptions {
        DataOptions {
            data: "shapes".into(),
            kind: Some(Kind::Shapes),
            seed,
            train_list: None,
            val_list: None,
            val: None,
            mask_values: Vec::new(),
            begun_with: Vec::new(),
            shapes,
        }
    }
}

/// An open data set.
#[derive(Clone, Debug)]
pub struct Data {
    /// What kind it is.
    pub kind: Kind,
    /// Names of the classes, without the background.
    pub classes: Vec<String>,
    /// Training images, each with at least one tag.
    pub train: Split,
    /// Validation images; may be empty, and may lack tags or masks, or both (VOC's list `test`).
    pub val: Split,
    /// Whether the validation images are training images: those of a folder that have masks.
    pub val_is_train: bool,
    /// How many images were left out with a warning.
    pub skipped: usize,
    /// What was seen meanwhile.
    pub seen: Seen,
}

/// Opens a data set: lists its images and tags, or generates it.
///
/// Image files are not decoded here; [`Data::verify`] does.
///
/// # Errors
/// One line that names the file: no such folder, no images, unknown tags, two images with one name, and what else the
/// kind of data set asks for.
pub fn open(options: &DataOptions) -> Result<Data> {
    let path = Path::new(&options.data);
    let mut data = match options.kind.map_or_else(|| detect(&options.data), Ok)? {
        Kind::Shapes => shapes::open(&options.shapes, options.seed),
        Kind::Folder => folder::open(path, options.val.as_deref(), &options.begun_with),
        Kind::Voc => voc::open(
            path,
            options.train_list.as_deref(),
            options.val_list.as_deref(),
            &options.begun_with,
        ),
        kind => annotated::open(kind, path, options),
    }?;
    if !options.mask_values.is_empty() {
        ensure!(
            data.kind.has_values(),
            "--mask-values says what values in mask files mean, but {} has none",
            data.seen.taken_for
        );
        let map = Arc::new(MaskMap::new(&options.mask_values, &data.classes)?);
        data.train.map = Some(map.clone());
        data.val.map = Some(map);
    }
    for line in data.seen.left_out.formats() {
        log::warn!("left out: {line}");
    }
    if let Some(line) = data.seen.masks.told() {
        log::warn!("{line}");
    }
    Ok(data)
}

fn detect(data: &str) -> Result<Kind> {
    let path = Path::new(data);
    if data == "shapes" {
        Ok(Kind::Shapes)
    } else if !path.is_dir() {
        bail!("the data set {data} is not a folder; give the path of one, or the word shapes");
    } else if let Some(kind) = layouts::kind(path) {
        Ok(kind)
    } else if voc::year_folder(path)?.is_some() {
        Ok(Kind::Voc)
    } else {
        Ok(Kind::Folder)
    }
}

/// Counts what is left out, with a warning for each.
#[derive(Default)]
struct Skips {
    count: usize,
    left_out: LeftOut,
}

impl Skips {
    /// Leaves an image out for `reason`; `kind` is what all of that kind are called.
    fn skip_as(&mut self, kind: &str, image: &Path, reason: impl std::fmt::Display) {
        log::warn!("skipped: {reason}");
        self.left_out.add(kind, image);
        self.count += 1;
    }

    /// As [`Skips::skip_as`], of what there may be thousands of: they are told together.
    fn count_as(&mut self, kind: &str, image: &Path) {
        self.left_out.add(kind, image);
        self.count += 1;
    }

    /// The rest of an error: which files are of formats that cannot be read.
    fn formats(&self) -> String {
        self.left_out
            .formats()
            .map(|line| format!("; left out: {line}"))
            .collect()
    }
}

/// The sorted indices of `tags` in `classes`.
///
/// # Errors
/// Names the image, the unknown tag and the known names.
fn tag_indices(tags: &[String], classes: &[String], place: &Path) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    for tag in tags {
        match classes.iter().position(|c| c == tag) {
            Some(index) => indices.push(index),
            None => bail!(
                "{} has the unknown tag {tag:?}; known are {}",
                place.display(),
                classes.join(", ")
            ),
        }
    }
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_told_from_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        assert_eq!(detect("shapes").unwrap(), Kind::Shapes);
        assert_eq!(detect(&path).unwrap(), Kind::Folder);
        for part in ["VOC2012/ImageSets", "VOC2012/JPEGImages"] {
            std::fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        assert_eq!(detect(&path).unwrap(), Kind::Voc);
        assert_eq!(detect(&format!("{path}/VOC2012")).unwrap(), Kind::Voc);
        let error = detect("no/such/folder").unwrap_err().to_string();
        assert!(error.contains("no/such/folder is not a folder"), "{error}");
    }
}
