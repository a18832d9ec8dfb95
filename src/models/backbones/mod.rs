//! Backbones: images in, feature maps of three levels out.

pub mod efficientnet_lite;
pub mod nano;
pub mod preact_resnet;
pub mod resnet;
pub mod resnet38;
pub mod vgg16;

use anyhow::{Result, bail, ensure};
use burn::tensor::Tensor;

use super::forward::Forward;
use super::params::{Declarations, belongs};
use super::resize::resize;
use efficientnet_lite::{EfficientNetLite, Size};
use nano::Nano;
use preact_resnet::PreactResNet;
use resnet::{Depth, ResNet, Style};
use resnet38::ResNet38;
use vgg16::{Tail, Vgg16};

/// The backbones that [`Backbone::named`] knows.
pub const NAMES: [&str; 12] = [
    "nano",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "resnet38",
    "vgg16",
    "vgg16_extra",
    "resnet50",
    "resnet101",
    "resnet101_caffe",
    "preact_resnet50",
    "preact_resnet101",
];
/// Width divisors of every backbone but nano and EfficientNet-Lite: they keep all channel numbers whole.
pub const DIVISORS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The largest divisor that the backbone called `name` can have.
pub fn narrowest(name: &str) -> usize {
    match name {
        "nano" => 1,
        _ if name.starts_with("efficientnet_lite") => 1,
        _ => DIVISORS[DIVISORS.len() - 1],
    }
}

/// The feature maps that heads are built on, each `[B, C, H / stride, W / stride]`: of one size and activated but in
/// backbones that say otherwise.
#[derive(Clone, Debug)]
pub struct Levels {
    /// ResNet38: conv4 (512 channels).
    pub low: Tensor<4>,
    /// ResNet38: conv5 (1024 channels).
    pub middle: Tensor<4>,
    /// ResNet38: conv6 (4096 channels).
    pub high: Tensor<4>,
}

impl Levels {
    /// Levels divided by `deviations`, all at the size of the first, the finest: what a head that joins them sees.
    pub fn joined(self, deviations: [f32; 3]) -> [Tensor<4>; 3] {
        let [_, _, h, w] = self.low.dims();
        let mut levels = [self.low, self.middle, self.high];
        for (level, deviation) in levels.iter_mut().zip(deviations) {
            if deviation != 1.0 {
                *level = level.clone() / deviation;
            }
            *level = resize(level.clone(), [h, w]);
        }
        levels
    }
}

/// A backbone and its width.
#[derive(Clone, Copy, Debug)]
pub enum Backbone {
    /// See [`nano`].
    Nano(Nano),
    /// See [`efficientnet_lite`].
    EfficientNetLite(EfficientNetLite),
    /// See [`resnet38`].
    ResNet38(ResNet38),
    /// See [`vgg16`].
    Vgg16(Vgg16),
    /// See [`resnet`].
    ResNet(ResNet),
    /// See [`preact_resnet`].
    PreactResNet(PreactResNet),
}

impl Backbone {
    /// The backbone called `name`, one of [`NAMES`], with its channels divided by `divisor`, one of [`DIVISORS`].
    ///
    /// # Errors
    /// On an unknown name or divisor.
    pub fn named(name: &str, divisor: usize) -> Result<Backbone> {
        let depth = if name.ends_with("50") {
            Depth::Fifty
        } else {
            Depth::HundredOne
        };
        let vgg16 = |tail| Backbone::Vgg16(Vgg16 { divisor, tail });
        let backbone = match name {
            "nano" if divisor == 1 => return Ok(Backbone::Nano(Nano)),
            "nano" => bail!("width_divisor = {divisor}: the nano backbone has one width, 1"),
            _ if name.starts_with("efficientnet_lite") => return lite(name, divisor),
            "resnet38" => Backbone::ResNet38(ResNet38 { divisor }),
            "vgg16" => vgg16(Tail::LargeFov {
                dilation: 1,
                pooled: false,
            }),
            "vgg16_extra" => vgg16(Tail::ExtraConvs),
            "resnet50" | "resnet101" | "resnet101_caffe" => Backbone::ResNet(ResNet {
                depth,
                divisor,
                style: match name {
                    "resnet101_caffe" => Style::Caffe,
                    _ => Style::Torchvision,
                },
                output_stride: 8,
            }),
            "preact_resnet50" | "preact_resnet101" => Backbone::PreactResNet(PreactResNet { depth, divisor }),
            _ => bail!("unknown backbone {name:?}: use one of {}", NAMES.join(", ")),
        };
        if !DIVISORS.contains(&divisor) {
            bail!("width_divisor = {divisor}: use 1, 2, 4, 8, 16 or 32");
        }
        Ok(backbone)
    }

