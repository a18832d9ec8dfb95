//! Labels from class maps and a saliency map that compete with each other, as MCIS's released code makes them
//! (`gen_gt.py`, which is OAA's).

use image::GrayImage;

use super::scores::Maps;

/// Least score of a winner, of classes and background (`fg_thr`).
const LEAST: f32 = 0.3;
/// A pixel of which two are surer than this is in conflict (`conflict`).
const CONFLICT: f32 = 0.99;
/// Saliency, of 255, from which background is doubted (`bg_thr`).
const SALIENT: u8 = 32;
/// Score of a class beyond which background is doubted too (`att_thr`).
const CERTAIN: f32 = 0.95;
/// An image of which less is foreground teaches nothing.
const LEAST_SHARE: f32 = 0.01;

/// Label of a pixel that is not labelled.
const IGNORE: u8 = 255;

/// The labels of an image from its class maps, each brought to [0, 1], and a saliency map of its size: the best of
/// 1 - saliency and the maps where it is at least 0.3, and background where none is. Not labelled (255) are pixels of
/// which two are surer than 0.99, background that is salient or that a class is surer of than 0.95, and the whole image
/// where less than a hundredth is foreground.
pub fn competing(maps: &Maps, saliency: &GrayImage) -> GrayImage {
    let values = maps.mask_values();
    let maps: Vec<Vec<f32>> = maps
        .maps
        .outer_iter()
        .map(|map| stretched(map.iter().copied().collect()))
        .collect();
    let mut label = saliency.clone();
    for (i, pixel) in label.iter_mut().enumerate() {
        let salient = *pixel;
        let background = 1.0 - f32::from(salient) / 255.0;
        let scores = || maps.iter().map(|map| map.get(i).copied().unwrap_or(0.0));
        let (mut winner, mut best) = (0, if background < LEAST { 0.0 } else { background });
        for (score, value) in scores().zip(&values) {
            if score >= LEAST && score > best {
                (winner, best) = (*value, score);
            }
        }
        let sure = scores().chain([background]).filter(|score| *score > CONFLICT).count();
        let is_doubted = winner == 0 && (salient >= SALIENT || scores().any(|score| score > CERTAIN));
        *pixel = if sure > 1 || is_doubted { IGNORE } else { winner };
    }
    let foreground = label.iter().filter(|value| ![0, IGNORE].contains(*value)).count();
    if (foreground as f32) < LEAST_SHARE * label.len() as f32 {
        label.fill(IGNORE);
    }
    label
}

/// A map from its least to its greatest value, as [0, 1].
fn stretched(mut map: Vec<f32>) -> Vec<f32> {
    let range = map
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    map.iter_mut()
        .for_each(|v| *v = (*v - range.0) / (range.1 - range.0 + 1e-8));
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn labels(saliency: &[u8], maps: &[&[f32]]) -> Vec<u8> {
        let n = saliency.len();
        let values = maps.concat();
        let maps = Maps {
            classes: [2, 5][..maps.len()].to_vec(),
            maps: Array3::from_shape_vec((maps.len(), 1, n), values).unwrap(),
        };
        let saliency = GrayImage::from_raw(n as u32, 1, saliency.to_vec()).unwrap();
        competing(&maps, &saliency).into_raw()
    }

    #[test]
    fn classes_and_background_compete_and_doubt_is_left_out() {
        // Each column a pixel: class 2 wins; background; class 5 wins by a little; a salient pixel that no class claims;
        // a class at the top where nothing is salient; two classes at the top; background that is a little salient.
        let saliency = [255, 0, 130, 200, 0, 255, 40];
        let of_two = [0.9, 0.5, 0.4, 0.2, 1.0, 1.0, 0.0];
        let of_five = [0.0, 0.2, 0.6, 0.1, 0.0, 1.0, 0.1];
        assert_eq!(labels(&saliency, &[&of_two, &of_five]), [2, 0, 5, 255, 255, 255, 255]);
    }

    #[test]
    fn maps_are_stretched_and_images_without_foreground_are_left_out() {
        // 0.2 to 0.6 is 0 to 1: the second pixel has 0.5 against 0.45, the third 0.25, too little, against 0.25.
        assert_eq!(labels(&[255, 140, 191, 0], &[&[0.6, 0.4, 0.3, 0.2]]), [2, 2, 255, 0]);
        let mut map = vec![0.0; 101];
        map[7] = 1.0;
        let mut saliency = vec![0; 101];
        saliency[7] = 255;
        assert_eq!(labels(&saliency, &[&map]), [255; 101]);
        assert_eq!(labels(&saliency[..100], &[&map[..100]])[7], 2);
    }
}
