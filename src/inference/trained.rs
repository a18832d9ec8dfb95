//! A trained network.

use std::path::Path;

use anyhow::{Context as _, Result};
use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::images::upload;
use crate::data::Split;
use crate::device::fault::{self, Fault};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::recipe::{NetworkInput, Recipe};
use crate::train;

/// A network with what it has learnt, ready for images.
pub struct Trained {
    /// Its architecture.
    pub network: Network,
    /// Its parameters.
    pub parameters: Parameters,
    /// How images go into it.
    pub input: NetworkInput,
    /// Where it computes.
    pub device: Device,
}

impl Trained {
    /// `network` with `parameters` on `device`; images go into it as `recipe` says.
    ///
    /// # Errors
    /// Where no weights of its backbone are known, which no checked recipe has.
    pub fn new(network: Network, parameters: Parameters, recipe: &Recipe, device: &Device) -> Result<Trained> {
        Ok(Trained {
            input: recipe.network_input(network.backbone.kind())?,
            network,
            parameters,
            device: device.clone(),
        })
    }

    /// `network` as a training has left it in the folder of its stage.
    ///
    /// # Errors
    /// One line that names the checkpoint where it is missing, truncated, or of another network.
    pub fn load(network: Network, folder: &Path, recipe: &Recipe, device: &Device) -> Result<Trained> {
        let checkpoint = folder.join(train::CHECKPOINT);
        let parameters = train::load(&network, &checkpoint, device)?;
        Trained::new(network, parameters, recipe, device)
    }

    /// The same network on another device.
    ///
    /// # Errors
    /// Where the parameters cannot be read back.
    pub fn on(&self, device: &Device) -> Result<Trained> {
        Ok(Trained {
            network: self.network,
            parameters: self.parameters.on(device)?,
            input: self.input,
            device: device.clone(),
        })
    }

    /// What `work` makes of a batch of images of `split` with this network; of a single image that the device has no
    /// room for, with the network on the CPU, which is said in a warning.
    ///
    /// # Errors
    /// Those of `work`, with the first image's name.
    pub fn batch_or_on_cpu<T>(
        &self,
        split: &Split,
        batch: &[(usize, RgbImage)],
        work: impl Fn(&Trained) -> Result<T>,
    ) -> Result<T> {
        let name = || match batch {
            [(first, _)] => split.source(*first),
            [(first, _), others @ ..] => format!("{} and {} more", split.source(*first), others.len()),
            [] => "no image".to_owned(),
        };
        let done = match (fault::caught(|| work(self)), batch) {
            (Err(error), [(_, image)]) => {
                let on_cpu = || {
                    self.go_on(error, &name(), image, "on the CPU")?;
                    work(&self.on(&Device::flex())?)
                };
                on_cpu()
            }
            (done, _) => done,
        };
        done.with_context(name)
    }

    /// Says that an image is worked on in another `way`, because the device could not as it was.
    ///
    /// # Errors
    /// `error` where there is no other way: on the CPU, and where the device is lost.
    pub(super) fn go_on(&self, error: anyhow::Error, name: &str, image: &RgbImage, way: &str) -> Result<()> {
        if self.device == Device::flex() || Fault::in_error(&error) == Some(Fault::Lost) {
            return Err(error);
        }
        let (w, h) = image.dimensions();
        log::warn!("{name}: {w} x {h} pixels are too much for the device ({error:#}): going on with it {way}");
        self.device.memory_cleanup();
        Ok(())
    }

    /// A forward pass that learns nothing.
    pub fn forward(&self) -> Forward<'_> {
        Forward::new(&self.parameters, Mode::Inference)
    }

    /// Images of one size on the device, as [`upload`].
    pub fn upload<'a>(&self, images: impl Iterator<Item = &'a RgbImage>) -> Tensor<4> {
        upload(images, &self.input, &self.device)
    }
}
