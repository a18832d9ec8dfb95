//! Images on their way into a network that is not being trained.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use image::imageops::FilterType;

use crate::data::{limited, normalize};
use crate::recipe::NetworkInput;

/// The shortest side that networks see: less would vanish under their strides. Smaller images are scaled up.
pub(super) const MIN_SIDE: u32 = 16;

/// The size (width, height) at which networks see an image: its own, or within `MIN_SIDE` and the recipe's
/// `max_side` (0 = no limit).
pub fn network_size(size: (u32, u32), input: &NetworkInput) -> (u32, u32) {
    let (w, h) = limited(size, input.max_side);
    (w.max(MIN_SIDE), h.max(MIN_SIDE))
}

/// Images of one size → `[B, 3, h, w]` at their [`network_size`], normalised.
pub fn upload<'a>(images: impl Iterator<Item = &'a RgbImage>, input: &NetworkInput, device: &Device) -> Tensor<4> {
    let mut values = Vec::new();
    let (mut b, mut size) = (0, (0, 0));
    for image in images {
        size = network_size(image.dimensions(), input);
        if size == image.dimensions() {
            values.extend(normalize(image, &input.scaling));
        } else {
            let small = image::imageops::resize(image, size.0, size.1, FilterType::Triangle);
            values.extend(normalize(&small, &input.scaling));
        }
        b += 1;
    }
    let shape = [b, 3, size.1 as usize, size.0 as usize];
    Tensor::from_data(TensorData::new(values, shape), device)
}
