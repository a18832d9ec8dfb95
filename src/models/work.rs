//! How many multiply-adds a network takes.

use std::collections::HashMap;

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::backbones::{Backbone, narrowest};
use super::forward::{Forward, Mode};
use super::heads::cross_affinity::Merge;
use super::{Head, Network};
use crate::device::download;
use crate::kernels::Sliding;

/// A dense convolution of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// `[C, H, W]`
    pub input: [usize; 3],
    /// `[O, C / G, k, l]`
    pub kernel: [usize; 4],
    /// How it moves.
    pub sliding: Sliding,
}

impl Network {
    /// Multiply-adds of convolutions, linear layers and attention that one image of `height` x `width` takes in
    /// inference, where images that meet in pairs count as half of a pair.
    ///
    /// # Errors
    /// Where the image is too small for the network, or the device gives no result.
    pub fn multiply_adds(&self, height: usize, width: usize) -> Result<u64> {
        self.count([height, width], |_| true, false)
    }

    /// As [`Self::multiply_adds`] in training on pairs of related images; `None` for other heads than cross-affinity,
    /// which take as much as in inference.
    ///
    /// # Errors
    /// As [`Self::multiply_adds`].
    pub fn pair_multiply_adds(&self, height: usize, width: usize) -> Result<Option<u64>> {
        match self.head {
            Head::CrossAffinity { .. } => self.count([height, width], |_| true, true).map(Some),
            _ => Ok(None),
        }
    }

    /// The dense convolutions, depthwise ones left out, of an image of `height` x `width` in inference, each shape once, in
    /// the order in which they are met.
    ///
    /// # Errors
    /// As [`Self::multiply_adds`].
    pub fn convolutions(&self, height: usize, width: usize) -> Result<Vec<Convolution>> {
        let thin = self.thin()?;
        let device = Device::flex();
        let parameters = thin.init(0, &device)?;
        let f = Forward::new(&parameters, Mode::Inference);
        thin.infer(&f, Tensor::zeros([1, 3, height, width], &device))?;
        let shapes: HashMap<String, Vec<usize>> = self.declare().0.into_iter().map(|p| (p.name, p.shape)).collect();
        let mut found: Vec<Convolution> = Vec::new();
        for (name, [h, w], sliding) in f.work().convolutions {
            let Some(&[o, c, k, l]) = shapes.get(&name).map(Vec::as_slice) else {
                continue;
            };
            let convolution = Convolution {
                input: [c * sliding.groups, h, w],
                kernel: [o, c, k, l],
                sliding,
            };
            if !found.contains(&convolution) {
                found.push(convolution);
            }
        }
        Ok(found)
    }

    /// The same network at the least width, where a pass takes next to no time.
    fn thin(&self) -> Result<Network> {
        let divisor = narrowest(self.backbone.kind());
        Ok(Network {
            backbone: Backbone::named(self.backbone.kind(), divisor)?
                .with_output_stride(Some(self.backbone.stride()))?,
            head: self.head,
        })
    }

