//! Key maps: under which name a network has what a weight file of some source holds, as data in `assets/weights/`.

use std::sync::LazyLock;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result, reason};
use super::pattern::{Bindings, Pattern, Words};
use super::{Checkpoint, Format, prefix};

/// The embedded key maps by file name.
const EMBEDDED: [(&str, &str); 15] = [
    (
        "efficientnet_lite-pytorch",
        include_str!("../../assets/weights/efficientnet_lite-pytorch.toml"),
    ),
    (
        "efficientnet_lite0-timm",
        include_str!("../../assets/weights/efficientnet_lite0-timm.toml"),
    ),
    (
        "resnet38-mxnet",
        include_str!("../../assets/weights/resnet38-mxnet.toml"),
    ),
    (
        "resnet38-pytorch",
        include_str!("../../assets/weights/resnet38-pytorch.toml"),
    ),
    ("vgg16-caffe", include_str!("../../assets/weights/vgg16-caffe.toml")),
    ("vgg16-pytorch", include_str!("../../assets/weights/vgg16-pytorch.toml")),
    (
        "vgg16_coattention-torchvision",
        include_str!("../../assets/weights/vgg16_coattention-torchvision.toml"),
    ),
    (
        "vgg16_coattention-pytorch",
        include_str!("../../assets/weights/vgg16_coattention-pytorch.toml"),
    ),
    (
        "preact_resnet-mxnet",
        include_str!("../../assets/weights/preact_resnet-mxnet.toml"),
    ),
    (
        "resnet-torchvision",
        include_str!("../../assets/weights/resnet-torchvision.toml"),
    ),
    (
        "resnet_caffe-pytorch",
        include_str!("../../assets/weights/resnet_caffe-pytorch.toml"),
    ),
    (
        "resnet_caffe-blocks",
        include_str!("../../assets/weights/resnet_caffe-blocks.toml"),
    ),
    (
        "vgg16_deeplabv2-caffe",
        include_str!("../../assets/weights/vgg16_deeplabv2-caffe.toml"),
    ),
    (
        "vgg16_deeplabv2-pytorch",
        include_str!("../../assets/weights/vgg16_deeplabv2-pytorch.toml"),
    ),
    ("nano-weakseg", include_str!("../../assets/weights/nano-weakseg.toml")),
];

/// The key map of a family of networks for one source of weights.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMap {
    /// The networks, or their backbones, by name.
    networks: Vec<Pattern>,
    /// Where such files come from, for people.
    pub source: String,
    formats: Vec<Format>,
    /// Keys that a file of this source has.
    detect: Vec<String>,
    /// Parameters that a file of this source has to have.
    required: Vec<Pattern>,
    /// Why it may lack the others.
    fresh: String,
    /// Parameters with one output per class in their first dimension.
    classifier: Vec<Pattern>,
    map: Vec<Rule>,
    #[serde(default)]
    words: Words,
    /// What the network expects of its input.
    pub input: Input,
}

/// What happens to the keys that `from` matches: `to` or `skip`. The first rule that matches counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    from: Pattern,
    /// Only tensors of this many dimensions.
    rank: Option<usize>,
    /// The network's name for it, or names: where several layers begin as one.
    to: Option<Names>,
    /// Why the network does not need it.
    skip: Option<String>,
    /// Dimensions of size 1 may come and go: a fully connected layer is a 1x1 convolution.
    #[serde(default)]
    squeeze: bool,
    /// The kernel's input channels are in the opposite order (BGR for RGB).
    #[serde(default)]
    reverse_channels: bool,
}

/// One name of a parameter, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(Pattern),
    Several(Vec<Pattern>),
}

impl Names {
    fn patterns(&self) -> &[Pattern] {
        match self {
            Names::One(pattern) => std::slice::from_ref(pattern),
            Names::Several(patterns) => patterns,
        }
    }
}

/// What a network expects of its input: `(pixel / 255 * range - mean) / std` per channel, pixels in 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Order of the channels.
    pub order: Order,
    /// What a full pixel becomes: 1 or 255.
    pub range: f32,
    /// Per channel in `order`, in units of `range`.
    pub mean: [f32; 3],
    /// Per channel in `order`, in units of `range`.
    pub std: [f32; 3],
}

