//! What programs put around a network's tensors: headers of any length, prefixes before names, objects beside them.

use weakseg::weights::load::plan;
use weakseg::weights::{Checkpoint, Format, write_safetensors};

use super::bad_input::{open, refused};
use super::craft::{self, Pickled, Stored};

type Shapes = Vec<(String, Vec<usize>)>;

/// A file with tensors of these names and shapes, all ones.
fn safetensors(tensors: &[(&str, &[usize])]) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let declared = shapes(tensors);
    let values = declared.iter().map(|(_, shape)| Ok(vec![1.0; shape.iter().product()]));
    write_safetensors(&path, &declared, values.collect::<Vec<_>>()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (dir, checkpoint)
}

fn shapes(tensors: &[(&str, &[usize])]) -> Shapes {
    let owned = tensors.iter().map(|(name, shape)| (name.to_string(), shape.to_vec()));
    owned.collect()
}

/// Lengths among which are those that a pickle (128), MXNet's list (274) and a web page (60) begin with.
#[test]
fn a_safetensors_header_may_have_any_length() {
    let least = "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    for length in (least.len()..700).chain([0x8b1f, 0x4b50]) {
        let header = format!("{least:<length$}");
        let bytes = [
            &(length as u64).to_le_bytes()[..],
            header.as_bytes(),
            &2.5f32.to_le_bytes(),
        ]
        .concat();
        let checkpoint = open("a.safetensors", &bytes).unwrap();
        assert_eq!(checkpoint.format(), Format::Safetensors, "{length}");
        assert_eq!(checkpoint.read("w").unwrap(), [2.5], "{length}");
        // Cut off, it is told as what it is.
        refused(
            "a.safetensors",
            &bytes[..bytes.len() - 1],
            &["safetensors", "truncated"],
        );
    }
}

/// ResNet38's first layer and a batch norm, which are enough for its key map.
const LAYERS: [(&str, &[usize]); 2] = [("conv1a.weight", &[2, 3, 3, 3]), ("b2.bn_branch2a.weight", &[2])];

#[test]
fn prefixes_are_found_and_said() {
    for (prefixes, notes) in [
        (["module.", "module."], &["took module. off the names"][..]),
        (["_orig_mod.", "_orig_mod."], &["took _orig_mod. off the names"]),
        (
            ["module._orig_mod.", "module._orig_mod."],
            &["took module.", "took _orig_mod."],
        ),
        (
            ["state_dict.model.", "state_dict.model."],
            &["took state_dict.", "took model."],
        ),
        (["backbone.", ""], &["took backbone. off 1 of 2 names"]),
        (["", "model."], &["took model. off 1 of 2 names"]),
        (
            ["ema_model.module.", "ema_model.module."],
            &["took ema_model.", "took module."],
        ),
        (["encoder_q.", "encoder_q."], &[]),
        (["student.encoder.", "student.encoder."], &[]),
    ] {
        let names: Vec<String> = prefixes
            .iter()
            .zip(LAYERS)
            .map(|(prefix, (name, _))| format!("{prefix}{name}"))
            .collect();
        let tensors = [(&names[0][..], LAYERS[0].1), (&names[1][..], LAYERS[1].1)];
        let (_dir, checkpoint) = safetensors(&tensors);
        let said = checkpoint.notes();
        for note in notes {
            assert!(said.iter().any(|said| said.contains(note)), "{said:?} lacks {note}");
        }
        let plan = plan(&checkpoint, "resnet38_cls", &shapes(&LAYERS)).unwrap();
        assert_eq!(plan.shapes(), shapes(&LAYERS), "{prefixes:?}");
        assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
        assert!(plan.values(&checkpoint).all(|value| value.is_ok()));
        // Where it is none of the usual prefixes, the plan has it.
        let other = if notes.is_empty() { prefixes[0] } else { "" };
        assert_eq!(plan.prefix, other);
    }
}

