//! What a network takes from a weight file: every key accounted for before any value is read.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Checkpoint;
use super::error::{Error, Result};
use super::keys::{self, Fitting, Input, KeyMap, Target};

/// A parameter that the file has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loaded {
    /// Key in the file.
    pub key: String,
    /// The network's name for it.
    pub name: String,
    /// The network's shape of it.
    pub shape: Vec<usize>,
    /// Whether its input channels are turned around.
    pub reverse_channels: bool,
}

/// A key of the file that the network does not take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    /// Key in the file.
    pub key: String,
    /// Why.
    pub reason: String,
    /// Whether files of this source are known to have it.
    pub is_expected: bool,
}

/// A parameter of the network that the file does not give.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// The network's name for it.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Whether files of this source are known to lack it. If not, the file is incomplete.
    pub is_expected: bool,
}

/// What a network takes from a weight file.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The network's name.
    pub network: String,
    /// Where such files come from.
    pub source: String,
    /// What the file has before keys that the source is known to have, such as `encoder.`; as a rule nothing.
    pub prefix: String,
    /// What the network expects of its input.
    pub input: Input,
    /// In the order in which the network declares them.
    pub loaded: Vec<Loaded>,
    /// In the order of the keys.
    pub skipped: Vec<Skipped>,
    /// In the order in which the network declares them.
    pub missing: Vec<Missing>,
}

/// Finds the parameters of `network`, `declared` by name and PyTorch shape, in `checkpoint`.
///
/// A classifier of another number of classes is left fresh, that is, listed as missing.
///
/// # Errors
/// One line where no key map fits, where a shape does not (it names both), or where nothing can be loaded.
pub fn plan(checkpoint: &Checkpoint, network: &str, declared: &[(String, Vec<usize>)]) -> Result<Plan> {
    let Fitting { map, prefix } = keys::find(network, checkpoint)?;
    plan_by(map, &prefix, checkpoint, network, declared)
}

fn plan_by(
    map: &KeyMap,
    prefix: &str,
    checkpoint: &Checkpoint,
    network: &str,
    declared: &[(String, Vec<usize>)],
) -> Result<Plan> {
    let path = || checkpoint.path().to_owned();
    let shapes: HashMap<&str, &[usize]> = declared
        .iter()
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect();
    let mut found: BTreeMap<String, Loaded> = BTreeMap::new();
    let mut fresh: HashMap<String, String> = HashMap::new();
    let mut skipped = Vec::new();
    for key in checkpoint.names() {
        let shape = checkpoint.shape(key).unwrap_or_default();
        let mut skip = |reason: String, is_expected| {
            skipped.push(Skipped {
                key: key.to_owned(),
                reason,
                is_expected,
            });
        };
        let (names, squeeze, reverse_channels) =
            match map.target(key.strip_prefix(prefix).unwrap_or(key), shape.len())? {
                Target::Unknown => {
                    skip(format!("{} is not known to hold it", map.source), false);
                    continue;
                }
                Target::Skip(reason) => {
                    skip(reason, true);
                    continue;
                }
                Target::Parameter {
                    names,
                    squeeze,
                    reverse_channels,
                } => (names, squeeze, reverse_channels),
            };
        for name in names {
            let Some(expected) = shapes.get(name.as_str()).copied() else {
                // A head of another network is no surprise; a part of the backbone is.
                skip(format!("{network} has no parameter {name}"), !map.requires(&name));
                continue;
            };
            if !fits(shape, expected, squeeze) {
                if !(map.is_classifier(&name) && is_other_count(shape, expected)) {
                    return Err(Error::Shape {
                        path: path(),
                        key: key.to_owned(),
                        network: network.to_owned(),
                        name,
                        shapes: Box::new([shape.to_vec(), expected.to_vec()]),
                    });
                }
                let reason = format!(
                    "left fresh: the file's classifier has {} classes, this one {}",
                    shape[0], expected[0]
                );
                skip(reason.clone(), true);
                fresh.insert(name, reason);
                continue;
            }
            if reverse_channels && !matches!(expected, [_, 3, _, _]) {
                return Err(Error::NoColours {
                    path: path(),
                    key: key.to_owned(),
                    shape: shape.to_vec(),
                });
            }
            let entry = Loaded {
                key: key.to_owned(),
                name: name.clone(),
                shape: expected.to_vec(),
                reverse_channels,
            };
            if let Some(first) = found.insert(name, entry) {
                return Err(Error::Twice {
                    path: path(),
                    keys: [first.key, key.to_owned()],
                    name: first.name,
                });
            }
        }
    }
    let mut loaded = Vec::new();
    let mut missing = Vec::new();
    for (name, _) in declared {
        if let Some(entry) = found.remove(name) {
            loaded.push(entry);
            continue;
        }
        let is_required = map.requires(name);
        let (reason, is_expected) = match fresh.remove(name) {
            Some(reason) => (reason, true),
            None if is_required => ("the file lacks it".into(), false),
            None => (format!("left fresh: {}", map.fresh()), true),
        };
        missing.push(Missing {
            name: name.clone(),
            reason,
            is_expected,
        });
    }
    if loaded.is_empty() {
        return Err(Error::NothingToLoad {
            path: path(),
            network: network.to_owned(),
        });
    }
    Ok(Plan {
        network: network.to_owned(),
        source: map.source.clone(),
        prefix: prefix.to_owned(),
        input: map.input,
        loaded,
        skipped,
        missing,
    })
}