/// Order of an image's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// What a key map says of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// It is the parameter of each of `names`.
    Parameter {
        /// State-dict names, at least one.
        names: Vec<String>,
        /// Dimensions of size 1 may come and go.
        squeeze: bool,
        /// Input channels are in the opposite order.
        reverse_channels: bool,
    },
    /// It is not needed, for this reason.
    Skip(String),
    /// Nothing.
    Unknown,
}

static MAPS: LazyLock<Result<Vec<KeyMap>, String>> =
    LazyLock::new(|| EMBEDDED.iter().map(|(name, text)| KeyMap::parse(name, text)).collect());

/// All embedded key maps.
fn all() -> Result<&'static [KeyMap]> {
    MAPS.as_deref().map_err(|error| Error::Asset(error.clone()))
}

/// What `network` expects of its input, which is the same for every source of its weights. Errors on an unknown
/// network.
pub fn input(network: &str) -> Result<Input> {
    of(network).map(|(first, _)| first.input)
}

/// A key map that fits a file.
#[derive(Clone, Debug)]
pub struct Fitting {
    /// The key map.
    pub map: &'static KeyMap,
    /// What the file has before the keys that the map knows, with its last dot; as a rule nothing.
    pub prefix: String,
}

/// The key map for `network` that fits the keys of `checkpoint`, or where none does, one that fits what follows some
/// prefix of them.
///
/// # Errors
/// One line where no map knows the network, or none of its sources has such keys, or where several prefixes have them.
pub fn find(network: &str, checkpoint: &Checkpoint) -> Result<Fitting> {
    let (_, maps) = of(network)?;
    let fitting = maps.iter().find(|map| {
        let has = |key: &String| checkpoint.shape(key).is_some();
        map.formats.contains(&checkpoint.format()) && map.detect.iter().all(has)
    });
    if let Some(map) = fitting {
        return Ok(Fitting {
            map,
            prefix: String::new(),
        });
    }
    let names: Vec<&str> = checkpoint.names().collect();
    // Of two maps that fit, the one that knows more of the names: `vgg.features.0.weight` behind `student.` is not
    // `features.0.weight` behind `student.vgg.`.
    let copies = maps
        .iter()
        .filter(|map| map.formats.contains(&checkpoint.format()))
        .map(|map| (*map, prefix::of_keys(&names, &map.detect)))
        .filter_map(|(map, prefixes)| Some((prefixes.iter().map(|prefix| prefix.len()).min()?, map, prefixes)))
        .min_by_key(|(length, ..)| *length);
    if let Some((_, map, prefixes)) = copies {
        return match prefixes[..] {
            [prefix] => Ok(Fitting {
                map,
                prefix: prefix.to_owned(),
            }),
            _ => Err(Error::SeveralCopies {
                path: checkpoint.path().to_owned(),
                network: network.to_owned(),
                prefixes: prefixes.into_iter().map(str::to_owned).collect(),
            }),
        };
    }
    let sources: Vec<String> = maps
        .iter()
        .map(|map| format!("{} (with the key {})", map.source, map.detect.join(", ")))
        .collect();
    Err(Error::OtherNetwork {
        path: checkpoint.path().to_owned(),
        format: checkpoint.format(),
        network: network.to_owned(),
        sources,
    })
}

/// The key maps for `network`, at least one.
fn of(network: &str) -> Result<(&'static KeyMap, Vec<&'static KeyMap>)> {
    let maps: Vec<&KeyMap> = all()?
        .iter()
        .filter(|map| any(&map.networks, network, &map.words))
        .collect();
    match maps.first() {
        Some(first) => Ok((first, maps)),
        None => Err(Error::UnknownNetwork(network.to_owned())),
    }
}

fn any(patterns: &[Pattern], key: &str, words: &Words) -> bool {
    patterns.iter().any(|pattern| pattern.matches(key, words).is_some())
}

