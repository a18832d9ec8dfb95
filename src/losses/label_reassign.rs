//! AALR's label reassign loss (Zhang et al. 2021, Sec. 3.2): labelled pixels move to the nearest class centroid, so
//! that wrong pseudo-labels are not learnt by heart.

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};

/// Hyper-parameters of [`label_reassign`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelReassign {
    /// n of Eq. 14, by which the nearest centroid has to be more similar than the others; 1 in the paper.
    pub margin: f32,
    /// Exponent of the focal weight (Eq. 16); 0 weighs all pixels alike, the paper's best is 2.
    pub gamma: f32,
}

impl Default for LabelReassign {
    fn default() -> Self {
        LabelReassign {
            margin: 1.0,
            gamma: 2.0,
        }
    }
}

/// Squared length below which a vector has no direction.
const TINY: f32 = 1e-12;

/// The loss (Eq. 17) of features `[B, D, h, w]`, a mean over the images with at least two labels; `[1]`, 0 where there
/// is none.
///
/// `labels` `[B, h, w]`: 0 background, classes below `classes` (background included), anything else in no centroid and
/// no mean. `confidence` `[B, 1, h, w]`: β of Eq. 13, a constant. Each labelled pixel goes to the centroid of largest
/// cosine similarity; pixels that went to the background and to other classes are averaged apart. The own centroid's
/// term, a constant, is left out of Eq. 14–15, and the focal weight has no gradient.
pub fn label_reassign(
    features: Tensor<4>,
    labels: &[i32],
    confidence: Tensor<4>,
    classes: usize,
    settings: LabelReassign,
) -> Tensor<1> {
    let [b, d, h, w] = features.dims();
    let (k, n) = (classes, h * w);
    let device = features.device();
    let members = Members::new(labels, [b, k, n]);
    if members.images == 0 {
        return Tensor::zeros([1], &device);
    }
    let upload = |values: Vec<f32>, shape: [usize; 3]| Tensor::<3>::from_data(TensorData::new(values, shape), &device);
    let features = features.reshape([b, d, n]);
    // A centroid's length does not matter to the cosine: no division by the sum of the confidences.
    let weights = upload(members.one_hot, [b, k, n]) * confidence.detach().reshape([b, 1, n]);
    let centroids = direction(weights.matmul(features.clone().swap_dims(1, 2)), 2);
    let lengths = length(features.clone(), 1);
    // Classes that an image does not have are further away than any can be.
    let absent = upload(members.absent, [b, k, 1]) * -(3.0 + settings.margin);
    let similarity = centroids.matmul(features) / lengths + absent;

    let nearest = similarity.clone().max_dim(1);
    let hinge = relu(similarity.clone() - nearest.clone() + settings.margin).sum_dim(1) - settings.margin.max(0.0);
    let constant = similarity.detach();
    let first = constant.clone().max_dim(1);
    let to_background = constant.clone().narrow(1, 0, 1).greater_equal(first.clone()).float();
    let labelled = upload(members.labelled, [b, 1, n]);
    let to_background = to_background * labelled.clone();
    let to_foreground = labelled - to_background.clone();
    let focused = hinge * focal(constant, first, settings.gamma);
    let mean = |set: Tensor<3>| {
        let count = set.clone().sum_dim(2).clamp_min(1.0);
        ((focused.clone() * set).sum_dim(2) / count).sum()
    };
    (mean(to_background) + mean(to_foreground)) / members.images as f32
}

/// Eq. 16 from similarities `[B, K, N]` and the largest of each pixel `[B, 1, N]`:
/// 1 - (D₁ - D₂) / (D₁ + D₂) = 2 D₂ / (D₁ + D₂), 0 where the second centroid points away.
fn focal(similarity: Tensor<3>, first: Tensor<3>, gamma: f32) -> Tensor<3> {
    if gamma == 0.0 {
        return first.ones_like();
    }
    // Two centroids at one distance both count: the second is then as near as the first.
    let is_first = similarity.clone().greater_equal(first.clone());
    let ties = is_first.clone().float().sum_dim(1).greater_elem(1.5);
    let second = similarity.mask_fill(is_first, -1.0).max_dim(1);
    let second = second.mask_where(ties, first.clone()).clamp_min(0.0);
    (second.clone() * 2.0 / (first.clamp_min(0.0) + second).clamp_min(TINY))
        // pow(0, x) is not defined on every device.
        .clamp_min(TINY)
        .powf_scalar(gamma)
}

