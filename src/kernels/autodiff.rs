//! What the operators' gradients share: how an operation is recorded, and how its parents get their gradients.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// The output `out` of an operation on `parents`, whose backward pass is `step` from `state`. Where no parent is tracked
/// the state is dropped.
pub fn record<B, C, S, const N: usize>(
    step: S,
    parents: [NodeGuard; N],
    state: S::State,
    out: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Backward<B, N>,
{
    match step.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(state, out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}

/// Takes the gradient of an operation's output and gives every parent that is tracked its own, which `backward` computes
/// from the operation's state and that gradient; it is not called where no parent is tracked.
pub fn pass_on<B: Backend, S, const N: usize>(
    ops: Ops<S, N>,
    grads: &mut Gradients,
    backward: impl FnOnce(S, FloatTensor<B>) -> [FloatTensor<B>; N],
) {
    let gradient = grads.consume::<B>(&ops.node);
    if ops.parents.iter().all(Option::is_none) {
        return;
    }
    let gradients = backward(ops.state, gradient);
    for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
        if let Some(node) = parent {
            grads.register::<B>(node.id, gradient);
        }
    }
}
