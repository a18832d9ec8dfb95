//! How much memory a network takes, about, for warnings before it is too late.

use super::Network;
use super::backbones::Backbone;

/// Bytes per pixel of the images of a pass at full width, on the CPU.
///
/// Inference is measured with the heads for segmentation: the difference of what `weakseg models --measure` says at 241
/// and 161 pixels squared, of Nano and EfficientNet-Lite0 that of the most that the process held over batches. Training
/// is measured by the latter for Nano (490 bytes at batches of 4 and 16 crops of 256, 332 with checkpointing, 48 of them
/// batches that wait) and EfficientNet-Lite0 trained as a whole (830 and 470), and for ResNet38 by `weakseg bench
/// train-step` (3,800 kept for the backward pass, 900 with checkpointing, and a pass on top). Of the others it is
/// counted: each block's feature maps, once before and once after its activation, and a pass.
struct Bytes {
    /// At the peak of a pass that learns nothing.
    inference: f64,
    /// At the peak of a training step.
    training: f64,
    /// The same with gradient checkpointing.
    checkpointing: f64,
}

impl Network {
    fn bytes(&self) -> Bytes {
        let (inference, training, checkpointing) = match (self.backbone, self.backbone.kind()) {
            (Backbone::Nano(_), _) => (200.0, 440.0, 290.0),
            (Backbone::EfficientNetLite(_), _) => (80.0, 780.0, 420.0),
            (Backbone::ResNet38(_), _) => (3100.0, 7000.0, 4000.0),
            (Backbone::Vgg16(_), _) => (600.0, 2400.0, 1200.0),
            (_, "resnet101" | "preact_resnet101") => (1650.0, 6500.0, 2500.0),
            (Backbone::ResNet(_) | Backbone::PreactResNet(_), _) => (1500.0, 4000.0, 2200.0),
        };
        let narrower = self.backbone.divisor() as f64;
        Bytes {
            inference: inference / narrower,
            training: training / narrower,
            checkpointing: checkpointing / narrower,
        }
    }

    /// Bytes per pixel that a pass takes at its peak which learns nothing, beyond the parameters, about.
    pub fn inference_bytes(&self) -> f64 {
        self.bytes().inference
    }

    /// Bytes that a training step on `pixels` pixels takes at its peak, about: all images of the batch, parameters with
    /// their gradients and momenta.
    pub fn training_bytes(&self, pixels: f64, checkpointing: bool) -> f64 {
        let bytes = self.bytes();
        let of_pixel = if checkpointing {
            bytes.checkpointing
        } else {
            bytes.training
        };
        // Values, those that train once more with gradients and, of AdamW, two momenta.
        16.0 * self.declare().count() as f64 + pixels * of_pixel
    }
}
