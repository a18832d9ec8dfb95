//! Images of odd kinds, which go through, and broken ones, which are told and left out.

use std::fs;
use std::path::Path;

use image::{ImageBuffer, Luma, Rgb, Rgba};

use super::harness::*;

/// Every kind of file that is no picture, by name.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let encode = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture(64, 64).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let (jpeg, png) = (encode(image::ImageFormat::Jpeg), encode(image::ImageFormat::Png));
    // A congruential sequence: bytes without a meaning, the same in every run.
    let noise: Vec<u8> = (0..4000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    vec![
        ("cut.jpg", jpeg[..jpeg.len() / 2].to_vec()),
        ("head.jpg", jpeg[..25].to_vec()),
        ("noise.jpg", noise.clone()),
        ("start.jpg", [&jpeg[..4], &noise].concat()),
        ("half.png", png[..png.len() / 2].to_vec()),
        ("empty.png", Vec::new()),
        ("text.png", b"not a picture".to_vec()),
        ("huge.png", huge_png()),
    ]
}

/// Pictures of every kind that there is, each to its own name.
fn odd(folder: &Path) {
    let deep = ImageBuffer::from_fn(40, 30, |x, y| Rgb([x as u16 * 1600, y as u16 * 2000, 0]));
    deep.save(folder.join("deep.png")).unwrap();
    let deep_grey = ImageBuffer::from_fn(40, 30, |x, _| Luma([x as u16 * 1600]));
    deep_grey.save(folder.join("deep_grey.png")).unwrap();
    let glass = ImageBuffer::from_fn(40, 30, |x, y| Rgba([200_u8, 90, y as u8, x as u8 * 6]));
    glass.save(folder.join("glass.png")).unwrap();
    mask(40, 30, 200).save(folder.join("grey.png")).unwrap();
    mask(40, 30, 200).save(folder.join("grey.jpg.jpg")).unwrap();
    picture(1, 1).save(folder.join("dot.png")).unwrap();
    picture(900, 1).save(folder.join("line.png")).unwrap();
    picture(1, 900).save(folder.join("column.png")).unwrap();
    let cmyk = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cmyk.jpg");
    fs::copy(cmyk, folder.join("cmyk.jpg")).unwrap();
}

#[test]
fn odd_pictures_go_through_every_stage() {
    let dir = tempfile::tempdir().unwrap();
    let cats = dir.path().join("set/cat");
    fs::create_dir_all(&cats).unwrap();
    odd(&cats);
    let ran = small(dir.path(), &["run", "--data", "set", "--out", "run"]).succeeds();
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    for path in files(&cats).keys() {
        let image = image::open(cats.join(path)).unwrap();
        let name = Path::new(path).file_stem().unwrap().to_string_lossy();
        for part in ["labels", "predictions"] {
            let mask = dir.path().join(format!("run/{part}/{name}.png"));
            let mask = image::open(mask).unwrap();
            assert_eq!((mask.width(), mask.height()), (image.width(), image.height()));
        }
    }
}

#[test]
fn broken_pictures_are_left_out_with_a_warning_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets(&set);
    let mut tags = fs::read_to_string(set.join("tags.csv")).unwrap();
    for (name, bytes) in broken() {
        write(&set.join(name), bytes);
        tags += &format!("{name},cat\n");
    }
    // Tagged but not there, listed without a tag, and there without being listed.
    tags += "missing.jpg,dog\nuntagged.png,\n";
    write(&set.join("tags.csv"), tags);
    for name in ["untagged.png", "unlisted.png"] {
        picture(20, 20).save(set.join(name)).unwrap();
    }
    let ran = small(dir.path(), &["run", "--data", "set", "--out", "run"]).succeeds();
    let names: Vec<_> = broken().into_iter().map(|(name, _)| name).collect();
    let names = [&names[..], &["missing.jpg", "untagged.png", "unlisted.png"]].concat();
    let log = fs::read_to_string(dir.path().join("run/log.txt")).unwrap();
    for name in &names {
        ran.warns(&["skipped", name]);
        assert!(log.contains(name), "log.txt has no {name}: {log}");
    }
    ran.warns(&["huge.png", "20000 x 20000", "scale it down"]);
    ran.warns(&["cut.jpg", "ends too early"]);
    ran.warns(&[&format!("{} images left out, 4 left", names.len())]);
    let metrics = json(&dir.path().join("run/metrics.json"));
    assert_eq!(metrics["skipped"], names.len());
    let labels = files(&dir.path().join("run/labels"));
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["a.png", "b.png", "c.png", "d.png"]);
}

#[test]
fn prediction_skips_broken_pictures_and_takes_odd_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (mixed, bad) = (dir.path().join("mixed"), dir.path().join("bad"));
    fs::create_dir_all(&mixed).unwrap();
    odd(&mixed);
    let good = files(&mixed).len();
    for (name, bytes) in broken() {
        write(&mixed.join(format!("bad_{name}")), &bytes);
        write(&bad.join(name), bytes);
    }
    small_shapes(dir.path(), &["run", "--method", "supervised", "--out", "run"]).succeeds();
    let before = files(&dir.path().join("run"));
    let predict = |input: &str, to: &str| {
        let args = ["predict", input, "--out", "run", "--to", to];
        weakseg(dir.path(), &[&args[..], &["--device", "cpu"]].concat())
    };
    let ran = predict("mixed", "one").succeeds();
    for (name, _) in broken() {
        ran.warns(&["skipped", &format!("bad_{name}")]);
    }
    assert_eq!(files(&dir.path().join("one")).len(), good);
    assert!(ran.out.contains("8 images skipped"), "{}", ran.out);
    predict("bad", "two").fails(&["none of the 8 images could be read"]);
    predict("nowhere.jpg", "three").fails(&["nowhere.jpg does not exist"]);
    fs::create_dir(dir.path().join("void")).unwrap();
    predict("void", "three").fails(&["no images in void"]);
    assert_same(&files(&dir.path().join("run")), &before);
}

/// Decoded it would be 1.2 GB.
#[cfg(target_os = "linux")]
#[test]
fn a_picture_of_20_000_by_20_000_pixels_is_refused_in_little_memory() {
    use whole_png::zeros_png;
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    pets(&set);
    let whole = zeros_png(20_000, 20_000);
    assert!(whole.len() < 4 << 20);
    write(&set.join("e.png"), &whole);
    write(&set.join("masks/a.png"), &whole);
    let tags = fs::read_to_string(set.join("tags.csv")).unwrap();
    write(&set.join("tags.csv"), tags + "e.png,cat\n");
    let limits = "export MALLOC_ARENA_MAX=2; ulimit -v 1000000";
    let args = [&["run", "--data", "set", "--out", "run"], &SMALL[..]].concat();
    let ran = limited(dir.path(), limits, &args).succeeds();
    ran.warns(&["skipped", "e.png: 20000 x 20000"]);
    ran.warns(&["mask not used", "masks/a.png is 20000 x 20000"]);
}

/// A whole PNG of one colour in few bytes, written in rows so that the test itself stays small.
#[cfg(target_os = "linux")]
mod whole_png {
    use std::io::Write;

    pub fn zeros_png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().unwrap();
        let mut stream = writer.stream_writer().unwrap();
        let row = vec![0; width.div_ceil(8) as usize];
        (0..height).for_each(|_| stream.write_all(&row).unwrap());
        stream.finish().unwrap();
        drop(writer);
        bytes
    }
}