/// Whether a tensor of shape `found` can be a parameter of shape `expected`.
fn fits(found: &[usize], expected: &[usize], squeeze: bool) -> bool {
    let wide = |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|size| *size != 1).collect() };
    found == expected || (squeeze && wide(found) == wide(expected))
}

/// Whether two shapes differ in their first dimension only, the number of classes.
fn is_other_count(found: &[usize], expected: &[usize]) -> bool {
    match (found, expected) {
        ([a, found @ ..], [b, expected @ ..]) => a != b && found == expected,
        _ => false,
    }
}

impl Plan {
    /// Names and shapes of what is loaded, in the order of [`Self::values`].
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.loaded
            .iter()
            .map(|entry| (entry.name.clone(), entry.shape.clone()))
            .collect()
    }

    /// Keys and parameters that the key map does not account for, one sentence each: signs of a file that is not what
    /// it was taken for.
    pub fn surprises(&self) -> Vec<String> {
        let skipped = self.skipped.iter().filter(|entry| !entry.is_expected);
        let skipped = skipped.map(|entry| format!("{:?} is not used: {}", entry.key, entry.reason));
        let missing = self.missing.iter().filter(|entry| !entry.is_expected);
        let missing = missing.map(|entry| format!("{} is missing: {}", entry.name, entry.reason));
        skipped.chain(missing).collect()
    }

    /// Name and row-major values of each loaded parameter, decoded one at a time from the `checkpoint` of this plan.
    ///
    /// # Errors
    /// Per parameter, as [`Checkpoint::read`], and where a value is not a finite number.
    pub fn values<'a>(&'a self, checkpoint: &'a Checkpoint) -> impl Iterator<Item = Result<(&'a str, Vec<f32>)>> {
        self.loaded.iter().map(|entry| {
            let mut values = checkpoint.read(&entry.key)?;
            let mut wrong = values.iter().filter(|value| !value.is_finite());
            if let Some(first) = wrong.next() {
                return Err(Error::NotFinite {
                    path: checkpoint.path().to_owned(),
                    key: entry.key.clone(),
                    first: *first,
                    count: 1 + wrong.count(),
                    total: values.len(),
                });
            }
            if let ([_, channels, h, w], true) = (&entry.shape[..], entry.reverse_channels) {
                let plane = (h * w).max(1);
                for kernel in values.chunks_mut((channels * plane).max(1)) {
                    reverse_planes(kernel, plane);
                }
            }
            Ok((entry.name.as_str(), values))
        })
    }
}

