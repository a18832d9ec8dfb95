//! RRM's dense energy loss (Zhang et al. 2020, Eq. 10–14), in the form of the released code.

use burn::tensor::{Tensor, TensorData};

/// -Σ P S (G P) / B, whose gradient is -2 S (G P) / B; `[1]`. Eq. 13 for the Potts model (Eq. 12) but for a constant,
/// with the soft filter S (Eq. 14) and G P held constant.
///
/// `probability` `[B, C, h, w]` is P. `labels` `[B, h, w]`: S is 1 - max P where a pixel has a label in 0..C and 1 where
/// not. `inside` `[B, h, w]`: pixels that are false take no part, such as padding. `filter` maps values `[B, C, h, w]`
/// on the device without autodiff to the sums over all pixels j of G(i, j) times the value at j (Eq. 11, not
/// normalised, j = i included); it is not differentiated.
pub fn dense_energy(
    probability: Tensor<4>,
    labels: &[i32],
    inside: &[bool],
    filter: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<1> {
    let [b, c, h, w] = probability.dims();
    let differentiable = probability.is_autodiff();
    let p = if differentiable {
        probability.clone().inner()
    } else {
        probability.clone()
    };
    let device = p.device();
    let upload = |values: Vec<f32>| Tensor::<4>::from_data(TensorData::new(values, [b, 1, h, w]), &device);
    let inside = upload(inside.iter().map(|i| f32::from(u8::from(*i))).collect());
    let is_labelled = |l: &i32| (0..c as i32).contains(l);
    let labelled = labels.iter().map(|l| f32::from(u8::from(is_labelled(l))));
    let soft = (p.clone().max_dim(1) * upload(labelled.collect())).neg() + 1.0;
    let pull = filter(p * inside.clone()) * soft * inside;
    let pull = if differentiable { Tensor::from_inner(pull) } else { pull };
    let energy = (probability * pull).sum() * (-1.0 / b.max(1) as f32);
    // Half of the value, all of the gradient: the energy is quadratic in P, but only one factor is differentiated.
    energy.clone() * 2.0 - energy.detach()
}

/// Maps `[B, H, W]` at half the resolution, [`half()`] of the size: every second pixel, as the released code scales the
/// image, the labels and the region of interest.
pub fn every_second<T: Copy>(maps: &[T], [h, w]: [usize; 2]) -> Vec<T> {
    let [rows, columns] = half([h, w]);
    let mut out = Vec::with_capacity(maps.len() / 4);
    for map in maps.chunks_exact((h * w).max(1)) {
        for row in map.chunks_exact(w.max(1)).step_by(2).take(rows) {
            out.extend(row.iter().step_by(2).take(columns));
        }
    }
    out
}

/// Half of a size, rounded down, but at least 1.
pub fn half(size: [usize; 2]) -> [usize; 2] {
    size.map(|side| (side / 2).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn value_and_gradient_are_the_released_ones() {
        let device = Device::flex().autodiff();
        let p = Tensor::<4>::from_data([[[[0.9, 0.4]], [[0.1, 0.6]]]], &device).require_grad();
        // G = [[1, 0.5], [0.5, 1]]
        let blur = |x: Tensor<4>| x.clone() + x.flip([3]) * 0.5;
        let loss = dense_energy(p.clone(), &[0, 255], &[true, true], blur);
        // G P = 1.1, 0.85 and 0.4, 0.65; S = 0.1, 1
        let value = -(0.9 * 0.1 * 1.1 + 0.4 * 0.85 + 0.1 * 0.1 * 0.4 + 0.6 * 0.65);
        assert!((loss.clone().into_scalar::<f32>() - value).abs() < 1e-6);
        let gradient = p.grad_remove(&mut loss.backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        for (g, e) in gradient.iter().zip([-0.22, -1.7, -0.08, -1.3]) {
            assert!((g - e).abs() < 1e-6, "{gradient:?}");
        }

        let outside = dense_energy(p, &[0, 255], &[false, false], blur);
        assert_eq!(outside.into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn every_second_pixel_of_every_map() {
        let maps: Vec<u8> = (0..2 * 3 * 5).collect();
        assert_eq!(half([3, 5]), [1, 2]);
        assert_eq!(every_second(&maps, [3, 5]), [0, 2, 15, 17]);
        assert_eq!(every_second(&[7, 8], [1, 1]), [7, 8]);
    }
}
