//! Class activation maps as psa saves them: `numpy.save` of a dictionary `{class: array [H, W]}`, which is a pickle.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array3, ArrayView2, Axis, ShapeBuilder};

use super::stored::{Names, Stored};
use crate::pickle::{self, Array, Heap, Object, PickleValue, Raw};

/// Most that a class may be. Those of a data set are far fewer; a float32 still tells these apart.
const HIGHEST_CLASS: usize = 999_999;

/// Reads the dictionary from the pickle that follows a `.npy` file's header. Nothing in it is run, and all sizes are
/// checked against its own before anything is allocated.
///
/// # Errors
/// One line without the file's name: a damaged pickle or one that would run something; anything else than whole numbers
/// as keys and arrays of numbers of one size as values.
pub fn read(bytes: &[u8]) -> Result<Stored> {
    let pickle = pickle::read(bytes)?;
    let heap = &pickle.heap;
    let items = heap.dict(unwrapped(pickle.root, heap));
    let items = items.context(
        "it holds Python objects, but no dictionary of maps; save one array [C, H, W], or {class: array [H, W]}",
    )?;
    let mut maps: BTreeMap<usize, &Array> = BTreeMap::new();
    for (key, value) in items {
        let Some(class) = class(*key, heap) else {
            bail!("a key of its dictionary is no class; save {{class: array [H, W]}} with whole numbers as classes");
        };
        match heap.get(*value) {
            Some(Object::Array(map)) => ensure!(
                maps.insert(class, map).is_none(),
                "its class {class} has two maps; save one for every class"
            ),
            _ => bail!("its entry {class} is no array of numpy; save {{class: array [H, W]}}"),
        }
    }
    let first = maps.values().next();
    let shape = first.context("its dictionary is empty; save a map for every class of the image")?;
    let shape = shape.shape.clone();
    let [h, w] = shape[..] else {
        bail!("its maps have the shape {shape:?}; save {{class: array [H, W]}}");
    };
    ensure!(
        h > 0 && w > 0,
        "its maps have the shape {shape:?}, which is empty; save {{class: array [H, W]}}"
    );
    let mut total = 0_usize;
    for (class, map) in &maps {
        ensure!(
            map.shape == shape,
            "its map of class {class} has the shape {:?}, others {shape:?}; save maps of one size",
            map.shape
        );
        // One map may stand for many classes: at each, because counting the characters of a text takes time.
        total = total.saturating_add(map.bytes()?);
        ensure!(
            total <= bytes.len(),
            "its maps take more bytes than it has; save a map of its own for every class"
        );
    }
    let mut values = Array3::zeros((maps.len(), h, w));
    for (mut channel, map) in values.axis_iter_mut(Axis(0)).zip(maps.values()) {
        let numbers = map.values()?;
        channel.assign(&ArrayView2::from_shape((h, w).set_f(map.is_fortran), &numbers)?);
    }
    Ok(Stored {
        values: values.into_dyn(),
        integers: false,
        names: Names::Classes(maps.into_keys().collect()),
    })
}

/// What numpy saves in an array without dimensions because it is none.
fn unwrapped<'a>(root: PickleValue<'a>, heap: &Heap<'a>) -> PickleValue<'a> {
    match heap.get(root) {
        Some(Object::Array(array)) => match array.raw {
            Raw::Objects(items) if array.shape.is_empty() => match heap.sequence(items) {
                Some([only]) => *only,
                _ => root,
            },
            _ => root,
        },
        _ => root,
    }
}