/// Reverses the order of blocks of `plane` values, leaving each block as it is.
fn reverse_planes(values: &mut [f32], plane: usize) {
    values.reverse();
    values.chunks_mut(plane).for_each(<[f32]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::write_safetensors;

    type Shapes = Vec<(String, Vec<usize>)>;

    fn shapes(pairs: &[(&str, &[usize])]) -> Shapes {
        let owned = pairs.iter().map(|(name, shape)| (name.to_string(), shape.to_vec()));
        owned.collect()
    }

    /// A file with these tensors, values counting up from 0 in each.
    fn file(declared: &Shapes) -> (tempfile::TempDir, Checkpoint) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.safetensors");
        let values = declared.iter().map(|(_, shape)| {
            let n = shape.iter().product::<usize>();
            Ok((0..n).map(|v| v as f32).collect())
        });
        write_safetensors(&path, declared, values).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        (dir, checkpoint)
    }

    const PYTORCH: &[(&str, &[usize])] = &[
        ("conv1a.weight", &[2, 3, 3, 3]),
        ("b2.bn_branch2a.weight", &[2]),
        ("fc8.weight", &[20, 4, 1, 1]),
    ];

    #[test]
    fn another_number_of_classes_is_left_fresh_and_said() {
        let (_dir, checkpoint) = file(&shapes(PYTORCH));
        let mut declared = shapes(PYTORCH);
        declared[2].1[0] = 6;
        let plan = plan(&checkpoint, "resnet38_cls", &declared).unwrap();
        assert_eq!(plan.loaded.len(), 2);
        assert!(plan.surprises().is_empty());
        let [missing] = &plan.missing[..] else {
            panic!("{:?}", plan.missing);
        };
        assert_eq!(missing.name, "fc8.weight");
        assert!(missing.reason.contains("20 classes, this one 6"), "{}", missing.reason);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_with_both() {
        let (_dir, checkpoint) = file(&shapes(PYTORCH));
        for (i, shape) in [(0, vec![4, 3, 3, 3]), (2, vec![20, 8, 1, 1]), (2, vec![20, 4])] {
            let mut declared = shapes(PYTORCH);
            declared[i].1 = shape.clone();
            let error = plan(&checkpoint, "resnet38_cls", &declared).unwrap_err().to_string();
            for part in [
                "file.safetensors",
                PYTORCH[i].0,
                &format!("{shape:?}"),
                &format!("{:?}", PYTORCH[i].1),
            ] {
                assert!(error.contains(part), "{error} {part}");
            }
        }
    }

    #[test]
    fn surprises_are_told_from_what_is_expected() {
        let mut held = shapes(PYTORCH);
        held.push(("b2.bn_branch2a.num_batches_tracked".into(), vec![]));
        held.push(("f9.weight".into(), vec![1]));
        held.push(("b9.weight".into(), vec![1]));
        let (_dir, checkpoint) = file(&held);
        let mut declared = shapes(PYTORCH);
        declared.push(("bn7.weight".into(), vec![8]));
        declared.push(("fc8_seg_conv1.bias".into(), vec![8]));
        let plan = plan(&checkpoint, "resnet38_rrm", &declared).unwrap();
        assert_eq!(plan.skipped.len(), 3);
        assert_eq!(plan.missing.len(), 2);
        let surprises = plan.surprises();
        assert_eq!(surprises.len(), 2, "{surprises:?}");
        assert!(surprises[0].contains("b9.weight") && surprises[1].contains("bn7.weight"));
    }

    #[test]
    fn files_of_another_network_are_refused() {
        let (_dir, checkpoint) = file(&shapes(PYTORCH));
        let error = plan(&checkpoint, "vgg16_coattention", &shapes(PYTORCH))
            .unwrap_err()
            .to_string();
        assert!(error.contains("features.0.weight"), "{error}");
        let other = shapes(&[("x", &[1])]);
        let error = plan(&checkpoint, "resnet38_cls", &other).unwrap_err().to_string();
        assert!(error.contains("no parameter of resnet38_cls"), "{error}");
    }

    #[test]
    fn the_branches_of_deeplab_v2_begin_as_imagenets_fc6_and_fc7() {
        let held = shapes(&[
            ("conv1_1.weight", &[2, 3, 3, 3]),
            ("fc6.weight", &[2, 2, 3, 3]),
            ("fc7.bias", &[2]),
        ]);
        let (_dir, checkpoint) = file(&held);
        let mut declared = shapes(&[("conv1_1.weight", &[2, 3, 3, 3])]);
        for branch in 1..5 {
            declared.push((format!("fc6_{branch}.weight"), vec![2, 2, 3, 3]));
            declared.push((format!("fc7_{branch}.bias"), vec![2]));
            declared.push((format!("fc8_voc12_{branch}.weight"), vec![21, 2, 1, 1]));
        }
        let plan = plan(&checkpoint, "deeplabv2_vgg16", &declared).unwrap();
        assert_eq!((plan.loaded.len(), plan.missing.len()), (9, 4));
        assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
        for value in plan.values(&checkpoint) {
            let (name, values) = value.unwrap();
            assert!(values.iter().enumerate().all(|(i, v)| *v == i as f32), "{name}");
        }
    }

    #[test]
    fn operations_squeeze_and_reverse() {
        let text = include_str!("../../assets/weights/resnet38-pytorch.toml").replace(
            "{ from = \"*\", to = \"*\" }",
            "{ from = \"conv\", to = \"conv\", reverse_channels = true }, { from = \"fc\", to = \"fc\", squeeze = true }",
        );
        let map = KeyMap::parse("test", &text).unwrap();
        let (_dir, checkpoint) = file(&shapes(&[("conv", &[2, 3, 1, 2]), ("fc", &[1, 1, 2, 3])]));
        let declared = shapes(&[("fc", &[2, 3, 1, 1]), ("conv", &[2, 3, 1, 2])]);
        let plan = plan_by(&map, "", &checkpoint, "test", &declared).unwrap();
        assert_eq!(plan.shapes(), declared);
        let values: Vec<_> = plan.values(&checkpoint).map(|value| value.unwrap()).collect();
        assert_eq!(values[0], ("fc", vec![0., 1., 2., 3., 4., 5.]));
        let reversed = vec![4., 5., 2., 3., 0., 1., 10., 11., 8., 9., 6., 7.];
        assert_eq!(values[1], ("conv", reversed));
    }
}
