//! The multi-label classification loss of all five methods.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// Mean over images and classes of -(y log σ(x) + (1 - y) log(1 - σ(x))), PyTorch's `multilabel_soft_margin_loss`.
///
/// `logits` and `targets` (0 or 1) are `[B, C]`; the result is `[1]`.
pub fn multilabel_soft_margin(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let present = targets.clone() * log_sigmoid(logits.clone());
    let absent = (targets.neg() + 1.0) * log_sigmoid(logits.neg());
    (present + absent).mean().neg()
}
