//! The parameters of the networks that the golden weight files belong to, at a thirty-second of the width, for the 20
//! classes of VOC.

pub type Shapes = Vec<(String, Vec<usize>)>;

const DIVISOR: usize = 32;
const CLASSES: usize = 20;

/// The parameters of `network` by PyTorch name and shape.
pub fn declared(network: &str) -> Shapes {
    let mut to = List(Vec::new());
    match network {
        "resnet38_cls" => to.resnet38(),
        "resnet38_affinity" => to.resnet38(),
        "resnet38_rrm" => to.resnet38(),
        "vgg16_largefov_cls" => to.vgg16(|level, i, _| format!("conv{level}_{i}")),
        "vgg16_coattention" => to.vgg16(|_, _, at| format!("vgg.features.{at}")),
        "cian_resnet50" => to.preact_resnet50(),
        "deeplab_resnet50" => to.resnet50(),
        _ => panic!("{network}"),
    }
    match network {
        "resnet38_cls" => to.full("fc8.weight", &[CLASSES, 128, 1, 1]),
        "resnet38_affinity" => {
            for (name, output, input) in [("f8_3", 2, 16), ("f8_4", 4, 32), ("f8_5", 8, 128), ("f9", 14, 14)] {
                to.full(&format!("{name}.weight"), &[output, input, 1, 1]);
            }
        }
        "resnet38_rrm" => {
            to.full("fc8.weight", &[CLASSES, 128, 1, 1]);
            to.biased("fc8_seg_conv1", 128, 16, 3);
            to.biased("fc8_seg_conv2", 16, CLASSES + 1, 3);
        }
        "vgg16_largefov_cls" => {
            to.biased("fc6", 16, 32, 3);
            to.biased("fc7", 32, 32, 1);
            to.full("fc8.weight", &[CLASSES, 32, 1, 1]);
        }
        "vgg16_coattention" => {
            (0..3).for_each(|i| to.biased(&format!("vgg.extra_convs.{}", 2 * i), 16, 16, 3));
            to.biased("vgg.extra_last_conv", 16, CLASSES, 1);
            to.full("extra_linear_e.weight", &[16, 16]);
            to.full("extra_gate.weight", &[CLASSES, 16, 1, 1]);
            to.full("extra_gate_merge.weight", &[1, 16, 1, 1]);
        }
        "cian_resnet50" => to.full("fc1_weight", &[CLASSES + 1, 64, 3, 3]),
        _ => to.biased("classifier", 64, CLASSES + 1, 3),
    }
    to.0
}

struct List(Shapes);

impl List {
    fn full(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.to_owned(), shape.to_vec()));
    }

    fn conv(&mut self, name: &str, input: usize, output: usize, size: usize) {
        self.full(&format!("{name}weight"), &[output, input, size, size]);
    }

    fn biased(&mut self, name: &str, input: usize, output: usize, size: usize) {
        self.conv(&format!("{name}."), input, output, size);
        self.full(&format!("{name}.bias"), &[output]);
    }

    fn norm(&mut self, name: &str, channels: usize) {
        let torch = [".weight", ".bias", ".running_mean", ".running_var"];
        let mxnet = ["_gamma", "_beta", "_moving_mean", "_moving_var"];
        let parts = if name.contains("stage") || name.contains("bn_data") || ["bn0", "bn1_"].contains(&name) {
            mxnet
        } else {
            torch
        };
        for part in parts {
            self.full(&format!("{}{part}", name.trim_end_matches('_')), &[channels]);
        }
    }

    fn resnet38(&mut self) {
        self.conv("conv1a.", 3, 64 / DIVISOR, 3);
        let mut input = 64;
        for (level, inner, output, blocks) in [
            (2, 128, 128, 3),
            (3, 256, 256, 3),
            (4, 512, 512, 6),
            (5, 512, 1024, 3),
            (6, 512, 2048, 1),
            (7, 1024, 4096, 1),
        ] {
            for block in 0..blocks {
                let block = if block == 0 {
                    format!("b{level}")
                } else {
                    format!("b{level}_{block}")
                };
                let sizes: &[(&str, usize, usize)] = if level < 6 {
                    &[("2a", inner, 3), ("2b1", output, 3)]
                } else {
                    &[("2a", inner, 1), ("2b1", output / 2, 3), ("2b2", output, 1)]
                };
                let mut channels = input;
                for (branch, out, size) in sizes {
                    self.norm(&format!("{block}.bn_branch{branch}"), channels / DIVISOR);
                    let name = format!("{block}.conv_branch{branch}.");
                    self.conv(&name, channels / DIVISOR, out / DIVISOR, *size);
                    channels = *out;
                }
                if input != output {
                    let name = format!("{block}.conv_branch1.");
                    self.conv(&name, input / DIVISOR, output / DIVISOR, 1);
                }
                input = output;
            }
        }
        self.norm("bn7", 4096 / DIVISOR);
    }

    /// The 13 convolutions; `name` gets level and index from 1 and the index among all layers.
    fn vgg16(&mut self, name: impl Fn(usize, usize, usize) -> String) {
        let (mut input, mut at) = (3, 0);
        for (level, (count, width)) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
            .into_iter()
            .enumerate()
        {
            for i in 0..count {
                self.biased(&name(level + 1, i + 1, at), input, width / DIVISOR, 3);
                (input, at) = (width / DIVISOR, at + 2);
            }
            at += 1;
        }
    }

    fn resnet50(&mut self) {
        let mut input = 64 / DIVISOR;
        self.conv("conv1.", 3, input, 7);
        self.norm("bn1", input);
        for (level, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
            let inner = (64 << level) / DIVISOR;
            for block in 0..blocks {
                let name = |layer: &str| format!("layer{}.{block}.{layer}", level + 1);
                for (i, (from, to, size)) in [(input, inner, 1), (inner, inner, 3), (inner, 4 * inner, 1)]
                    .into_iter()
                    .enumerate()
                {
                    self.conv(&name(&format!("conv{}.", i + 1)), from, to, size);
                    self.norm(&name(&format!("bn{}", i + 1)), to);
                }
                if block == 0 {
                    self.conv(&name("downsample.0."), input, 4 * inner, 1);
                    self.norm(&name("downsample.1"), 4 * inner);
                }
                input = 4 * inner;
            }
        }
    }

    fn preact_resnet50(&mut self) {
        let mut input = 64 / DIVISOR;
        self.norm("bn_data", 3);
        self.conv("conv0_", 3, input, 7);
        self.norm("bn0", input);
        for (level, units) in [3, 4, 6, 3].into_iter().enumerate() {
            let inner = (64 << level) / DIVISOR;
            for unit in 1..=units {
                let name = |layer: &str| format!("stage{}_unit{unit}_{layer}", level + 1);
                if unit == 1 {
                    self.conv(&name("sc_"), input, 4 * inner, 1);
                }
                for (i, (from, to, size)) in [(input, inner, 1), (inner, inner, 3), (inner, 4 * inner, 1)]
                    .into_iter()
                    .enumerate()
                {
                    self.norm(&name(&format!("bn{}", i + 1)), from);
                    self.conv(&name(&format!("conv{}_", i + 1)), from, to, size);
                }
                input = 4 * inner;
            }
        }
        self.norm("bn1_", input);
    }
}
