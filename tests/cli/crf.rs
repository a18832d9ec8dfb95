//! `weakseg crf` on scores of every kind, and on those it has to refuse.

use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array3, ShapeBuilder};
use ndarray_npy::{read_npy, write_npy};

use super::harness::*;

/// Two flat halves, dark and bright, and the channel that goes with each.
fn halves(width: u32, height: u32) -> (RgbImage, GrayImage) {
    let bright = |x: u32| 2 * x >= width;
    (
        RgbImage::from_fn(width, height, |x, _| Rgb([if bright(x) { 220 } else { 20 }; 3])),
        GrayImage::from_fn(width, height, |x, _| Luma([u8::from(bright(x))])),
    )
}

/// Weak evidence for the right half, with errors all over it.
fn noisy(truth: &GrayImage) -> Array3<f32> {
    let (w, h) = truth.dimensions();
    Array3::from_shape_fn((2, h as usize, w as usize), |(c, y, x)| {
        let right = usize::from(truth.get_pixel(x as u32, y as u32).0[0]) == c;
        let flipped = (3 * x + 7 * y) % 5 == 0;
        if right == flipped { 0.4 } else { 0.6 }
    })
}

fn crf(folder: &Path, args: &[&str]) -> Ran {
    let common = ["--out", "out", "--device", "cpu"];
    weakseg(folder, &[&["crf"], args, &common].concat())
}

fn mask(folder: &Path, name: &str) -> GrayImage {
    // Palette images decode to colours; their indices are what counts.
    let file = std::io::BufReader::new(std::fs::File::open(folder.join("out").join(name)).unwrap());
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut values).unwrap();
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    GrayImage::from_raw(info.width, info.height, values).unwrap()
}

#[test]
fn a_folder_of_scores_of_every_kind_is_refined() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("photos")).unwrap();
    std::fs::create_dir(at("scores")).unwrap();
    let (image, truth) = halves(31, 22);
    let scores = noisy(&truth);
    let logits = scores.mapv(|p| 40.0 * (p - 0.5));
    let mut fortran = Array3::zeros((2, 22, 31).f());
    fortran.assign(&scores);
    write_npy(at("scores/a.npy"), &scores).unwrap();
    write_npy(at("scores/b.npy"), &logits.mapv(f64::from)).unwrap();
    write_npy(at("scores/c.npy"), &fortran).unwrap();
    let labels = GrayImage::from_fn(31, 22, |x, y| {
        let unsure = (x + y) % 3 == 0;
        if unsure { Luma([255]) } else { *truth.get_pixel(x, y) }
    });
    labels.save(at("scores/d.png")).unwrap();
    for name in ["a", "b", "c", "d"] {
        image.save(at(&format!("photos/{name}.png"))).unwrap();
    }
    let ran = crf(dir.path(), &["photos", "--scores", "scores", "--posteriors", "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&ran.succeeds().out).unwrap();
    assert_eq!(printed.as_array().unwrap().len(), 4);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(mask(dir.path(), &format!("{name}.png")), truth, "{name}");
        let posterior: Array3<f32> = read_npy(at(&format!("out/{name}.npy"))).unwrap();
        let sums = posterior.sum_axis(ndarray::Axis(0));
        assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5), "{name}");
    }

    // Without a CRF the scores' own winners come out, errors included.
    let one = ["photos/a.png", "--scores", "scores/a.npy", "--crf", "none"];
    crf(dir.path(), &one).succeeds();
    assert_ne!(mask(dir.path(), "a.png"), truth);
}

#[test]
fn odd_images_and_label_counts_are_refined() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // One pixel, one lattice cell, one label, and more labels than a PNG holds.
    let cases: [(&str, u32, u32, usize); 4] = [
        ("pixel", 1, 1, 2),
        ("flat", 40, 30, 2),
        ("sure", 9, 7, 1),
        ("many", 6, 5, 300),
    ];
    for (name, w, h, c) in cases {
        RgbImage::from_pixel(w, h, Rgb([90, 90, 90]))
            .save(at(&format!("{name}.png")))
            .unwrap();
        let raw = Array3::from_shape_fn((c, h as usize, w as usize), |(c, _, _)| 1.0 / (1.0 + c as f32));
        let sum = raw.sum_axis(ndarray::Axis(0));
        write_npy(at(&format!("{name}.npy")), &(raw / sum)).unwrap();
        let (image, scores) = (format!("{name}.png"), format!("{name}.npy"));
        let args = [image.as_str(), "--scores", &scores, "--posteriors"];
        crf(dir.path(), &args).succeeds();
        let posterior: Array3<f32> = read_npy(at(&format!("out/{name}.npy"))).unwrap();
        assert_eq!(posterior.dim(), (c, h as usize, w as usize));
        assert!(posterior.iter().all(|p| p.is_finite()));
        assert!(
            posterior
                .index_axis(ndarray::Axis(0), 0)
                .iter()
                .all(|p| *p >= 1.0 / c as f32)
        );
    }
    let many = ["many.png", "--scores", "many.npy"];
    crf(dir.path(), &many).fails(&["many.npy", "--posteriors"]);
}

#[test]
fn scores_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (image, truth) = halves(12, 9);
    image.save(at("a.png")).unwrap();
    let good = noisy(&truth);
    let write = |scores: &Array3<f32>| write_npy(at("s.npy"), scores).unwrap();
    let refused = |parts: &[&str]| {
        crf(dir.path(), &["a.png", "--scores", "s.npy"]).fails(parts);
        assert!(!at("out/a.png").exists());
    };
    write(&good.mapv(|p| 0.7 * p));
    refused(&["s.npy", "sum", "--scores-are"]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut scores = good.clone();
        scores[[1, 4, 5]] = bad;
        write(&scores);
        refused(&["s.npy", "(1, 4, 5)"]);
    }
    write(&Array3::zeros((2, 9, 11)));
    refused(&["s.npy", "12", "11"]);
    write(&Array3::zeros((0, 9, 12)));
    refused(&["s.npy"]);
    write_npy(at("s.npy"), &Array2::<f32>::zeros((9, 12))).unwrap();
    refused(&["s.npy"]);
    std::fs::write(at("s.npy"), b"\x93NUMPY\x01\x00").unwrap();
    refused(&["s.npy"]);
    std::fs::remove_file(at("s.npy")).unwrap();
    refused(&["s.npy"]);

    write(&good);
    for (args, parts) in [
        (["--set-crf", "bilateral_sxy=0"], ["bilateral_sxy is 0", "positive"]),
        (["--set-crf", "sigma=3"], ["sigma", "bilateral_srgb"]),
        (["--set-crf", "iterations=1.5"], ["iterations", "whole"]),
        (["--confidence", "1.5"], ["confidence", "1.5"]),
    ] {
        GrayImage::from_pixel(12, 9, Luma([1])).save(at("s.png")).unwrap();
        let args = [&["a.png", "--scores", "s.png"], &args[..]].concat();
        crf(dir.path(), &args).fails(&parts);
    }
    let both = ["a.png", "a.png", "--scores", "missing"];
    crf(dir.path(), &both).fails(&["missing"]);
}

/// A photograph of twelve million pixels.
#[test]
fn a_huge_photograph_is_refined() {
    let dir = tempfile::tempdir().unwrap();
    let (image, truth) = halves(4000, 3000);
    image.save(dir.path().join("a.png")).unwrap();
    write_npy(dir.path().join("a.npy"), &noisy(&truth)).unwrap();
    crf(dir.path(), &["a.png", "--scores", "a.npy", "--set-crf", "iterations=3"]).succeeds();
    assert_eq!(mask(dir.path(), "a.png"), truth);
}
