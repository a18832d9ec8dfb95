//! Files that are damaged, made to do harm, or not what their names say.

use std::fs;
use std::path::Path;

use weakseg::weights::Checkpoint;
use weakseg::weights::load::plan;

use super::craft::{self, Pickled, Stored};
use super::networks::declared;
use super::{CASES, golden, memory};

pub fn open(name: &str, bytes: &[u8]) -> Result<Checkpoint, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    Checkpoint::open(&path).map_err(|error| {
        let error = format!("{error:#}");
        assert!(error.contains(name) && !error.contains('\n'), "{error}");
        error
    })
}

#[track_caller]
pub fn refused(name: &str, bytes: &[u8], parts: &[&str]) {
    let error = open(name, bytes).err().unwrap_or_else(|| panic!("{name} was read"));
    for part in parts {
        assert!(error.contains(part), "{error}: no {part:?}");
    }
}

#[test]
fn truncated_files_are_refused() {
    for case in &CASES {
        let whole = fs::read(golden(case.file)).unwrap();
        for i in 0..40 {
            // Near the start, where headers are, and all over the file.
            let length = if i < 10 { 7 * i } else { whole.len() * (i - 9) / 31 - 1 };
            match open(case.file, &whole[..length]) {
                Err(_) => {}
                // Protobuf has no end mark: a file cut between two layers is a smaller network, which is told below.
                Ok(checkpoint) => {
                    let plan = plan(&checkpoint, case.network, &declared(case.network)).unwrap();
                    assert!(!plan.surprises().is_empty(), "{} at {length}", case.file);
                }
            }
        }
    }
}

#[test]
fn a_caffe_network_without_some_layers_is_told() {
    let case = CASES
        .iter()
        .find(|case| case.file == "vgg16_largefov.caffemodel")
        .unwrap();
    let whole = fs::read(golden(case.file)).unwrap();
    // The name takes 7 bytes; a layer starts with tag 100 and its length.
    let first = 7 + 4 + 0x10d;
    let cut = open("cut.caffemodel", &whole[..first]).unwrap();
    assert_eq!(cut.names().collect::<Vec<_>>(), ["conv1_1.0", "conv1_1.1"]);
    let plan = plan(&cut, case.network, &declared(case.network)).unwrap();
    assert_eq!(plan.surprises().len(), 28);
}

#[test]
fn pickles_run_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("owned");
    let command = format!("touch {}", target.display());
    for module in ["os", "posix", "subprocess", "builtins"] {
        let call = [
            format!("c{module}\nsystem\n(").into_bytes(),
            craft::text(&command),
            b"tR".to_vec(),
        ]
        .concat();
        let program = [b"\x80\x02}", &craft::text("a")[..], &call, b"s."].concat();
        let parts = [&format!("{module}.system")[..], "no code"];
        refused(
            "a.pth",
            &craft::archive(&[Stored::plain("a/data.pkl", &program)]),
            &parts,
        );
        refused("a.pth", &craft::legacy(&program, &[]), &parts);
        refused("a.pth", &program, &parts);
    }
    // Nor where the call hides in a class, in a persistent id, or in what makes a subclass of a tensor.
    for program in [
        &b"\x80\x02cos\nsystem\n)\x81}b."[..],
        b"\x80\x02cos\nsystem\n)RQ.",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN)NtR.",
        b"\x80\x02ctorch.storage\n_load_from_bytes\n)R.",
    ] {
        refused(
            "a.pth",
            &craft::archive(&[Stored::plain("a/data.pkl", program)]),
            &["no code"],
        );
    }
    assert!(!target.exists());
}

#[test]
fn zip_bombs_are_refused_before_they_unpack() {
    let zeros = vec![0; 16 << 20];
    let tensor = Pickled::new("w", "FloatStorage", &[4 << 20]);
    let program = craft::state_dict(std::slice::from_ref(&tensor));
    let bomb = craft::archive(&[
        Stored::plain("a/data.pkl", &program),
        Stored::deflated("a/data/w", &zeros),
    ]);
    assert!(bomb.len() < 1 << 20);
    refused("a.pth", &bomb, &["unpack"]);
    // One whose header understates what is inside.
    let tensor = Pickled::new("w", "FloatStorage", &[16]);
    let program = craft::state_dict(&[tensor]);
    let mut lie = Stored::deflated("a/data/w", &zeros);
    lie.claimed = Some(64);
    let bomb = craft::archive(&[Stored::plain("a/data.pkl", &program), lie]);
    let error = open("a.pth", &bomb).unwrap().read("w").unwrap_err().to_string();
    assert!(error.contains("does not unpack to the 64 bytes"), "{error}");
}