#[test]
fn averages_give_way_and_copies_are_told_apart_by_the_user() {
    let of = |prefixes: &[&str]| {
        let names: Vec<(String, &[usize])> = prefixes
            .iter()
            .flat_map(|prefix| LAYERS.map(|(name, shape)| (format!("{prefix}{name}"), shape)))
            .collect();
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|(n, s)| (&n[..], *s)).collect();
        safetensors(&tensors)
    };
    for averaged in ["ema_model.", "ema.module."] {
        let (_dir, checkpoint) = of(&["module.", averaged]);
        let plan = plan(&checkpoint, "resnet38_cls", &shapes(&LAYERS)).unwrap();
        assert_eq!((plan.loaded.len(), plan.skipped.len()), (2, 2));
        assert!(plan.loaded.iter().all(|entry| entry.key == entry.name));
        assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
    }
    let (_dir, checkpoint) = of(&["teacher.", "student."]);
    let taken = plan(&checkpoint, "resnet38_cls", &shapes(&LAYERS)).unwrap();
    assert_eq!(taken.prefix, "student.");
    for (copies, both) in [
        (["left.", "right."], "left., right."),
        (["model.", "net."], "model., net."),
        (
            ["module.backbone.", "module.model.backbone."],
            "backbone., model.backbone.",
        ),
        (["instance_net.", "semantic_net."], "instance_net., semantic_net."),
    ] {
        let (_dir, checkpoint) = of(&copies);
        let error = plan(&checkpoint, "resnet38_cls", &shapes(&LAYERS)).unwrap_err();
        let error = error.to_string();
        for part in ["a.safetensors", "2 times", both] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// Two key maps of this network know its first layer, as `features.0.weight` and as `vgg.features.0.weight`.
#[test]
fn behind_a_prefix_a_network_has_all_of_its_parts() {
    let layers: Shapes = shapes(&[
        ("vgg.features.0.weight", &[2, 3, 3, 3]),
        ("extra_gate.weight", &[4, 2, 1, 1]),
    ]);
    let held: Shapes = layers
        .iter()
        .map(|(name, s)| (format!("student.{name}"), s.clone()))
        .collect();
    let held: Vec<(&str, &[usize])> = held.iter().map(|(name, s)| (&name[..], &s[..])).collect();
    let (_dir, checkpoint) = safetensors(&held);
    let plan = plan(&checkpoint, "vgg16_coattention", &layers).unwrap();
    assert_eq!(plan.prefix, "student.");
    assert_eq!(plan.shapes(), layers);
    assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let declared = shapes(&LAYERS);
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("diverged.safetensors");
        let mut kernel = vec![0.5; 54];
        (kernel[7], kernel[9]) = (bad, bad);
        write_safetensors(&path, &declared, [Ok(kernel), Ok(vec![1.0; 2])]).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let plan = plan(&checkpoint, "resnet38_cls", &declared).unwrap();
        let results: Vec<_> = plan.values(&checkpoint).collect();
        let error = results[0].as_ref().unwrap_err().to_string();
        for part in ["diverged.safetensors", "2 of the 54", "conv1a.weight", word] {
            assert!(error.contains(part), "{error}");
        }
        assert!(results[1].is_ok());
    }
}

/// `{"w": a tensor, "x": what `opcodes` push}` as a zip archive.
fn beside_a_tensor(opcodes: &[u8]) -> Vec<u8> {
    let tensor = craft::dict(&[Pickled::new("w", "FloatStorage", &[2])]);
    let program = [&b"\x80\x02"[..], &tensor, &craft::text("x"), opcodes, b"s."].concat();
    craft::archive(&[
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/w", &[0; 8]),
    ])
}

/// `module.name(*arguments)`, with what `arguments` push.
fn call(module: &str, name: &str, arguments: &[u8]) -> Vec<u8> {
    let function = format!("c{module}\n{name}\n(");
    [function.as_bytes(), arguments, b"tR"].concat()
}

