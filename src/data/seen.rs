//! What was seen while a data set was opened and checked, beside its images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was left out, by kind.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(BTreeMap<String, (usize, PathBuf)>);

impl LeftOut {
    /// Notes a file of this kind.
    pub(super) fn add(&mut self, kind: impl Into<String>, example: &Path) {
        let entry = self.0.entry(kind.into());
        entry.or_insert_with(|| (0, example.to_owned())).0 += 1;
    }

    /// Notes an image file of a format that cannot be read.
    pub(super) fn format(&mut self, extension: &str, path: &Path) {
        let remedy = match extension {
            "heic" | "heif" | "hif" | "avif" | "jxl" | "jp2" | "j2k" => {
                "convert them to JPEG, as with `magick mogrify -format jpg`"
            }
            "svg" => "draw them as PNG",
            _ => "convert them to PNG, as with `magick mogrify -format png`",
        };
        self.add(format!(".{extension} files (not read; {remedy})"), path);
    }

    /// Adds what `other` has noted.
    pub(super) fn join(&mut self, other: LeftOut) {
        for (kind, (count, example)) in other.0 {
            self.0.entry(kind).or_insert((0, example)).0 += count;
        }
    }

    /// Kinds with how many there are and an example of each.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, usize, &Path)> {
        let entries = self.0.iter();
        entries.map(|(kind, (count, example))| (kind.as_str(), *count, example.as_path()))
    }

    /// A line for each kind.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.kinds()
            .map(|(kind, count, example)| format!("{count} {kind}: {}", example.display()))
    }

    /// A line for each format that cannot be read.
    pub(super) fn formats(&self) -> impl Iterator<Item = String> {
        let formats = self.kinds().filter(|(kind, ..)| kind.starts_with('.'));
        formats.map(|(kind, count, example)| format!("{count} {kind}: {}", example.display()))
    }
}

/// The files among which the masks were looked for, and what became of them.
#[derive(Clone, Debug, Default)]
pub struct MaskFiles {
    /// How many there are.
    pub found: usize,
    /// How many were matched by each rule.
    pub matched: BTreeMap<String, usize>,
    /// Those that no image was found for, with the reason where one is known.
    pub unmatched: Vec<(PathBuf, String)>,
}

impl MaskFiles {
    /// Adds those of another folder.
    pub(super) fn join(&mut self, other: MaskFiles) {
        self.found += other.found;
        for (rule, count) in other.matched {
            *self.matched.entry(rule).or_default() += count;
        }
        self.unmatched.extend(other.unmatched);
    }

    /// One of the unmatched files with the reason, if there is one: what was meant for an image says more than what was
    /// not.
    pub fn example(&self) -> Option<(&Path, Option<&str>)> {
        let with_reason = self.unmatched.iter().find(|(_, reason)| !reason.is_empty());
        let (path, reason) = with_reason.or(self.unmatched.first())?;
        Some((path, Some(reason.as_str()).filter(|r| !r.is_empty())))
    }

    /// A line about the unmatched files, if there are any.
    pub(super) fn told(&self) -> Option<String> {
        let (example, reason) = self.example()?;
        let reason = reason.unwrap_or("no image is called so");
        Some(format!(
            "{} of {} masks match no image: {}: {reason}",
            self.unmatched.len(),
            self.found,
            example.display()
        ))
    }
}

/// What was seen while a data set was opened and checked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What the data set was taken for, and by what that was told.
    pub taken_for: String,
    /// Whether the classes are numbers, sorted as such.
    pub numbered: bool,
    /// What was left out.
    pub left_out: LeftOut,
    /// Masks of the images.
    pub masks: MaskFiles,
    /// The values in the mask of each image that has one, by the image's source, sorted; known once the data set is
    /// verified.
    pub values: BTreeMap<PathBuf, Vec<u8>>,
    /// How many masks cannot be used, and the first reason.
    pub bad_masks: (usize, Option<String>),
}