#[test]
fn one_long_text_used_many_times_takes_no_memory() {
    let long = "x".repeat(1 << 20);
    // {"a": {LONG: tensor, LONG: tensor, ...}} by recalling both from the memo.
    let tensor = Pickled::new("w", "FloatStorage", &[1]);
    let program = [
        &b"\x80\x02"[..],
        &craft::text(&long),
        b"q\x00",
        &craft::dict(&[tensor]),
        b"q\x010](",
        &b"}h\x00h\x01s".repeat(10_000),
        b"e.",
    ]
    .concat();
    let members = [
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/w", &[0; 4]),
    ];
    let bytes = craft::archive(&members);
    let peak = memory::peak_of(|| refused("a.pth", &bytes, &["a name of 512 bytes"]));
    assert!(peak < 8 << 20, "{peak}");
}

#[test]
fn of_two_pickles_in_an_archive_the_same_one_is_always_read() {
    let [a, b] = ["first", "second"].map(|name| craft::state_dict(&[Pickled::new(name, "FloatStorage", &[1])]));
    let bytes = craft::archive(&[
        Stored::plain("b/data.pkl", &b),
        Stored::plain("b/data/second", &[0; 4]),
        Stored::plain("a/data.pkl", &a),
        Stored::plain("a/data/first", &[0; 4]),
    ]);
    for _ in 0..20 {
        let checkpoint = open("a.pth", &bytes).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["first"]);
    }
}

#[test]
fn headers_that_claim_a_terabyte_are_refused() {
    let tera = 1u64 << 40;
    let safetensors = [&tera.to_le_bytes()[..], b"{\"w\":"].concat();
    refused("a.safetensors", &safetensors, &["damaged"]);
    let header = format!(
        "{{\"w\":{{\"dtype\":\"F32\",\"shape\":[{tera}],\"data_offsets\":[0,{}]}}}}",
        4 * tera
    );
    let safetensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat();
    refused("a.safetensors", &safetensors, &["truncated"]);

    let list = |count: u64, array: &[u8]| -> Vec<u8> {
        [&0x112u64.to_le_bytes()[..], &[0; 8], &count.to_le_bytes(), array].concat()
    };
    refused("a.params", &list(tera, &[0; 64]), &["arrays"]);
    let v2 = [
        &0xF993_FAC9u32.to_le_bytes()[..],
        &[0; 4],
        &[1, 0, 0, 0],
        &tera.to_le_bytes(),
        &[0; 40],
    ]
    .concat();
    refused("a.params", &list(1, &v2), &["more bytes than there are"]);
    let dimensions = [
        &0xF993_FAC9u32.to_le_bytes()[..],
        &[0; 4],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0; 40],
    ]
    .concat();
    refused("a.params", &list(1, &dimensions), &["dimensions"]);

    let huge = Pickled::new("w", "FloatStorage", &[1 << 40]);
    let program = craft::state_dict(&[huge]);
    let members = [
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/w", &[0; 64]),
    ];
    refused("a.pth", &craft::archive(&members), &["\"w\"", "reaches beyond"]);
    refused(
        "a.pth",
        &craft::legacy(&program, &[("w", tera, &[0; 64])]),
        &["truncated"],
    );
    // A string of 2^62 bytes, and a zip file that claims to unpack to that much.
    let program = [&b"\x80\x04\x8d"[..], &(1u64 << 62).to_le_bytes()].concat();
    refused("a.pth", &program, &["ends early"]);
    let mut member = Stored::deflated("a/data.pkl", b".");
    member.claimed = Some(1 << 62);
    refused("a.pth", &craft::archive(&[member]), &["unpack"]);

    // Blob: shape { dim: 2^40 }, data of four bytes.
    let blob = [
        &[0x3a, 7, 0x08][..],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
        &[0x2a, 4],
        &[0; 4],
    ]
    .concat();
    let layer = [&[0x0a, 1, b'c', 0x3a, blob.len() as u8][..], &blob].concat();
    let network = [&[0xa2, 0x06, layer.len() as u8][..], &layer].concat();
    refused("a.caffemodel", &network, &["does not fit its 4 bytes"]);
}

