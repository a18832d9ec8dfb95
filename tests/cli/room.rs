//! Images that are too large, memory that is short, and a cache of tuned kernels that is damaged.

use std::fs;

use image::{GrayImage, RgbImage};
use ndarray::Array3;
use ndarray_npy::write_npy;

use super::harness::*;

/// A run whose network sees images at their own size.
fn trained(folder: &std::path::Path) {
    let whole = [
        "run",
        "--method",
        "supervised",
        "--out",
        "run",
        "--set",
        "input.max_side=0",
    ];
    small_shapes(folder, &whole).succeeds();
}

/// As photographs are: neighbours are alike.
fn smooth(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |f: f32| ((x as f32 * f).sin() * (y as f32 * f).cos() * 100.0 + 128.0) as u8;
        image::Rgb([wave(0.01), wave(0.023), wave(0.007)])
    })
}

fn mask_in(folder: &std::path::Path) -> GrayImage {
    image::open(folder.join("big.png")).unwrap().to_luma8()
}

/// Under a limit of a gigabyte and a half the whole image does not fit: its features and scores take more.
#[test]
fn an_image_that_memory_is_short_for_is_predicted_in_tiles_as_it_would_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    trained(dir.path());
    fs::create_dir(dir.path().join("photos")).unwrap();
    smooth(3000, 2000).save(dir.path().join("photos/big.png")).unwrap();
    picture(60, 40).save(dir.path().join("photos/small.png")).unwrap();
    // With a CRF that sees the image scaled down, a mask is another one.
    let predict = [
        "predict", "photos", "--out", "run", "--device", "cpu", "--crf", "none", "--to",
    ];
    let whole = weakseg(dir.path(), &[&predict[..], &["whole"]].concat()).succeeds();
    assert!(!whole.err.contains("tiles"), "{}", whole.err);
    let tiled = limited(dir.path(), "ulimit -v 1500000", &[&predict[..], &["tiled"]].concat()).succeeds();
    assert!(
        tiled
            .err
            .contains("big.png: 3000 x 2000 pixels are worked on in overlapping tiles"),
        "{}",
        tiled.err
    );
    assert!(dir.path().join("tiled/small.png").exists());
    let [whole, tiled] = ["whole", "tiled"].map(|to| mask_in(&dir.path().join(to)));
    assert_eq!(whole.dimensions(), tiled.dimensions());
    let different = whole.iter().zip(tiled.iter()).filter(|(a, b)| a != b).count();
    assert!(different < 6000, "{different} pixels differ");
    // And with one.
    let args = [
        "predict", "photos", "--out", "run", "--device", "cpu", "--to", "refined",
    ];
    limited(dir.path(), "ulimit -v 1500000", &args).succeeds();
    assert_eq!(mask_in(&dir.path().join("refined")).dimensions(), (3000, 2000));
}

#[test]
fn a_stage_that_memory_is_short_for_is_warned_of_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    pets(&dir.path().join("set"));
    let large = ["--set", "classify.batch=64", "--set", "classify.augment.crop=320"];
    let few = ["--set", "classify.epochs=0.1", "--set", "classify.least_steps=1"];
    let args = [&["classify", "--data", "set", "--out", "run"], &SMALL[..], &large, &few].concat();
    let ran = limited(dir.path(), "ulimit -v 1800000", &args);
    ran.warns(&[
        "stage classify needs about",
        "64 crops of 320 x 320",
        "ulimit -v",
        "--set classify.checkpointing=true",
        "--set classify.batch=",
    ]);
}

/// The program goes on without a cache that it cannot read, and would tune at every start.
#[test]
fn a_damaged_cache_of_tuned_kernels_is_set_aside_once() {
    let dir = tempfile::tempdir().unwrap();
    RgbImage::save(&picture(24, 16), dir.path().join("a.png")).unwrap();
    write_npy(dir.path().join("a.npy"), &Array3::<f32>::from_elem((2, 16, 24), 0.5)).unwrap();
    let crf = || {
        let args = [
            "crf", "a.png", "--scores", "a.npy", "--out", "out", "--device", "vulkan",
        ];
        limited(dir.path(), "export XDG_CACHE_HOME=\"$PWD/cache\"", &args).succeeds()
    };
    let damaged = |ran: &Ran| ran.err.lines().filter(|line| line.contains("is damaged")).count();
    assert_eq!(damaged(&crf()), 0);
    let cache = dir.path().join("cache/cubecl/default.db");
    write(&cache, vec![b'x'; 100_000]);
    let wal = cache.with_file_name("default.db-wal");
    if wal.exists() {
        fs::write(wal, b"x").unwrap();
    }
    let ran = crf();
    ran.warns(&["default.db, is damaged", "set aside as", "tuned anew"]);
    assert_eq!(damaged(&crf()), 0);
    assert!(cache.with_file_name("default.db.damaged").exists());
}
