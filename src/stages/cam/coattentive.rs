//! One image's localization maps from the co-attention with others, and with itself (MCIS Sec. 3.2).

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array3, Axis};

use crate::inference::{Trained, download_maps, multi_scale, scaled};
use crate::models::forward::Forward;
use crate::models::heads::co_attention::{Form, Origin, Pairing, first, second};
use crate::models::heads::{cam, self_pairs};
use crate::models::resize::resize;
use crate::pipeline::Context;
use crate::recipe::LocalizationMaps;

/// A related image.
pub struct Reference<'a> {
    /// Which training image it is.
    pub image: usize,
    /// Its features `[1, D, h, w]` at each of the recipe's scales.
    pub features: Vec<Tensor<4>>,
    /// The tags that it is a reference for.
    pub tags: &'a [usize],
}

/// What maps are made with.
pub struct CoAttentive<'a> {
    /// The run.
    pub context: &'a Context,
    /// A network with co-attention.
    pub trained: &'a Trained,
    /// Its form.
    pub form: Form,
}

impl CoAttentive<'_> {
    /// An image's localization maps `[C, h, w]`, at least 0, averaged over the recipe's scales and flips, as its
    /// `mcis.maps` says: for the tags that there are references for, the mean over these of the class maps of the
    /// image's co-attentive features, alone or mixed with those of the image with itself. Without either, from the image
    /// alone.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn of(&self, image: usize, pixels: &RgbImage, references: &[Reference]) -> Result<Array3<f32>> {
        let settings = &self.context.recipe.cam;
        let images = self.trained.upload(std::iter::once(pixels));
        let mut sum: Option<Tensor<4>> = None;
        for (scale, factor) in settings.scales.iter().enumerate() {
            let maps = multi_scale(images.clone(), &[*factor], settings.flip, |x| {
                self.maps((image, x), scale, references)
            });
            sum = Some(match sum {
                Some(sum) => sum + maps,
                None => maps,
            });
        }
        let sum = sum.unwrap_or_else(|| multi_scale(images, &[], false, |x| self.maps((image, x), 0, &[])));
        let maps = download_maps(sum / settings.scales.len().max(1) as f32)?;
        Ok(maps.index_axis_move(Axis(0), 0))
    }

    /// The maps of one image, in whatever views of one size `[B, 3, H, W]`, with `references` at the same scale.
    fn maps(&self, (image, views): (usize, Tensor<4>), scale: usize, references: &[Reference]) -> Tensor<4> {
        let f = self.trained.forward();
        let own = self.trained.network.levels(&f, views.clone()).high;
        let related = self.related(&f, image, &own, scale, references);
        match (self.context.recipe.coattend.maps, related) {
            (LocalizationMaps::Released, related) => {
                let [first, others @ ..] = self.with_itself(&f, image, &views, own);
                self_pairs::mixture(first, others.into_iter().chain(related))
            }
            (_, Some(related)) => related.clamp_min(0.0),
            (_, None) => cam::maps(&f, self.trained.network.backbone, own),
        }
    }

    /// The mean over the references of a tag of that tag's map, `[B, C, h, w]`, not clipped.
    fn related(
        &self,
        f: &Forward,
        image: usize,
        own: &Tensor<4>,
        scale: usize,
        references: &[Reference],
    ) -> Option<Tensor<4>> {
        let classes = self.context.classes();
        let mut counts = vec![0.0f32; classes];
        for tag in references.iter().flat_map(|reference| reference.tags) {
            counts[*tag] += 1.0;
        }
        let b = own.dims()[0];
        let mut sum: Option<Tensor<4>> = None;
        for reference in references {
            let Some(features) = reference.features.get(scale) else {
                continue;
            };
            let [_, d, h, w] = features.dims();
            let other = features.clone().expand([b, d, h, w]);
            let pairing = self.pairing([image, reference.image]);
            let side = first(f, self.trained.network.backbone, own.clone(), other, &pairing);
            let map = match self.context.recipe.coattend.maps {
                LocalizationMaps::Common | LocalizationMaps::Released => side.common_map,
                LocalizationMaps::Both => (side.common_map + side.exclusive_map) / 2.0,
            };
            let mut share = vec![0.0f32; classes];
            for tag in reference.tags {
                share[*tag] = 1.0 / counts[*tag];
            }
            let share = TensorData::new(share, [1, classes, 1, 1]);
            let part = map * Tensor::from_data(share, &self.context.device);
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
        sum
    }

    /// The maps of the co-attention with the image itself, mirrored from both sides, and of its reduced and enlarged view
    /// with it, each `[B, C, h, w]`, not clipped (released `scripts/test.py`). `own` are the features of `views`.
    fn with_itself(&self, f: &Forward, image: usize, views: &Tensor<4>, own: Tensor<4>) -> [Tensor<4>; 4] {
        let network = &self.trained.network;
        let pairing = self.pairing([image, image]);
        let [_, _, h, w] = own.dims();
        let of_view = |view: Tensor<4>| {
            let view = network.levels(f, view).high;
            second(f, network.backbone, own.clone(), view, &pairing).common_map
        };
        let mirrored = network.levels(f, self_pairs::mirrored(views)).high;
        let seen = first(f, network.backbone, own.clone(), mirrored.clone(), &pairing).common_map;
        let seeing = second(f, network.backbone, own.clone(), mirrored, &pairing).common_map;
        let [reduced, enlarged] = self_pairs::scaled(views).map(|view| resize(of_view(view), [h, w]));
        [seen, seeing.flip([3]), reduced, enlarged]
    }

    fn pairing(&self, images: [usize; 2]) -> Pairing {
        let split = &self.context.data.train;
        Pairing {
            form: self.form,
            temperature: self.context.recipe.coattend.temperature,
            origins: vec![Origin::of(images.map(|i| split.is_extra(i)))],
        }
    }
}

/// Images `[B, 3, H, W]` at a scale, as their maps see them.
pub fn at_scale(images: &Tensor<4>, scale: f32) -> Tensor<4> {
    let [_, _, h, w] = images.dims();
    resize(images.clone(), scaled([h, w], scale))
}