    /// Runs the forward pass at the least width, where it takes next to no time, and weighs each kernel's positions
    /// with its size at the network's own width. Only kernels that `counts` selects by parameter name.
    fn count(&self, [height, width]: [usize; 2], counts: impl Fn(&str) -> bool, in_pairs: bool) -> Result<u64> {
        let divisor = narrowest(self.backbone.kind());
        let thin = self.thin()?;
        let device = Device::flex();
        let parameters = thin.init(0, &device)?;
        let f = Forward::new(&parameters, Mode::Inference);
        let image = Tensor::zeros([1, 3, height, width], &device);
        let images = match self.head {
            Head::CrossAffinity { .. } if in_pairs => {
                let pair = Tensor::cat(vec![image.clone(), image], 0);
                let scores = thin.cross_affinity()?.scores(&f, pair, 2, Merge::Max);
                download(scores.cross)?;
                2
            }
            Head::CoAttention { .. } => {
                thin.infer(&f, image)?;
                2
            }
            _ => {
                thin.infer(&f, image)?;
                1
            }
        };
        let work = f.work();
        let sizes: HashMap<String, usize> = self
            .declare()
            .0
            .into_iter()
            .map(|p| (p.name, p.shape.iter().product()))
            .collect();
        let kernels: usize = work
            .kernels
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(name, positions)| positions * sizes.get(name).copied().unwrap_or(0))
            .sum();
        let products = work.products * divisor / self.backbone.divisor();
        Ok(((kernels + products) / images) as u64)
    }

    /// Inference of images `[B, 3, H, W]` by whatever the head is for, one value of the result awaited, the rest
    /// dropped. An image is its own partner where the head takes pairs.
    ///
    /// # Errors
    /// Where the device gives no result.
    pub fn infer(&self, f: &Forward, images: Tensor<4>) -> Result<()> {
        let out = match self.head {
            Head::Cam { .. } => self.classifier()?.maps(f, images),
            Head::ImageNet => {
                let logits = self.imagenet()?.logits(f, images);
                let [b, classes] = logits.dims();
                logits.reshape([b, classes, 1, 1])
            }
            Head::Affinity { .. } => self.affinity_net()?.features(f, images),
            Head::Segmentation { .. } | Head::Aspp { .. } | Head::CrossAffinity { .. } => {
                self.segmenter()?.scores(f, images)
            }
            Head::Joint { .. } => self.joint()?.outputs(f, images).scores,
            Head::CoAttention { .. } => {
                let [m, _] = self.co_attention()?.pair(f, images.clone(), images);
                m.common_map
            }
        };
        download(out.slice([0..1, 0..1, 0..1, 0..1]))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Billions of multiply-adds at CIAN's crop and millions of parameters; convolutions without the classifier.
    fn table_1(name: &str, in_pairs: bool) -> (f64, f64) {
        let network = Network::named(name, 1, 20).unwrap();
        let counts = |name: &str| name != "fc1_weight";
        let work = network.count([321, 321], counts, in_pairs).unwrap();
        let kernels: usize = network
            .declare()
            .0
            .iter()
            .filter(|p| p.shape.len() == 4 && counts(&p.name))
            .map(|p| p.shape.iter().product::<usize>())
            .sum();
        // Table 1 has the original ResNet's stride in the first convolution of a bottleneck, the released network in
        // the second; they differ where stage 2 begins, at 81 x 81 and 41 x 41.
        let later_stride = 256 * 128 * (81 * 81 - 41 * 41);
        // Training takes messages to two outputs, Table 1 to one.
        let second_output = if in_pairs { 1024 * 2048 * 41 * 41 } else { 0 };
        let work = work - later_stride - second_output;
        (work as f64 / 1e9, kernels as f64 / 1e6)
    }

    #[test]
    fn cian_takes_what_its_table_1_says() {
        for (name, in_pairs, work, parameters) in [
            ("preact_resnet101_largefov", false, 72.5, 42.4),
            ("cian_resnet101", false, 88.2, 50.8),
            ("cian_resnet101", true, 89.7, 50.8),
        ] {
            let (ours, kernels) = table_1(name, in_pairs);
            assert!((ours - work).abs() < 0.05, "{name}: {ours} G");
            assert!((kernels - parameters).abs() < 0.05, "{name}: {kernels} M");
        }
    }

    #[test]
    fn work_does_not_depend_on_the_width_that_counts_it() {
        let [full, half] = [1, 2].map(|divisor| {
            let network = Network::named("cian_resnet50", divisor, 20).unwrap();
            network.count(
                [65, 65],
                |name| !name.starts_with("fc1") && !name.starts_with("conv0"),
                false,
            )
        });
        // Attention is linear in the channels, everything else that is left in their square.
        let (full, half) = (full.unwrap(), half.unwrap());
        let attention = 9 * 9 * 5 * 5 * 2048;
        assert_eq!(full - attention, 4 * (half - attention / 2));
    }
}
