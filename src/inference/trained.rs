//! A trained network.

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::images::upload;
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

    /// A forward pass that learns nothing.
    pub fn forward(&self) -> Forward<'_> {
        Forward::new(&self.parameters, Mode::Inference)
    }

    /// Images of one size on the device, as [`upload`].
    pub fn upload<'a>(&self, images: impl Iterator<Item = &'a RgbImage>) -> Tensor<4> {
        upload(images, &self.input, &self.device)
    }
}
