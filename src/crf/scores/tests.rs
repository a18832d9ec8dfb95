//! Right and wrong files of scores.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use ndarray::array;
use ndarray_npy::NpzWriter;
use tempfile::TempDir;

use super::*;
use crate::crf::dictionary::tests::{array as array_of, pickled, raw};
use crate::data::decode::write_mask;
use crate::maps::{Maps, write_maps};

/// A `.npy` file as the format's specification has it.
fn npy(descriptor: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let text = format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let text = format!("{text:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

/// The same of little-endian float32.
fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    npy("<f4", false, shape, &data)
}

fn save(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn read_bytes(name: &str, bytes: &[u8], how: As, size: (u32, u32)) -> Result<Scores> {
    let dir = tempfile::tempdir().unwrap();
    read(&save(&dir, name, bytes), how, size)
}

/// The one-line error about the file, which must be named and say all of `parts`.
fn fails(bytes: &[u8], how: As, size: (u32, u32), parts: &[&str]) {
    let error = read_bytes("bad.npy", bytes, how, size).unwrap_err().to_string();
    assert!(error.contains("bad.npy") && !error.contains('\n'), "{error}");
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

/// Two channels of 3 x 1.
const PAIR: [f32; 6] = [0.25, 1.0, 0.5, 0.75, 0.0, 0.5];

fn pair() -> Content {
    Content::Probabilities(Array3::from_shape_vec((2, 1, 3), PAIR.to_vec()).unwrap())
}

#[test]
fn both_byte_orders_and_both_memory_orders() {
    let c_order = PAIR;
    let fortran = [0.25, 0.75, 1.0, 0.0, 0.5, 0.5_f32];
    for (order, values) in [(false, c_order), (true, fortran)] {
        let data = |bytes: fn(f32) -> Vec<u8>| values.iter().flat_map(|v| bytes(*v)).collect::<Vec<u8>>();
        for (descriptor, data) in [
            ("<f4", data(|v| v.to_le_bytes().to_vec())),
            (">f4", data(|v| v.to_be_bytes().to_vec())),
            ("<f8", data(|v| f64::from(v).to_le_bytes().to_vec())),
            (">f8", data(|v| f64::from(v).to_be_bytes().to_vec())),
        ] {
            let bytes = npy(descriptor, order, "(2, 1, 3)", &data);
            let scores = read_bytes("a.npy", &bytes, As::Auto, (3, 1)).unwrap();
            assert_eq!(scores.content, pair(), "{descriptor} {order}");
            assert_eq!(scores.labels, [0, 1]);
            let Content::Probabilities(values) = &scores.content else {
                unreachable!()
            };
            assert!(values.is_standard_layout());
        }
    }
}

#[test]
fn every_kind_of_integer() {
    for (descriptor, one) in [
        ("|b1", &[1_u8][..]),
        ("|u1", &[1]),
        ("|i1", &[1]),
        ("<i2", &[1, 0]),
        (">u2", &[0, 1]),
        ("<i4", &[1, 0, 0, 0]),
        (">i4", &[0, 0, 0, 1]),
        ("<u4", &[1, 0, 0, 0]),
        ("<i8", &[1, 0, 0, 0, 0, 0, 0, 0]),
        (">i8", &[0, 0, 0, 0, 0, 0, 0, 1]),
        ("<u8", &[1, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let zero = vec![0; one.len()];
        let data = [&zero[..], one, one, &zero].concat();
        let one_hot = read_bytes("a.npy", &npy(descriptor, false, "(2, 2, 1)", &data), As::Auto, (1, 2)).unwrap();
        let expected = array![[[0.0], [1.0]], [[1.0], [0.0]]];
        assert_eq!(one_hot.content, Content::Probabilities(expected), "{descriptor}");
        let map = read_bytes("a.npy", &npy(descriptor, false, "(2, 2)", &data), As::Auto, (2, 2)).unwrap();
        let expected = GrayImage::from_raw(2, 2, vec![0, 1, 1, 0]).unwrap();
        assert_eq!(map.content, Content::Labels(expected), "{descriptor}");
    }
}

#[test]
fn other_number_types_are_named() {
    fails(
        &npy("<f2", false, "(1, 1, 1)", &[0, 60]),
        As::Auto,
        (1, 1),
        &["'<f2'", "astype('<f4')"],
    );
    fails(&npy("<c8", false, "(1, 1, 1)", &[0; 8]), As::Auto, (1, 1), &["'<c8'"]);
    fails(&npy("|O", false, "(1, 1, 1)", &[0; 8]), As::Auto, (1, 1), &["'|O'"]);
}

#[test]
fn shapes_that_fit_and_shapes_that_do_not() {
    let batch = read_bytes("a.NPY", &floats("(1, 2, 1, 3)", &PAIR), As::Auto, (3, 1)).unwrap();
    assert_eq!(batch.content, pair());
    for (shape, size, parts) in [
        ("(2, 1, 3)", (1, 3), &["3 x 1", "1 x 3"][..]),
        ("(2, 3, 1, 1)", (3, 1), &["[2, 3, 1, 1]", "[C, H, W]"]),
        ("(6,)", (3, 1), &["[6]", "[C, H, W]"]),
        ("(3, 1, 2)", (1, 3), &["channels come last", "transpose(2, 0, 1)"]),
        ("(3, 2)", (2, 3), &["[3, 2]", "floats"]),
        ("(3, 2)", (6, 1), &["2 x 3", "6 x 1"]),
    ] {
        fails(&floats(shape, &PAIR), As::Auto, size, parts);
    }
    fails(&floats("(0, 1, 3)", &[]), As::Auto, (3, 1), &["no channels"]);
    fails(
        &npy("|u1", false, "(1, 2)", &[0, 1]),
        As::Auto,
        (1, 1),
        &["2 x 1", "1 x 1"],
    );
}

#[test]
fn damaged_files() {
    let whole = floats("(2, 1, 3)", &PAIR);
    for length in [0, 5, 60, 128, whole.len() - 1] {
        fails(&whole[..length], As::Auto, (3, 1), &[]);
    }
    fails(&[&whole[..], &whole[..]].concat(), As::Auto, (3, 1), &["extra bytes"]);
    fails(b"P5 not an array at all", As::Auto, (3, 1), &[]);
    let huge = floats("(4000000000, 4000000000, 3)", &PAIR);
    fails(&huge, As::Auto, (3, 1), &["shorter than its shape"]);
    fails(
        &floats("(4000000000, 300000, 3)", &PAIR),
        As::Auto,
        (3, 1),
        &["shorter"],
    );
    for name in ["a.npz", "a.png", "a.jpg"] {
        let error = read_bytes(name, b"text", As::Auto, (1, 1)).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains('\n'), "{error}");
    }
    let error = read(Path::new("nowhere/a.npy"), As::Auto, (1, 1)).unwrap_err();
    assert!(error.to_string().contains("nowhere/a.npy"), "{error}");
}

#[test]
fn numbers_say_what_they_are() {
    let content = |values: &[f32], how| {
        let shape = format!("({}, 1, 1)", values.len());
        read_bytes("a.npy", &floats(&shape, values), how, (1, 1)).map(|scores| scores.content)
    };
    let probabilities =
        |values: &[f32]| Content::Probabilities(Array3::from_shape_vec((values.len(), 1, 1), values.to_vec()).unwrap());
    let logits =
        |values: &[f32]| Content::Logits(Array3::from_shape_vec((values.len(), 1, 1), values.to_vec()).unwrap());
    // Rounding, as of an interpolation, makes no logits.
    for values in [&[0.4, 0.6][..], &[1.0], &[0.4, 0.6009], &[-0.0005, 1.0005]] {
        assert_eq!(content(values, As::Auto).unwrap(), probabilities(values));
    }
    for values in [&[-1.0, 0.5][..], &[2.5, 0.1], &[-0.7, -0.7]] {
        assert_eq!(content(values, As::Auto).unwrap(), logits(values));
    }
    assert_eq!(content(&[0.2, 0.2], As::Logits).unwrap(), logits(&[0.2, 0.2]));
    assert_eq!(
        content(&[0.2, 0.6], As::Probabilities).unwrap(),
        probabilities(&[0.25, 0.75])
    );
    assert_eq!(
        content(&[51.0, 204.0], As::Probabilities).unwrap(),
        probabilities(&[0.2, 0.8])
    );
    assert_eq!(
        content(&[0.0, 0.0], As::Probabilities).unwrap(),
        probabilities(&[0.5, 0.5])
    );
    let error = content(&[1.5, -0.5], As::Auto).unwrap_err().to_string();
    assert!(
        error.contains("1.5 at (channel, y, x) = (0, 0, 0) is no probability"),
        "{error}"
    );
    let error = content(&[0.5, -0.2], As::Probabilities).unwrap_err().to_string();
    assert!(error.contains("-0.2 at (channel, y, x) = (1, 0, 0)"), "{error}");
}

#[test]
fn sums_other_than_one() {
    let bytes = floats("(2, 2, 2)", &[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.5]);
    fails(
        &bytes,
        As::Auto,
        (2, 2),
        &["the channels lie in [0, 1]", "0.75 at (y, x) = (1, 0)"],
    );
    // Scores of 0 to 255 are more likely than logits that are whole numbers.
    let bytes = npy("|u1", false, "(2, 1, 1)", &[51, 204]);
    fails(&bytes, As::Auto, (1, 1), &["integers", "51 at"]);
    assert!(read_bytes("a.npy", &bytes, As::Logits, (1, 1)).is_ok());
}

#[test]
fn nan_and_infinities_are_placed() {
    for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let bytes = floats("(2, 2, 2)", &[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, bad, 0.5]);
        for how in [As::Auto, As::Probabilities, As::Logits] {
            fails(
                &bytes,
                how,
                (2, 2),
                &[&format!("{name} at (channel, y, x) = (1, 1, 0)")],
            );
        }
    }
    // Finite, but not as float32.
    fails(
        &npy("<f8", false, "(1, 1, 1)", &1e300_f64.to_le_bytes()),
        As::Logits,
        (1, 1),
        &["inf at"],
    );
}

#[test]
fn label_maps_become_channels_of_the_labels_that_occur() {
    let dir = tempfile::tempdir().unwrap();
    let map = GrayImage::from_raw(3, 2, vec![0, 15, 255, 254, 15, 0]).unwrap();
    let expected = GrayImage::from_raw(3, 2, vec![0, 1, 255, 2, 1, 0]).unwrap();
    let palette = dir.path().join("palette.png");
    write_mask(&palette, &map).unwrap();
    let grey = dir.path().join("grey.png");
    map.save(&grey).unwrap();
    let array = save(&dir, "a.npy", &npy("|u1", false, "(2, 3)", map.as_raw()));
    for path in [&palette, &grey, &array] {
        let scores = read(path, As::Auto, (3, 2)).unwrap();
        assert_eq!(scores.content, Content::Labels(expected.clone()));
        assert_eq!(scores.labels, [0, 15, 254]);
        assert_eq!(scores.png_values(path).unwrap(), [0, 15, 254]);
        assert_eq!(scores.unary(0.7).unwrap().dim(), (3, 2, 3));
        for (how, size, part) in [(As::Auto, (2, 3), "2 x 3"), (As::Logits, (3, 2), "this is a label map")] {
            let error = read(path, how, size).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }
    fails(&npy("|u1", false, "(1, 2)", &[255, 255]), As::Auto, (2, 1), &["255"]);
    fails(
        &npy("|i1", false, "(1, 2)", &[0, 255]),
        As::Auto,
        (2, 1),
        &["-1 at (y, x) = (0, 1)"],
    );
    fails(&npy("<i2", false, "(1, 1)", &[0, 1]), As::Auto, (1, 1), &["256 at"]);
}

#[test]
fn every_label_at_once() {
    let map: Vec<u8> = (0..=255).collect();
    let bytes = npy("|u1", false, "(16, 16)", &map);
    let scores = read_bytes("a.npy", &bytes, As::Auto, (16, 16)).unwrap();
    assert_eq!(scores.labels, (0..255).collect::<Vec<_>>());
    let Content::Labels(channels) = scores.content else {
        panic!("labels became something else");
    };
    assert_eq!(channels.into_raw(), map);
}

#[test]
fn one_label_and_300() {
    let one = read_bytes("a.npy", &floats("(1, 1, 1)", &[1.0]), As::Auto, (1, 1)).unwrap();
    assert_eq!(one.unary(0.7).unwrap(), array![[[0.0]]]);
    let even = |n: usize| floats(&format!("({n}, 1, 1)"), &vec![1.0 / n as f32; n]);
    let scores = read_bytes("a.npy", &even(255), As::Auto, (1, 1)).unwrap();
    assert_eq!(scores.png_values(Path::new("a.npy")).unwrap().len(), 255);
    let scores = read_bytes("a.npy", &even(300), As::Auto, (1, 1)).unwrap();
    let error = scores.png_values(Path::new("a.npy")).unwrap_err().to_string();
    assert!(
        error.contains("a.npy have 300 channels") && error.contains("255 apart"),
        "{error}"
    );
    assert_eq!(scores.unary(0.7).unwrap().dim(), (300, 1, 1));
}

fn npz(arrays: &[(&str, &Array3<f32>)]) -> Vec<u8> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        npz.add_array(*name, *array).unwrap();
    }
    npz.finish().unwrap().into_inner()
}

#[test]
fn the_array_of_an_archive() {
    let right = Array3::from_shape_vec((2, 1, 3), PAIR.to_vec()).unwrap();
    let wrong = Array3::zeros((1, 1, 1));
    for arrays in [
        &[("anything", &right)][..],
        &[("image", &wrong), ("scores", &right)],
        &[("probs", &right), ("arr_0", &wrong)],
        &[("arr_1", &wrong), ("arr_0", &right)],
    ] {
        let scores = read_bytes("a.npz", &npz(arrays), As::Auto, (3, 1)).unwrap();
        assert_eq!(scores.content, pair());
    }
    for (bytes, parts) in [
        (
            npz(&[("a", &right), ("b", &right)]),
            ["2 arrays (a, b)", "scores, probs, arr_0"],
        ),
        (npz(&[]), ["0 arrays", "arr_0"]),
    ] {
        let error = read_bytes("a.npz", &bytes, As::Auto, (3, 1)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn maps_of_weakseg_keep_their_mask_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let maps = Maps {
        classes: vec![0, 7],
        maps: Array3::from_shape_vec((2, 1, 3), PAIR.to_vec()).unwrap(),
    };
    write_maps(&path, &maps).unwrap();
    let scores = read(&path, As::Auto, (3, 1)).unwrap();
    assert_eq!((scores.content, scores.labels), (pair(), vec![0, 7]));
}

#[test]
fn a_compressed_archive_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed.npz");
    assert_eq!(read(&path, As::Auto, (3, 1)).unwrap().content, pair());
    let mut bytes = std::fs::read(&path).unwrap();
    // Somewhere in the packed numbers.
    bytes[60] ^= 0x55;
    let error = read_bytes("a.npz", &bytes, As::Auto, (3, 1)).unwrap_err();
    assert!(error.to_string().contains("a.npz"), "{error}");
}

#[test]
fn one_channel_is_of_the_foreground_where_that_is_said() {
    let half = floats("(1, 1, 2)", &[0.75, 0.5]);
    for how in [As::Auto, As::Probabilities] {
        fails(&half, how, (2, 1), &["one channel", "label 0"]);
    }
    let logits = floats("(1, 1, 2)", &[-2.0, 3.0]);
    for how in [As::Auto, As::Logits] {
        fails(&logits, how, (2, 1), &["one channel"]);
    }
    fails(&logits, As::Foreground, (2, 1), &["-2 at", "no probability", "exp(-a)"]);
    let expected = Content::Probabilities(array![[[0.25, 0.5]], [[0.75, 0.5]]]);
    for shape in ["(1, 1, 2)", "(1, 2)", "(1, 1, 1, 2)"] {
        let bytes = floats(shape, &[0.75, 0.5]);
        let scores = read_bytes("a.npy", &bytes, As::Foreground, (2, 1)).unwrap();
        assert_eq!(scores.content, expected, "{shape}");
        assert_eq!(scores.labels, [0, 1]);
    }
    // 51 of 255, as grey images have it.
    let grey = npy("|u1", false, "(1, 2)", &[51, 255]);
    let scores = read_bytes("a.npy", &grey, As::Foreground, (2, 1)).unwrap();
    let expected = array![[[0.8, 0.0]], [[0.2, 1.0]]];
    assert_eq!(scores.content, Content::Probabilities(expected));
    let large = npy("<i2", false, "(1, 2)", &[0, 0, 0, 1]);
    fails(&large, As::Foreground, (2, 1), &["256 at"]);
}

#[test]
fn channels_of_the_foreground_get_a_background() {
    let bytes = floats("(2, 1, 3)", &[0.5, 0.0, 1.0, 0.25, 0.0, 1.0]);
    fails(&bytes, As::Auto, (3, 1), &["sum to 0.75"]);
    let scores = read_bytes("a.npy", &bytes, As::Foreground, (3, 1)).unwrap();
    let expected = array![[[0.4, 1.0, 0.0]], [[0.4, 0.0, 0.5]], [[0.2, 0.0, 0.5]]];
    assert_eq!(scores.content, Content::Probabilities(expected));
    assert_eq!(scores.labels, [0, 1, 2]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let mut maps = Maps {
        classes: vec![3, 7],
        maps: Array3::from_shape_vec((2, 1, 3), PAIR.to_vec()).unwrap(),
    };
    write_maps(&path, &maps).unwrap();
    assert_eq!(read(&path, As::Foreground, (3, 1)).unwrap().labels, [0, 3, 7]);
    maps.classes = vec![0, 7];
    write_maps(&path, &maps).unwrap();
    let error = read(&path, As::Foreground, (3, 1)).unwrap_err().to_string();
    assert!(error.contains("background (0) already"), "{error}");
}

#[test]
fn maps_of_zero_and_255_or_one_are_labels_of_the_foreground() {
    let dir = tempfile::tempdir().unwrap();
    let map = GrayImage::from_raw(3, 1, vec![0, 255, 255]).unwrap();
    let png = dir.path().join("a.png");
    map.save(&png).unwrap();
    let array = save(&dir, "a.npy", &npy("|u1", false, "(1, 1, 3)", map.as_raw()));
    let expected = GrayImage::from_raw(3, 1, vec![0, 1, 1]).unwrap();
    for path in [&png, &array] {
        let error = read(path, As::Auto, (3, 1)).unwrap_err().to_string();
        assert!(error.contains("0 and 255 alone"), "{error}");
        let scores = read(path, As::Foreground, (3, 1)).unwrap();
        assert_eq!(scores.content, Content::Labels(expected.clone()));
        assert_eq!(scores.labels, [0, 1]);
        assert_eq!(read(path, As::Labels, (3, 1)).unwrap().labels, [0]);
    }
    for descriptor in ["|b1", "|u1"] {
        let bytes = npy(descriptor, false, "(1, 3)", &[0, 1, 1]);
        let scores = read_bytes("a.npy", &bytes, As::Foreground, (3, 1)).unwrap();
        assert_eq!(scores.content, Content::Labels(expected.clone()));
    }
}

#[test]
fn a_label_map_may_have_a_leading_axis() {
    let bytes = npy("|u1", false, "(1, 1, 3)", &[0, 4, 255]);
    let scores = read_bytes("a.npy", &bytes, As::Auto, (3, 1)).unwrap();
    assert_eq!(scores.labels, [0, 4]);
    fails(&bytes, As::Probabilities, (3, 1), &["this is a label map"]);
    for values in ["(2, 1, 3)", "(1, 2, 1, 3)"] {
        fails(&floats(values, &PAIR), As::Labels, (3, 1), &["no label map"]);
    }
}

#[test]
fn a_dictionary_of_maps_counts_classes_from_0() {
    let pickle = pickled(&[
        (b"K\x00", array_of([1, 2], &raw([1.0, 0.5]))),
        (b"K\x0e", array_of([1, 2], &raw([0.25, 0.0]))),
    ]);
    let bytes = npy("|O", false, "()", &pickle);
    fails(&bytes, As::Auto, (2, 1), &["sum to 1.25"]);
    let scores = read_bytes("a.npy", &bytes, As::Foreground, (2, 1)).unwrap();
    assert_eq!(scores.labels, [0, 1, 15]);
    let expected = array![[[0.0, 0.5]], [[0.8, 0.5]], [[0.2, 0.0]]];
    assert_eq!(scores.content, Content::Probabilities(expected));
    // With a background of its own, as psa saves what a CRF makes of the maps.
    let scores = read_bytes("a.npy", &bytes, As::Probabilities, (2, 1)).unwrap();
    assert_eq!(scores.labels, [0, 14]);
    fails(&bytes, As::Auto, (3, 1), &["they are 2 x 1"]);
    let harm = npy("|O", false, "()", b"\x80\x03cos\nsystem\nX\x02\0\0\0ls\x85R.");
    fails(&harm, As::Auto, (2, 1), &["os.system", "no code"]);
}
