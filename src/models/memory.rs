//! How much memory a network takes, about, for warnings before it is too late.

use super::Network;
use super::backbones::Backbone;

/// Bytes per pixel of the images of a pass at full width.
///
/// MEASURED
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
        let (inference, training, checkpointing) = match self.backbone {
            Backbone::Nano(_) => (300.0, 1500.0, 900.0),
            Backbone::EfficientNetLite(_) => (400.0, 2000.0, 800.0),
            Backbone::ResNet38(_) => (1500.0, 8000.0, 3000.0),
            Backbone::Vgg16(_) => (1500.0, 8000.0, 3000.0),
            Backbone::ResNet(_) | Backbone::PreactResNet(_) => (1000.0, 6000.0, 2000.0),
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
