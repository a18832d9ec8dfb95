//! Data sets as annotation programs write them, read through `data::open`.

mod coco;
mod labelme;
mod masks;
mod yolo;

use std::fs;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;
use crate::data::ShapesOptions;

/// A folder with pictures of 8 x 6, each of its own shade, and text files.
fn folder(images: &[&str], texts: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for (shade, name) in images.iter().enumerate() {
        RgbImage::from_pixel(8, 6, Rgb([shade as u8 * 9; 3]))
            .save(at(name))
            .unwrap();
    }
    for (name, text) in texts {
        fs::write(at(name), text).unwrap();
    }
    dir
}

/// Saves a mask of 8 x 6 whose left half has a value.
fn mask(dir: &tempfile::TempDir, name: &str, value: u8) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mask = GrayImage::from_fn(8, 6, |x, _| Luma([if x < 4 { value } else { 0 }]));
    mask.save(path).unwrap();
}

fn options(dir: &Path) -> DataOptions {
    let mut options = DataOptions::built_in(0, ShapesOptions::default());
    options.data = dir.display().to_string();
    options.kind = None;
    options
}

fn open(dir: &tempfile::TempDir) -> Data {
    crate::data::open(&options(dir.path())).unwrap()
}

fn error_of(options: &DataOptions) -> String {
    let text = format!("{:#}", crate::data::open(options).unwrap_err());
    assert!(!text.contains('\n'), "{text}");
    text
}

fn error(dir: &tempfile::TempDir) -> String {
    error_of(&options(dir.path()))
}

/// Images with their tags, and how many pixels of each value their masks have.
fn told(split: &Split) -> Vec<String> {
    let of = |i: usize| {
        let mut text = format!("{} {:?}", split.name(i), split.tags(i));
        if let Some(mask) = split.mask(i).unwrap() {
            let mut counts = BTreeMap::new();
            mask.iter().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
            text += &format!(" {counts:?}");
        }
        text
    };
    split.indices().map(of).collect()
}

fn left_out(data: &Data) -> Vec<(&str, usize)> {
    data.seen
        .left_out
        .kinds()
        .map(|(kind, count, _)| (kind, count))
        .collect()
}
