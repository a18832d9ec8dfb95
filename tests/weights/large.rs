//! Memory while a file is converted: the file is mapped, so what is allocated is about one tensor.

use std::fs;

use weakseg::weights::load::plan;
use weakseg::weights::{Checkpoint, write_safetensors};

use super::craft::{self, Pickled, Stored};
use super::memory;

/// Values of each of the tensors: 1 MB.
const VALUES: usize = 1 << 18;
const NAMES: [&str; 8] = ["conv1a.weight", "a", "b", "c", "d", "e", "f", "g"];
const MXNET: [&str; 8] = ["conv0_weight", "bn_data_gamma", "b", "c", "d", "e", "f", "g"];
const CAFFE: [&str; 8] = [
    "conv1_1", "conv1_2", "conv1_3", "conv1_4", "conv1_5", "conv1_6", "fc6", "fc7",
];

fn torch(values: &[u8]) -> [Vec<u8>; 2] {
    let tensors = NAMES.map(|name| Pickled::new(name, "FloatStorage", &[VALUES as i64]));
    let program = craft::state_dict(&tensors);
    let names = NAMES.map(|name| format!("a/data/{name}"));
    let mut members = vec![Stored::plain("a/data.pkl", &program)];
    members.extend(names.iter().map(|name| Stored::plain(name, values)));
    let storages = NAMES.map(|name| (name, VALUES as u64, values));
    [craft::archive(&members), craft::legacy(&program, &storages)]
}

fn mxnet(values: &[u8]) -> Vec<u8> {
    let count = (NAMES.len() as u64).to_le_bytes();
    let mut bytes = [&0x112u64.to_le_bytes()[..], &[0; 8], &count].concat();
    for _ in MXNET {
        bytes.extend(0xF993_FAC9u32.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend((VALUES as u64).to_le_bytes());
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(values);
    }
    bytes.extend(count);
    for name in MXNET {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
    }
    bytes
}

/// A protobuf field of bytes.
fn field(tag: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut number in [tag << 3 | 2, value.len() as u64] {
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    [bytes, value.to_vec()].concat()
}

fn caffe(values: &[u8]) -> Vec<u8> {
    let shape = [0x08, 0x80, 0x80, 0x10];
    let blob = [field(7, &shape), field(5, values)].concat();
    let layers = CAFFE.map(|name| field(100, &[field(1, name.as_bytes()), field(7, &blob)].concat()));
    layers.concat()
}

#[test]
fn converting_allocates_little_more_than_one_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..VALUES).flat_map(|v| (v as f32).to_le_bytes()).collect();
    let [zip, legacy] = torch(&values);
    let caffe_names = CAFFE.map(|name| format!("{name}.weight"));
    for (file, bytes, network, names) in [
        ("a.pth", zip, "resnet38_cls", NAMES.map(str::to_owned)),
        ("b.pth", legacy, "resnet38_cls", NAMES.map(str::to_owned)),
        ("c.params", mxnet(&values), "cian_resnet50", MXNET.map(str::to_owned)),
        ("d.caffemodel", caffe(&values), "vgg16", caffe_names),
    ] {
        let (path, out) = (dir.path().join(file), dir.path().join(format!("{file}.safetensors")));
        fs::write(&path, &bytes).unwrap();
        let declared = names.map(|name| (name, vec![VALUES]));
        let convert = |path: &std::path::Path| {
            let checkpoint = Checkpoint::open(path).unwrap();
            let plan = plan(&checkpoint, network, &declared).unwrap();
            assert_eq!(plan.loaded.len(), NAMES.len());
            let values = plan.values(&checkpoint).map(|value| value.map(|(_, values)| values));
            write_safetensors(&out, &plan.shapes(), values).unwrap();
        };
        let peak = memory::peak_of(|| convert(&path));
        assert!(peak < values.len() + (1 << 18), "{file}: {peak} bytes");
        let written = Checkpoint::open(&out).unwrap();
        let (name, _) = declared.last().unwrap();
        assert_eq!(written.read(name).unwrap()[VALUES - 1], (VALUES - 1) as f32);
    }
}