#[test]
fn tensors_that_overlap_or_leave_their_storage_are_refused() {
    for offsets in [
        "[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}",
        "[4,12]}",
        "[8,0]}",
    ] {
        let header = format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{offsets}}}");
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 12]].concat();
        refused("a.safetensors", &bytes, &["damaged"]);
    }
    let cases: [(&[i64], &[i64], i64, &str); 6] = [
        (&[4], &[1], 13, "reaches beyond"),
        (&[4], &[1], -1, "impossible"),
        (&[-4], &[1], 0, "impossible"),
        (&[4, 4], &[1, 1], 0, "overlap"),
        (&[1 << 20], &[0], 0, "overlap"),
        (&[2, 2], &[1], 0, "dimensions"),
    ];
    for (shape, strides, offset, part) in cases {
        let mut tensor = Pickled::new("w", "FloatStorage", shape);
        (tensor.strides, tensor.offset) = (strides.to_vec(), offset);
        let program = craft::state_dict(&[tensor]);
        let members = [
            Stored::plain("a/data.pkl", &program),
            Stored::plain("a/data/w", &[0; 64]),
        ];
        refused("a.pth", &craft::archive(&members), &[part]);
    }
    // Two files of an archive over the same bytes, by the offset of the second one's header.
    let program = craft::state_dict(&[Pickled::new("v", "FloatStorage", &[16])]);
    let mut overlapping = craft::archive(&[
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/v", &[0; 64]),
        Stored::plain("a/data/w", &[0; 64]),
    ]);
    let headers: Vec<usize> = (0..overlapping.len() - 4)
        .filter(|at| overlapping[*at..].starts_with(b"PK\x01\x02"))
        .collect();
    let second: [u8; 4] = overlapping[headers[1] + 42..][..4].try_into().unwrap();
    overlapping[headers[2] + 42..][..4].copy_from_slice(&second);
    refused("a.pth", &overlapping, &["overlap"]);
}

#[test]
fn files_are_told_by_content_not_by_name() {
    let pth = fs::read(golden("resnet38_affinity.pth")).unwrap();
    for name in ["a.params", "a.caffemodel", "a.safetensors"] {
        let checkpoint = open(name, &pth).unwrap();
        assert!(checkpoint.notes()[0].contains("PyTorch zip file in spite of its name"));
    }
    for name in ["a.pth", "a.params", "a.caffemodel", "a.safetensors", "a"] {
        for (bytes, part) in [
            (&b""[..], "empty"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
            (b"hello, this is a text file\n", ""),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ""),
            (&[0; 1000], ""),
        ] {
            refused(name, bytes, &[part]);
        }
    }
    let npz = craft::archive(&[Stored::plain("arr_0.npy", b"\x93NUMPY")]);
    refused("a.npz", &npz, &["no data.pkl"]);
    refused("a.pkl", b"\x80\x04\x8c\x01a.", &["not one that torch.save wrote"]);
    refused(
        "a.pth",
        &craft::archive(&[Stored::plain("a/data.pkl", b"\x80\x02}.")]),
        &["no tensors"],
    );
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), Path::new("/nowhere/a.pth")] {
        let error = format!("{:#}", Checkpoint::open(path).unwrap_err());
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn other_types_strides_and_wrappers_are_read() {
    let halves: Vec<u8> = [0x3c00u16, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600]
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut transposed = Pickled::new("h", "HalfStorage", &[3, 2]);
    transposed.strides = vec![1, 3];
    let mut row = Pickled::new("h", "HalfStorage", &[3]);
    (row.name, row.offset) = ("row", 3);
    let doubles: Vec<u8> = [0.5f64, -1.0].into_iter().flat_map(f64::to_le_bytes).collect();
    let double = Pickled::new("d", "DoubleStorage", &[2]);
    let state = craft::dict(&[transposed, row, double]);
    // {"epoch": 3, "model": {"encoder": {...}, "args": numpy scalar}}
    let scalar = b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85RU\x01x\x86R";
    let inner = [
        b"}(",
        &craft::text("encoder")[..],
        &state,
        &craft::text("args"),
        scalar,
        b"u",
    ]
    .concat();
    let program = [
        b"\x80\x02}(",
        &craft::text("epoch")[..],
        b"K\x03",
        &craft::text("model"),
        &inner,
        b"u.",
    ]
    .concat();
    let members = [
        Stored::plain("a/data.pkl", &program),
        Stored::deflated("a/data/h", &halves),
        Stored::plain("a/data/d", &doubles),
    ];
    for bytes in [
        craft::archive(&members),
        craft::legacy(&program, &[("d", 2, &doubles), ("h", 6, &halves)]),
    ] {
        let checkpoint = open("a.pth", &bytes).unwrap();
        let names: Vec<&str> = checkpoint.names().collect();
        assert_eq!(names, ["encoder.d", "encoder.h", "encoder.row"]);
        assert_eq!(checkpoint.shape("encoder.h"), Some(&[3, 2][..]));
        assert_eq!(checkpoint.read("encoder.h").unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(checkpoint.read("encoder.row").unwrap(), [4., 5., 6.]);
        assert_eq!(checkpoint.read("encoder.d").unwrap(), [0.5, -1.0]);
        let notes = checkpoint.notes().join("; ");
        assert!(
            notes.contains("model") && notes.contains("epoch") && notes.contains("1 values"),
            "{notes}"
        );
        assert!(checkpoint.read("nothing").is_err());
    }
}
