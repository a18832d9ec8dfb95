//! Photographs of PASCAL VOC through every network and head at full width, as large and as they come.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use serde_json::Value;
use weakseg::data::{decode, normalize};
use weakseg::models::backbones::Backbone;
use weakseg::models::backbones::efficientnet_lite::{EfficientNetLite, Size};
use weakseg::models::catalogue::{NETWORKS, PaperNetwork};
use weakseg::models::forward::{Forward, Mode};
use weakseg::models::params::Parameters;
use weakseg::models::{Head, Network};
use weakseg::recipe::Recipe;
use weakseg::weights::load::plan;
use weakseg::weights::{Checkpoint, fetch};

use super::check::{On, download};
use super::formula;

const PHOTOGRAPHS: [&str; 3] = ["2011_000003", "2011_000006", "2011_000025"];
const CLASSES: usize = 20;

/// One network, weights by the formula; what it gives is of the right size, finite, and another for every photograph.
fn through(entry: &PaperNetwork, on: &On) {
    let network = Network::named(entry.name, 1, CLASSES).unwrap();
    let parameters = Parameters::init(&network.declare(), &on.device, formula::parameter).unwrap();
    let backbone = format!("backbone.name={}", entry.backbone);
    let input = Recipe::load("resnet38", &[backbone]).unwrap();
    let scaling = input.network_input(entry.backbone).unwrap().scaling;
    let images = PHOTOGRAPHS.map(|name| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/photos");
        let image = decode::read_rgb(folder.join(format!("{name}.jpg"))).unwrap();
        let shape = [1, 3, image.height() as usize, image.width() as usize];
        Tensor::<4>::from_data(TensorData::new(normalize(&image, &scaling), shape), &on.device)
    });
    let mut sums = Vec::new();
    for (i, image) in images.iter().enumerate() {
        let partner = &images[(i + 1) % images.len()];
        let f = Forward::new(&parameters, Mode::Inference);
        let [_, _, height, width] = image.dims();
        for (what, output, channels) in outputs(&network, &f, image.clone(), partner.clone()) {
            let stride = match network.head {
                // Heads that join levels have the grid of the finest.
                Head::Affinity { .. } | Head::Segmentation { .. } => 8,
                Head::Joint { .. } | Head::CrossAffinity { .. } if what == "scores" => 8,
                _ => network.backbone.stride(),
            };
            let eighth = |side: usize| match entry.backbone {
                "vgg16_extra" => side / 8,
                _ => side.div_ceil(stride),
            };
            let size = [1, channels, eighth(height), eighth(width)];
            assert_eq!(output.dims(), size, "{} {what}", entry.name);
            let values = download(output);
            let (least, most) = values
                .iter()
                .fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            println!("{} {}: {what} from {least} to {most}", entry.name, PHOTOGRAPHS[i]);
            assert!(values.iter().all(|v| v.is_finite()), "{} {what}", entry.name);
            assert!(least < most, "{} {what}: {least} everywhere", entry.name);
            sums.push((what, values.iter().map(|v| f64::from(*v)).sum::<f64>()));
        }
    }
    for (i, sum) in sums.iter().enumerate() {
        assert!(!sums[..i].contains(sum), "{}: {sum:?} twice", entry.name);
    }
}

/// Every map that the network's head makes, with its channels.
fn outputs(
    network: &Network,
    f: &Forward,
    image: Tensor<4>,
    partner: Tensor<4>,
) -> Vec<(&'static str, Tensor<4>, usize)> {
    match network.head {
        // It makes no map.
        Head::ImageNet => Vec::new(),
        Head::Cam { .. } => vec![("maps", network.classifier().unwrap().maps(f, image), CLASSES)],
        Head::Affinity { channels } => {
            let features = network.affinity_net().unwrap().features(f, image);
            vec![("features", features, channels.iter().sum())]
        }
        Head::Segmentation { .. } | Head::DeepLab { .. } | Head::CrossAffinity { .. } => {
            vec![("scores", network.segmenter().unwrap().scores(f, image), CLASSES + 1)]
        }
        Head::Joint { .. } => vec![
            ("maps", network.classifier().unwrap().maps(f, image.clone()), CLASSES),
            ("scores", network.joint().unwrap().outputs(f, image).scores, CLASSES + 1),
        ],
        Head::CoAttention { .. } => {
            let [m, _] = network.co_attention().unwrap().pair(f, image, partner);
            vec![
                ("maps", m.map, CLASSES),
                ("common maps", m.common_map, CLASSES),
                ("exclusive maps", m.exclusive_map, CLASSES),
            ]
        }
    }
}

/// The five best of ImageNet's classes for the three photographs' top left 224 x 224 pixels, with the published weights.
pub fn are_classified(on: &On) {
    let file = fetch::ensure("efficientnet_lite0").unwrap();
    let checkpoint = Checkpoint::open(&file).unwrap();
    let mut network = Network::named("efficientnet_lite0", 1, CLASSES).unwrap();
    // As published: no stage is dilated.
    network.backbone = Backbone::EfficientNetLite(EfficientNetLite {
        size: Size::Lite0,
        output_stride: 32,
    });
    let declared = network.declare();
    let shapes: Vec<_> = declared.0.iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
    let plan = plan(&checkpoint, "efficientnet_lite0", &shapes).unwrap();
    assert!(plan.missing.is_empty(), "{:?}", plan.missing);
    let values: HashMap<String, Vec<f32>> = plan
        .values(&checkpoint)
        .map(|value| value.map(|(name, values)| (name.to_string(), values)))
        .collect::<Result<_, _>>()
        .unwrap();
    let parameters = Parameters::init(&declared, &on.device, |p| values[&p.name].clone()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(folder.join("models/efficientnet_lite0_imagenet.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let recipe = Recipe::load("nano", &[]).unwrap();
    let scaling = recipe.network_input("efficientnet_lite0").unwrap().scaling;
    for (name, expected) in expected.as_object().unwrap() {
        let photograph = folder.join("photos").join(name);
        let corner = photograph.with_file_name("corners").join(name.replace("jpg", "png"));
        // The corner is as libjpeg decodes it: the same order. Our decoder makes chroma of half size large in another way,
        // which moves a logit by up to 0.11, and may swap the last two.
        for (file, most) in [(corner, 1e-3), (photograph, 0.15)] {
            let image = decode::read_rgb(&file).unwrap();
            let corner = image::imageops::crop_imm(&image, 0, 0, 224, 224).to_image();
            let data = TensorData::new(normalize(&corner, &scaling), [1, 3, 224, 224]);
            let f = Forward::new(&parameters, Mode::Inference);
            let image = Tensor::from_data(data, &on.device);
            let logits = download(network.imagenet().unwrap().logits(&f, image));
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            for (class, best) in order.into_iter().zip(expected["top5"].as_array().unwrap()) {
                let (file, expected) = (file.display(), best[0].as_u64().unwrap() as usize);
                println!("{file}: {class} {} for {best}", logits[class]);
                assert!(class == expected || most > 0.1, "{file}: {class} for {best}");
                let error = (f64::from(logits[expected]) - best[1].as_f64().unwrap()).abs();
                assert!(error < most, "{file}: {} for {best}", logits[expected]);
            }
        }
    }
}

/// [`through`] for every network.
pub fn through_all(on: &On) {
    NETWORKS.iter().for_each(|entry| through(entry, on));
}