/// A class: a whole number of Python or numpy, up to [`HIGHEST_CLASS`].
fn class<'a>(key: PickleValue<'a>, heap: &Heap<'a>) -> Option<usize> {
    let class = match (key, heap.get(key)) {
        (PickleValue::Text(class), _) => class.parse().ok(),
        (_, Some(Object::Array(scalar))) if scalar.shape.is_empty() => {
            let value = scalar.values().ok()?.first().copied()?;
            (value >= 0.0 && value.fract() == 0.0).then_some(value as usize)
        }
        _ => key.natural(),
    };
    class.filter(|class| *class <= HIGHEST_CLASS)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array's opcodes: `_reconstruct`, then its state of `shape`, float32 and `bytes`.
    pub fn array(shape: [u8; 2], bytes: &[u8]) -> Vec<u8> {
        shaped(&[b'K', shape[0], b'K', shape[1], 0x86], bytes)
    }

    /// The same with the opcodes of its shape.
    fn shaped(shape: &[u8], bytes: &[u8]) -> Vec<u8> {
        [
            &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"[..],
            shape,
            b"cnumpy\ndtype\nX\x02\0\0\0f4K\x00K\x01\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            bytes,
            b"tb",
        ]
        .concat()
    }

    /// The pickle that `numpy.save` writes of `{key: map, ...}`.
    pub fn pickled(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
        let items: Vec<u8> = entries.iter().flat_map(|(key, map)| [key, &map[..]].concat()).collect();
        [
            &b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01)cnumpy\ndtype\nX\x02\0\0\0O8K\x00K\x01\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]}("[..],
            &items,
            b"uatb.",
        ]
        .concat()
    }

    /// The opcodes of an array's bytes.
    pub fn raw(values: [f32; 2]) -> Vec<u8> {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes);
        [&b"C\x08"[..], &bytes.collect::<Vec<u8>>()].concat()
    }

    #[test]
    fn maps_by_class_in_every_way_that_numpy_writes_them() {
        // Bytes of Python 3, text of Python 2, and bytes as text, which Python 3 writes for Python 2.
        let [low, high] = [0.5_f32, 0.25].map(f32::to_le_bytes);
        let python2 = [&b"U\x08"[..], &low, &high].concat();
        let text: String = low.iter().chain(&high).map(|b| char::from(*b)).collect();
        let latin1 = [
            &b"c_codecs\nencode\nX"[..],
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
            b"X\x06\0\0\0latin1\x86R",
        ]
        .concat();
        let scalar =
            b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0i8K\x00K\x01\x87RC\x08\x0e\0\0\0\0\0\0\0\x86R";
        for bytes in [raw([0.5, 0.25]), python2, latin1] {
            let file = pickled(&[
                (scalar, array([1, 2], &raw([1.0, 0.0]))),
                (b"K\x03", array([1, 2], &bytes)),
            ]);
            let stored = read(&file).unwrap();
            assert_eq!(stored.values.shape(), [2, 1, 2]);
            let values: Vec<f32> = stored.values.iter().copied().collect();
            assert_eq!(values, [0.5, 0.25, 1.0, 0.0]);
            assert!(matches!(stored.names, Names::Classes(classes) if classes == [3, 14]));
            for length in 0..file.len() {
                assert!(read(&file[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_dictionary_of_maps_is_refused_and_nothing_is_run() {
        let map = || array([1, 2], &raw([0.0, 1.0]));
        // The map of class 0, as that of all others, which takes less room in the file than in memory.
        let one = (0..=255_u8).map(|class| match class {
            0 => (vec![b'K', 0], [&map()[..], b"q\x09"].concat()),
            _ => (vec![b'K', class], b"h\x09".to_vec()),
        });
        let one: Vec<(Vec<u8>, Vec<u8>)> = one.collect();
        let one: Vec<(&[u8], Vec<u8>)> = one.iter().map(|(key, map)| (&key[..], map.clone())).collect();
        // No number in two dimensions, one of which is 2^60.
        let empty = |class: u8| {
            let shape = b"K\0\x8a\x08\0\0\0\0\0\0\0\x10\x86";
            (vec![b'K', class], shaped(shape, b"C\0"))
        };
        let empty: Vec<(Vec<u8>, Vec<u8>)> = (0..8).map(empty).collect();
        let empty: Vec<(&[u8], Vec<u8>)> = empty.iter().map(|(key, map)| (&key[..], map.clone())).collect();
        let highest = [&b"X\x14\0\0\0"[..], b"18446744073709551615"].concat();
        let system = b"cos\nsystem\nX\x02\0\0\0ls\x85R".to_vec();
        // Two dimensions of 255 would take 260 KB.
        let large = || array([255, 255], &raw([0.0, 1.0]));
        // The same bytes again and again, by way of the memo.
        let shared = (0..20_u8).map(|class| {
            let bytes = match class {
                0 => [&raw([0.0, 1.0])[..], b"q\x07"].concat(),
                _ => b"h\x07".to_vec(),
            };
            (vec![b'K', class], array([1, 2], &bytes))
        });
        let shared: Vec<(Vec<u8>, Vec<u8>)> = shared.collect();
        let shared: Vec<(&[u8], Vec<u8>)> = shared.iter().map(|(key, map)| (&key[..], map.clone())).collect();
        assert!(read(&pickled(&shared)).is_ok());
        for (file, part) in [
            (pickled(&[(b"K\x01", system)]), "os.system"),
            (pickled(&[(b"K\x01", large())]), "has 8 bytes"),
            (pickled(&[(b"X\x04\0\0\0keys", map())]), "no class"),
            (pickled(&[(b"J\xff\xff\xff\xff", map())]), "no class"),
            (pickled(&[(b"K\x01", b"K\x02".to_vec())]), "entry 1"),
            (
                pickled(&[(b"K\x01", map()), (b"K\x02", array([2, 1], &raw([0.0, 1.0])))]),
                "one size",
            ),
            (pickled(&[]), "empty"),
            (pickled(&empty), "which is empty"),
            (pickled(&one), "more bytes than it has"),
            (pickled(&[(&highest, map())]), "no class"),
            (pickled(&[(b"J\xff\xff\xff\x7f", map())]), "no class"),
            (pickled(&[(b"K\x01", map()), (b"X\x01\0\0\x001", map())]), "two maps"),
            (b"\x80\x03K\x01.".to_vec(), "no dictionary"),
        ] {
            let error = format!("{:#}", read(&file).err().unwrap());
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
}
