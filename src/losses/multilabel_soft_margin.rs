//! The multi-label classification loss of all five methods.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};

/// Mean over images and classes of -(y log σ(x) + (1 - y) log(1 - σ(x))), PyTorch's `multilabel_soft_margin_loss`.
///
/// `logits` and `targets` (0 or 1) are `[B, C]`; the result is `[1]`.
pub fn multilabel_soft_margin(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    log_likelihood(logits, targets).mean().neg()
}

/// y log σ(x) + (1 - y) log(1 - σ(x)) of every entry.
fn log_likelihood(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
    let present = targets.clone() * log_sigmoid(logits.clone());
    let absent = (targets.neg() + 1.0) * log_sigmoid(logits.neg());
    present + absent
}

/// As [`multilabel_soft_margin`] with `targets` in host memory, where an image without any class adds nothing to the
/// mean over all images (MCIS Eq. 5 and 9, for pairs that share nothing, or all).
pub fn multilabel_soft_margin_where_any(logits: Tensor<2>, targets: &[f32]) -> Tensor<1> {
    let [b, c] = logits.dims();
    let any = targets.chunks_exact(c.max(1)).map(|row| row.iter().any(|t| *t > 0.0));
    let any: Vec<f32> = any.map(|any| f32::from(u8::from(any))).collect();
    let device = logits.device();
    let any = Tensor::<2>::from_data(TensorData::new(any, [b, 1]), &device);
    let targets = Tensor::<2>::from_data(TensorData::new(targets.to_vec(), [b, c]), &device);
    (log_likelihood(logits, targets) * any).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn an_image_without_classes_trains_nothing() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data([[0.5f32, -1.0], [2.0, 0.1]], &device).require_grad();
        let loss = |targets: &[f32]| multilabel_soft_margin_where_any(logits.clone(), targets);
        let plain = multilabel_soft_margin(logits.clone(), Tensor::from_data([[1.0f32, 0.0], [0.0, 1.0]], &device));
        let all = loss(&[1.0, 0.0, 0.0, 1.0]).into_scalar::<f32>();
        assert!((all - plain.into_scalar::<f32>()).abs() < 1e-6);
        let gradient = logits.grad(&loss(&[1.0, 0.0, 0.0, 0.0]).backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        assert!(gradient[0] < 0.0 && gradient[1] > 0.0);
        assert_eq!(gradient[2..], [0.0, 0.0]);
        assert_eq!(loss(&[0.0; 4]).into_scalar::<f32>(), 0.0);
    }
}