/// Lengths along `dim`, 1 where there is no direction, where they then have no gradient either.
fn length(x: Tensor<3>, dim: usize) -> Tensor<3> {
    let square = (x.clone() * x).sum_dim(dim);
    let tiny = square.clone().lower_elem(TINY);
    square.mask_fill(tiny, 1.0).sqrt()
}

fn direction(x: Tensor<3>, dim: usize) -> Tensor<3> {
    x.clone() / length(x, dim)
}

/// Which pixel has which label, in images with at least two of them.
struct Members {
    /// Number of such images.
    images: usize,
    /// `[B, K, N]`
    one_hot: Vec<f32>,
    /// `[B, N]`
    labelled: Vec<f32>,
    /// `[B, K]`
    absent: Vec<f32>,
}

impl Members {
    fn new(labels: &[i32], [b, k, n]: [usize; 3]) -> Members {
        let mut members = Members {
            images: 0,
            one_hot: vec![0.0; b * k * n],
            labelled: vec![0.0; b * n],
            absent: vec![1.0; b * k],
        };
        let known = |label: i32| usize::try_from(label).ok().filter(|l| *l < k);
        for (image, labels) in labels.chunks_exact(n.max(1)).take(b).enumerate() {
            let absent = &mut members.absent[image * k..][..k];
            for label in labels.iter().filter_map(|l| known(*l)) {
                absent[label] = 0.0;
            }
            // A single centroid has nothing to be told from.
            if absent.iter().filter(|a| **a == 0.0).count() < 2 {
                continue;
            }
            members.images += 1;
            for (pixel, label) in labels.iter().enumerate() {
                if let Some(label) = known(*label) {
                    members.one_hot[(image * k + label) * n + pixel] = 1.0;
                    members.labelled[image * n + pixel] = 1.0;
                }
            }
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Two-channel features of four pixels: three along the first axis, one along the second.
    fn loss(labels: &[i32], gamma: f32) -> (f32, Vec<f32>) {
        let device = Device::flex().autodiff();
        let features = [[[[1.0f32, 2.0, 1.0, 0.0]], [[0.0, 0.0, 0.2, 1.0]]]];
        let features = Tensor::<4>::from_data(features, &device).require_grad();
        let confidence = Tensor::ones([1, 1, 1, 4], &device);
        let settings = LabelReassign { margin: 1.0, gamma };
        let loss = label_reassign(features.clone(), labels, confidence, 3, settings);
        let value = loss.clone().into_scalar::<f32>();
        let gradient = loss
            .is_tracked()
            .then(|| features.grad_remove(&mut loss.backward()).unwrap())
            .map(|g| g.into_data().try_to_vec::<f32>().unwrap())
            .unwrap_or_default();
        (value, gradient)
    }

    #[test]
    fn pixels_go_to_the_nearest_centroid_and_the_rest_counts_nothing() {
        // Centroids: (1, 0) of the background and (0, 1) of class 2; pixel 2 is unlabelled.
        let (value, gradient) = loss(&[0, 0, 255, 2], 0.0);
        assert!(value.abs() < 1e-6, "{value}: similarities 1 and 0 keep the margin of 1");
        assert!(gradient.iter().all(|g| g.is_finite()));
        assert_eq!(gradient[2], 0.0);
        // A wrong label does not matter where its pixel is nearest to another centroid.
        let (wrong, gradient) = loss(&[0, 2, 0, 2], 2.0);
        assert!(wrong > 0.0 && gradient.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn one_class_or_none_gives_zero() {
        for labels in [[1; 4], [255; 4], [1, 255, 255, 255], [-1, 3, 255, 2]] {
            assert_eq!(loss(&labels, 2.0).0, 0.0);
        }
    }

    #[test]
    fn pixels_without_features_have_a_finite_gradient() {
        let device = Device::flex().autodiff();
        let features = Tensor::<4>::zeros([1, 2, 1, 2], &device).require_grad();
        let ones = Tensor::ones([1, 1, 1, 2], &device);
        let loss = label_reassign(features.clone(), &[0, 1], ones, 2, LabelReassign::default());
        let gradient = features.grad_remove(&mut loss.backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
}