    /// The same at another output stride, pixels of the image per pixel of the last level; `None` leaves it as it is.
    ///
    /// # Errors
    /// Where the backbone cannot have it: EfficientNet-Lite and ResNet take 8 and 16, the others have one.
    pub fn with_output_stride(self, stride: Option<usize>) -> Result<Backbone> {
        let Some(stride) = stride else {
            return Ok(self);
        };
        let both = [8, 16].contains(&stride);
        match self {
            Backbone::EfficientNetLite(b) if both => {
                let output_stride = stride;
                Ok(Backbone::EfficientNetLite(EfficientNetLite { output_stride, ..b }))
            }
            Backbone::ResNet(b) if both => {
                let output_stride = stride;
                Ok(Backbone::ResNet(ResNet { output_stride, ..b }))
            }
            Backbone::EfficientNetLite(_) | Backbone::ResNet(_) => {
                bail!("output_stride = {stride}: {} takes 8 and 16", self.kind())
            }
            _ => {
                let own = self.stride();
                ensure!(
                    stride == own,
                    "output_stride = {stride}: {} has {own} and no other: leave the key out",
                    self.kind()
                );
                Ok(self)
            }
        }
    }

    /// Its name in [`NAMES`].
    pub fn kind(self) -> &'static str {
        match self {
            Backbone::Nano(_) => "nano",
            Backbone::EfficientNetLite(b) => Size::ALL
                .into_iter()
                .find(|(_, size)| *size == b.size)
                .map_or("efficientnet_lite0", |(name, _)| name),
            Backbone::ResNet38(_) => "resnet38",
            Backbone::Vgg16(b) => match b.tail {
                Tail::LargeFov { .. } | Tail::Pools => "vgg16",
                Tail::ExtraConvs => "vgg16_extra",
            },
            Backbone::ResNet(b) => match (b.depth, b.style) {
                (Depth::Fifty, _) => "resnet50",
                (Depth::HundredOne, Style::Torchvision) => "resnet101",
                (Depth::HundredOne, Style::Caffe) => "resnet101_caffe",
            },
            Backbone::PreactResNet(b) => match b.depth {
                Depth::Fifty => "preact_resnet50",
                Depth::HundredOne => "preact_resnet101",
            },
        }
    }

    /// What its channels are divided by.
    pub fn divisor(self) -> usize {
        match self {
            Backbone::Nano(_) | Backbone::EfficientNetLite(_) => 1,
            Backbone::ResNet38(b) => b.divisor,
            Backbone::Vgg16(b) => b.divisor,
            Backbone::ResNet(b) => b.divisor,
            Backbone::PreactResNet(b) => b.divisor,
        }
    }

    /// Name and width, as checkpoints record it.
    pub fn name(self) -> String {
        match self {
            Backbone::Nano(_) | Backbone::EfficientNetLite(_) => self.kind().into(),
            _ => format!("{}/{}", self.kind(), self.divisor()),
        }
    }

    /// Channels of the three levels.
    pub fn channels(self) -> [usize; 3] {
        match self {
            Backbone::Nano(b) => b.channels(),
            Backbone::EfficientNetLite(b) => b.channels(),
            Backbone::ResNet38(b) => b.channels(),
            Backbone::Vgg16(b) => b.channels(),
            Backbone::ResNet(b) => b.channels(),
            Backbone::PreactResNet(b) => b.channels(),
        }
    }

    /// What heads that join levels divide each by, so that none drowns the others.
    pub fn deviations(self) -> [f32; 3] {
        match self {
            Backbone::EfficientNetLite(_) => efficientnet_lite::DEVIATIONS,
            _ => [1.0; 3],
        }
    }

    /// Pixels of the image per pixel of the last level.
    pub fn stride(self) -> usize {
        match self {
            Backbone::Nano(_) => 4,
            Backbone::EfficientNetLite(b) => b.output_stride,
            Backbone::ResNet(b) => b.output_stride,
            _ => 8,
        }
    }

    /// Whether training starts from random weights: then every level and the batch-norm statistics train too.
    pub fn from_scratch(self) -> bool {
        matches!(self, Backbone::Nano(_))
    }

    /// Whether `parameter` belongs to a level that stays as pretrained.
    pub fn is_frozen(self, parameter: &str) -> bool {
        if let Backbone::EfficientNetLite(b) = self {
            return b.frozen().iter().any(|layer| belongs(parameter, layer));
        }
        let levels: &[&str] = match self {
            Backbone::ResNet38(_) => &resnet38::FROZEN,
            Backbone::Vgg16(_) => &vgg16::FROZEN,
            _ => &[],
        };
        levels.iter().any(|level| belongs(parameter, level))
    }

    /// Declares the parameters.
    pub fn declare(self, to: &mut Declarations) {
        match self {
            Backbone::Nano(b) => b.declare(to),
            Backbone::EfficientNetLite(b) => b.declare(to),
            Backbone::ResNet38(b) => b.declare(to),
            Backbone::Vgg16(b) => b.declare(to),
            Backbone::ResNet(b) => b.declare(to),
            Backbone::PreactResNet(b) => b.declare(to),
        }
    }

    /// Images `[B, 3, H, W]`, normalised → feature maps.
    pub fn forward(self, f: &Forward, images: Tensor<4>) -> Levels {
        match self {
            Backbone::Nano(b) => b.forward(f, images),
            Backbone::EfficientNetLite(b) => b.forward(f, images),
            Backbone::ResNet38(b) => b.forward(f, images),
            Backbone::Vgg16(b) => b.forward(f, images),
            Backbone::ResNet(b) => b.forward(f, images),
            Backbone::PreactResNet(b) => b.forward(f, images),
        }
    }
}