#[test]
fn harmless_objects_are_skipped_and_listed() {
    let text = craft::text;
    let buffer = "mmengine.logging.history_buffer";
    let mean = call(
        "builtins",
        "getattr",
        &[format!("c{buffer}\nHistoryBuffer\n").as_bytes(), &text("mean")].concat(),
    );
    let array = [
        &b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR(K\x01(K\x01tcnumpy\ndtype\n("[..],
        &text("f8"),
        b"\x89\x88tR(K\x03",
        &text("<"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08\x00\x00\x00\x00\x00\x00\x00\x00tb",
    ]
    .concat();
    let cases: [(&str, Vec<u8>); 8] = [
        (
            "pathlib.PosixPath",
            call("pathlib", "PosixPath", &[text("/"), text("tmp")].concat()),
        ),
        (
            "pathlib._local.PosixPath",
            call("pathlib._local", "PosixPath", &text("/")),
        ),
        ("datetime.datetime", call("datetime", "datetime", b"C\x0a0123456789")),
        (
            "argparse.Namespace",
            [
                &b"cargparse\nNamespace\n)\x81}"[..],
                &text("lr"),
                b"G?\xf0\x00\x00\x00\x00\x00\x00sb",
            ]
            .concat(),
        ),
        (
            "pytorch_lightning.utilities.parsing.AttributeDict",
            [
                &b"cpytorch_lightning.utilities.parsing\nAttributeDict\n)R("[..],
                &text("lr"),
                b"K\x01u",
            ]
            .concat(),
        ),
        (
            "lightning.fabric.utilities.data.AttributeDict",
            b"clightning.fabric.utilities.data\nAttributeDict\n)R".to_vec(),
        ),
        (
            "mmengine.logging.history_buffer.HistoryBuffer",
            [
                format!("c{buffer}\nHistoryBuffer\n)").as_bytes(),
                b"\x81}(",
                &text("_log_history"),
                &array,
                &text("_statistics_methods"),
                b"}",
                &text("mean"),
                &mean,
                b"sub",
            ]
            .concat(),
        ),
        (
            "numpy.core.multiarray.scalar",
            call(
                "numpy.core.multiarray",
                "scalar",
                &[call("numpy", "dtype", &text("f8")), b"C\x0801234567".to_vec()].concat(),
            ),
        ),
    ];
    for (class, opcodes) in cases {
        let checkpoint = open("a.pth", &beside_a_tensor(&opcodes)).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["w"], "{class}");
        assert_eq!(checkpoint.read("w").unwrap(), [0.0, 0.0]);
        let notes = checkpoint.notes().join("; ");
        let said = format!("skipped Python objects without running them: {class}");
        assert!(notes.contains(&said), "{notes} lacks {said}");
    }
    // A state dict inside of something that is passed over is not read, and this is said.
    let program = [
        &b"\x80\x02ceasydict\nEasyDict\n)R"[..],
        &craft::text("state_dict"),
        &craft::dict(&[Pickled::new("w", "FloatStorage", &[2])]),
        b"s.",
    ]
    .concat();
    let hidden = craft::archive(&[
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/w", &[0; 8]),
    ]);
    refused(
        "a.pth",
        &hidden,
        &["no tensors", "skipped", "easydict.EasyDict", "state_dict"],
    );
    // Containers are containers, whoever's.
    for opcodes in [
        &b"ccollections\ndefaultdict\n(c__builtin__\nlist\ntR"[..],
        b"ccollections\nOrderedDict\n)R",
    ] {
        let checkpoint = open("a.pth", &beside_a_tensor(opcodes)).unwrap();
        assert_eq!(checkpoint.notes(), [""; 0]);
    }
    let twice = [
        &b"("[..],
        &call("pathlib", "PosixPath", b""),
        &call("pathlib", "PosixPath", b""),
        b"t",
    ]
    .concat();
    let checkpoint = open("a.pth", &beside_a_tensor(&twice)).unwrap();
    assert!(checkpoint.notes().join("; ").contains("pathlib.PosixPath (2 times)"));
}

#[test]
fn notes_stay_in_one_line_whatever_the_names() {
    let program = [
        &b"\x80\x02}("[..],
        &craft::text("state_dict"),
        &craft::dict(&[Pickled::new("w", "FloatStorage", &[2])]),
        &craft::text("a\nb"),
        b"K\x01u.",
    ]
    .concat();
    let wrapped = craft::archive(&[
        Stored::plain("a/data.pkl", &program),
        Stored::plain("a/data/w", &[0; 8]),
    ]);
    let notes = open("a.pth", &wrapped).unwrap().notes().join("; ");
    assert!(notes.contains("left out a\\nb") && !notes.contains('\n'), "{notes}");
    let header = "{\"a\\nb\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0]].concat();
    refused("a.safetensors", &bytes, &["no tensors", "left out \"a\\nb\""]);
}

#[test]
fn what_is_not_harmless_stays_refused_wherever_it_hides() {
    let text = craft::text;
    let system = call("os", "system", &text("touch owned"));
    let getattr = |module: &str, name: &str| {
        let of = format!("c{module}\n{name}\n");
        call("builtins", "getattr", &[of.as_bytes(), &text("system")].concat())
    };
    let cases: [(Vec<u8>, &str); 9] = [
        (call("pathlib", "PosixPath", &system), "os.system"),
        (
            [b"cargparse\nNamespace\n)\x81", &system[..], b"b"].concat(),
            "os.system",
        ),
        (call("pathlib", "os.system", &text("ls")), "pathlib.os.system"),
        (call("pathlib", "Path.unlink", &text("a")), "pathlib.Path.unlink"),
        (call("argparse", "FileType", &text("w")), "argparse.FileType"),
        (getattr("posix", "x"), "x.system"),
        // The method of a harmless class may be named, but nothing that was named so may be called.
        (
            [&getattr("pathlib", "Path")[..], b"(", &text("ls"), b"tR"].concat(),
            "something that is not a function",
        ),
        (
            [&b"cbuiltins\ngetattr\n("[..], &text("os"), &text("system"), b"tR"].concat(),
            "builtins.getattr",
        ),
        (
            call("copyreg", "_reconstructor", b"cos\nsystem\nN"),
            "copyreg._reconstructor",
        ),
    ];
    for (opcodes, part) in cases {
        refused("a.pth", &beside_a_tensor(&opcodes), &[part]);
    }
}