impl KeyMap {
    /// Reads a key map and checks it.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, String> {
        let parsed = || -> anyhow::Result<Self> {
            let map: Self = toml::from_str(text)?;
            for rule in &map.map {
                match (&rule.to, &rule.skip) {
                    (Some(to), None) if !to.patterns().is_empty() => {
                        to.patterns().iter().try_for_each(|to| to.is_filled_by(&rule.from))?;
                    }
                    (None, Some(_)) => {}
                    _ => bail!("a rule has to say either to or skip: {rule:?}"),
                }
            }
            Ok(map)
        };
        parsed().map_err(|error| format!("key map {file}: {error:#}"))
    }

    /// What becomes of the tensor called `key`, which has `rank` dimensions.
    pub fn target(&self, key: &str, rank: usize) -> Result<Target> {
        let bound = |rule: &Rule| -> Option<Bindings> {
            rule.from
                .matches(key, &self.words)
                .filter(|_| rule.rank.is_none_or(|r| r == rank))
        };
        let found = self.map.iter().find_map(|rule| Some((rule, bound(rule)?)));
        let Some((rule, bindings)) = found else {
            return Ok(Target::Unknown);
        };
        Ok(match (&rule.to, &rule.skip) {
            (Some(to), _) => Target::Parameter {
                names: to
                    .patterns()
                    .iter()
                    .map(|to| to.fill(&bindings).with_context(|| format!("key {key:?}")))
                    .collect::<anyhow::Result<_>>()
                    .map_err(|error| Error::Asset(reason(&error)))?,
                squeeze: rule.squeeze,
                reverse_channels: rule.reverse_channels,
            },
            (None, reason) => Target::Skip(reason.clone().unwrap_or_default()),
        })
    }

    /// Whether a file of this source has to have the parameter `name`.
    pub fn requires(&self, name: &str) -> bool {
        any(&self.required, name, &self.words)
    }

    /// Whether the parameter `name` has one output per class.
    pub fn is_classifier(&self, name: &str) -> bool {
        any(&self.classifier, name, &self.words)
    }

    /// Why parameters that are not required may be missing.
    pub fn fresh(&self) -> &str {
        &self.fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_parses_and_a_network_has_one_input() {
        let maps = all().unwrap();
        assert_eq!(maps.len(), EMBEDDED.len());
        for network in [
            "resnet38_cls",
            "resnet38_affinity",
            "resnet38_rrm",
            "vgg16_largefov_cls",
            "vgg16_coattention",
            "cian_resnet50",
            "cian_resnet101",
            "deeplab_resnet101",
            "deeplabv2_vgg16",
            "deeplabv2_resnet101",
            "largefov_resnet101",
            "deeplabv3_resnet50",
            "efficientnet_lite0_cls",
            "efficientnet_lite2",
        ] {
            let (first, maps) = of(network).unwrap();
            assert!(maps.iter().all(|map| map.input == first.input), "{network}");
            assert_eq!(input(network).unwrap(), first.input);
        }
        let error = input("alexnet").unwrap_err().to_string();
        assert!(error.contains("alexnet"), "{error}");
    }

    #[test]
    fn rules_are_tried_in_order() {
        let (map, _) = of("cian_resnet50").unwrap();
        let skipped = map.target("fc1_weight", 2).unwrap();
        assert!(matches!(skipped, Target::Skip(_)), "{skipped:?}");
        let kept = map.target("fc1_weight", 4).unwrap();
        assert!(matches!(&kept, Target::Parameter { names, .. } if names == &["fc1_weight"]));
        let (map, _) = of("vgg16").unwrap();
        assert_eq!(map.target("pool5.0", 1).unwrap(), Target::Unknown);
        assert!(map.requires("conv5_3.bias") && !map.requires("fc8.weight"));
    }

    #[test]
    fn mistakes_in_a_map_are_found() {
        let (_, good) = EMBEDDED
            .into_iter()
            .find(|(name, _)| *name == "resnet38-mxnet")
            .unwrap();
        KeyMap::parse("map", good).unwrap();
        for (from, to) in [
            ("[input]", "[inputs]"),
            ("b{level}.conv_{branch}.weight", "b{depth}.conv_{branch}.weight"),
            ("\"rgb\"", "\"rbg\""),
            ("skip = ", "skipped = "),
        ] {
            assert!(good.contains(from));
            let error = KeyMap::parse("map", &good.replace(from, to)).unwrap_err();
            assert!(error.contains("key map map"), "{error}");
        }
    }
}