/// EfficientNet-Lite at output stride 16: half of the work of 8.
fn lite(name: &str, divisor: usize) -> Result<Backbone> {
    let found = Size::ALL.into_iter().find(|(known, _)| *known == name);
    let Some((_, size)) = found else {
        bail!("unknown backbone {name:?}: use one of {}", NAMES.join(", "));
    };
    ensure!(divisor == 1, "width_divisor = {divisor}: {name} has one width, 1");
    Ok(Backbone::EfficientNetLite(EfficientNetLite {
        size,
        output_stride: 16,
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::models::forward::Mode;
    use crate::models::params::{Parameters, Role};

    #[test]
    fn every_convolution_that_is_declared_is_applied_once() {
        let device = Device::flex();
        for name in NAMES {
            let backbone = Backbone::named(name, narrowest(name)).unwrap();
            let mut declared = Declarations::default();
            backbone.declare(&mut declared);
            let zeros = Parameters::init(&declared, &device, |p| vec![0.0; p.shape.iter().product()]).unwrap();
            let f = Forward::new(&zeros, Mode::Inference);
            backbone.forward(&f, Tensor::zeros([1, 3, 33, 41], &device));
            let mut applied: Vec<String> = f.work().kernels.into_iter().map(|(kernel, _)| kernel).collect();
            let kernels = declared.0.into_iter().filter(|p| p.role == Role::Kernel);
            let mut kernels: Vec<String> = kernels.map(|p| p.name).collect();
            applied.sort();
            kernels.sort();
            assert_eq!(applied, kernels, "{name}");
        }
    }

    #[test]
    fn output_strides_are_those_that_a_backbone_can_have() {
        for (name, stride, good) in [
            ("efficientnet_lite0", 8, true),
            ("efficientnet_lite0", 32, false),
            ("resnet50", 16, true),
            ("resnet50", 4, false),
            ("resnet38", 8, true),
            ("resnet38", 16, false),
            ("nano", 4, true),
        ] {
            let made = Backbone::named(name, 1).unwrap();
            let made = made.with_output_stride(Some(stride));
            assert_eq!(made.is_ok(), good, "{name} {stride}");
            if let Ok(made) = made {
                assert_eq!(made.stride(), stride);
            }
        }
    }

    #[test]
    fn every_name_makes_its_backbone() {
        for name in NAMES {
            assert_eq!(Backbone::named(name, 1).unwrap().kind(), name);
        }
        assert!(Backbone::named("vgg16", 3).is_err());
        assert!(Backbone::named("vgg19", 1).is_err());
        assert!(Backbone::named("efficientnet_lite0", 2).is_err());
        assert!(Backbone::named("efficientnet_lite9", 1).is_err());
    }
}
