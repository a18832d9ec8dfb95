//! Files as people have them: maps of the foreground, wrapped weights; and the end of memory.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array3};
use ndarray_npy::write_npy;
use weakseg::data::decode::read_mask;
use weakseg::weights::{Checkpoint, write_safetensors};

use super::harness::*;

const SIZE: (u32, u32) = (24, 16);

/// A dark and a bright half.
fn photo(folder: &Path) {
    let bright = |x: u32| [if 2 * x < SIZE.0 { 20 } else { 220 }; 3];
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, _| Rgb(bright(x)))
        .save(folder.join("a.png"))
        .unwrap();
}

fn crf(folder: &Path, scores: &str, more: &[&str]) -> Ran {
    let args = ["crf", "a.png", "--scores", scores, "--out", "out", "--device", "cpu"];
    weakseg(folder, &[&args, more].concat())
}

/// 1 in the bright half.
fn right(folder: &Path) -> bool {
    let mask = read_mask(folder.join("out/a.png"), 254, SIZE).unwrap();
    mask.enumerate_pixels()
        .all(|(x, _, value)| value.0[0] == u8::from(2 * x >= SIZE.0))
}

const FOREGROUND: [&str; 2] = ["--scores-are", "foreground"];

#[test]
fn maps_of_the_foreground_are_understood_or_explained() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    photo(dir.path());
    let (w, h) = (SIZE.0 as usize, SIZE.1 as usize);
    let likely = |x: usize| if 2 * x < w { 0.2_f32 } else { 0.8 };

    write_npy(at("one.npy"), &Array3::from_shape_fn((1, h, w), |(_, _, x)| likely(x))).unwrap();
    crf(dir.path(), "one.npy", &[]).fails(&["one.npy", "one channel", "--scores-are foreground"]);
    for how in ["probabilities", "logits"] {
        crf(dir.path(), "one.npy", &["--scores-are", how]).fails(&["--scores-are foreground"]);
    }
    crf(dir.path(), "one.npy", &FOREGROUND).succeeds();
    assert!(right(dir.path()));
    write_npy(at("flat.npy"), &Array2::from_shape_fn((h, w), |(_, x)| likely(x))).unwrap();
    crf(dir.path(), "flat.npy", &[]).fails(&["flat.npy", "floats", "--scores-are foreground"]);
    crf(dir.path(), "flat.npy", &FOREGROUND).succeeds();
    assert!(right(dir.path()));

    let map = GrayImage::from_fn(SIZE.0, SIZE.1, |x, _| Luma([if 2 * x < SIZE.0 { 0 } else { 255 }]));
    map.save(at("binary.png")).unwrap();
    crf(dir.path(), "binary.png", &[]).fails(&["0 and 255 alone", "--scores-are foreground"]);
    crf(dir.path(), "binary.png", &FOREGROUND).succeeds();
    assert!(right(dir.path()));
    crf(dir.path(), "binary.png", &["--scores-are", "labels"])
        .succeeds()
        .warns(&["1 of 1 masks are 0 everywhere", "a.png"]);

    let labels = Array3::from_shape_fn((1, h, w), |(_, _, x)| i64::from(2 * x >= w));
    write_npy(at("labels.npy"), &labels).unwrap();
    crf(dir.path(), "labels.npy", &[]).succeeds();
    assert!(right(dir.path()));
    write_npy(at("zeros.npy"), &Array2::<u8>::zeros((h, w))).unwrap();
    crf(dir.path(), "zeros.npy", &[]).succeeds().warns(&["0 everywhere"]);
}

#[test]
fn prefixes_of_weights_are_said_and_bad_values_named() {
    let dir = tempfile::tempdir().unwrap();
    let network = weakseg::models::Network::named("deeplab_resnet50", 32, 20).unwrap();
    let declared = network.declare().0.into_iter().map(|p| (p.name, p.shape));
    let declared: Vec<(String, Vec<usize>)> = declared.collect();
    let write = |file: &str, prefix: &str, bad: Option<usize>| {
        let named: Vec<_> = declared
            .iter()
            .map(|(name, shape)| match name.starts_with("layer") {
                true => (format!("{prefix}{name}"), shape.clone()),
                false => (name.clone(), shape.clone()),
            })
            .collect();
        let values = named.iter().enumerate().map(|(i, (_, shape))| {
            let value = if bad == Some(i) { f32::NAN } else { 0.5 };
            Ok(vec![value; shape.iter().product()])
        });
        write_safetensors(&dir.path().join(file), &named, values.collect::<Vec<_>>()).unwrap();
    };
    let convert = |file: &str| {
        let args = ["weights", "convert", file, "--network", "deeplab_resnet50"];
        let more = ["--width-divisor", "32", "--out", "out.safetensors"];
        weakseg(dir.path(), &[&args[..], &more].concat())
    };
    write("wrapped.safetensors", "module.", None);
    let said = convert("wrapped.safetensors").succeeds().out;
    assert!(said.contains("took module. off"), "{said}");
    let inspected = weakseg(dir.path(), &["weights", "inspect", "wrapped.safetensors"]);
    assert!(inspected.succeeds().out.contains("took module. off"));
    let converted = Checkpoint::open(&dir.path().join("out.safetensors")).unwrap();
    assert_eq!(converted.names().count(), declared.len());

    write("other.safetensors", "encoder.", None);
    let said = convert("other.safetensors").succeeds().out;
    assert!(said.contains("the network's keys begin with encoder."), "{said}");

    fs::remove_file(dir.path().join("out.safetensors")).unwrap();
    write("diverged.safetensors", "", Some(0));
    convert("diverged.safetensors").fails(&["diverged.safetensors", &declared[0].0, "NaN"]);
    assert!(!dir.path().join("out.safetensors").exists());
}

/// Twelve million pixels in less than a gigabyte.
#[cfg(target_os = "linux")]
#[test]
fn the_end_of_memory_is_one_line_that_names_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (w, h) = (4000, 3000);
    RgbImage::from_pixel(w, h, Rgb([90, 120, 30]))
        .save(dir.path().join("a.png"))
        .unwrap();
    let scores = Array3::<f32>::from_elem((2, h as usize, w as usize), 0.5);
    write_npy(dir.path().join("a.npy"), &scores).unwrap();
    let args = ["crf", "a.png", "--scores", "a.npy", "--out", "out", "--device", "cpu"];
    let ran = limited(dir.path(), "ulimit -v 1000000", &args);
    let ran = ran.fails(&["crf: a.png", "out of memory", "MB more"]);
    // Nothing of it is Rust's own message before an abort.
    assert!(!ran.err.contains("memory allocation of"), "{}", ran.err);
}
