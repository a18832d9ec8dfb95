use std::fs::File;

use image::RgbImage;
use ndarray::{Array1, Array3, array};
use ndarray_npy::NpzReader;

use super::*;
use crate::crf::{DenseCrf, Pairwise};

/// A number in 0..1.
fn noise(n: usize) -> f32 {
    (n.wrapping_mul(2_654_435_761) >> 8 & 0xFFFF) as f32 / 65536.0
}

fn random(rows: usize, columns: usize, scale: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| scale * noise(i * columns + j + 7))
}

/// What pydensecrf gave, see tests/python/golden.py: every normalisation and kind of compatibility, features of 1 to 6
/// dimensions.
#[test]
fn posteriors_and_divergences_are_those_of_pydensecrf() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pydensecrf.npz");
    let mut stored = NpzReader::new(File::open(path).unwrap()).unwrap();
    for i in 0..12 {
        let unary: Array2<f32> = stored.by_name(&format!("{i}_unary.npy")).unwrap();
        let expected: Array2<f32> = stored.by_name(&format!("{i}_posterior.npy")).unwrap();
        let sizes: Array1<f32> = stored.by_name(&format!("{i}_sizes.npy")).unwrap();
        let (iterations, kernels) = (sizes[2] as usize, sizes[3] as usize);
        let (labels, points) = unary.dim();
        let mut crf = PointCrf::new(points, labels, &Device::flex()).unwrap();
        crf.set_unary(unary.view()).unwrap();
        for k in 0..kernels {
            let features: Array2<f32> = stored.by_name(&format!("{i}_{k}_features.npy")).unwrap();
            let compat: Array2<f32> = stored.by_name(&format!("{i}_{k}_compat.npy")).unwrap();
            let normalization: Array1<f32> = stored.by_name(&format!("{i}_{k}_normalization.npy")).unwrap();
            let normalisation = match normalization[0] as usize {
                0 => Normalisation::None,
                1 => Normalisation::Before,
                2 => Normalisation::After,
                _ => Normalisation::Symmetric,
            };
            let compatibility = match compat.len() {
                1 => Compatibility::Potts(compat[[0, 0]]),
                _ => Compatibility::Matrix(compat.iter().copied().collect()),
            };
            crf.add(features.view(), compatibility, normalisation).unwrap();
        }
        let posterior = crf.infer(iterations).unwrap();
        let differences = posterior.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        assert!(worst < 1e-4, "{i}: {worst}");
        let divergence: Array1<f64> = stored.by_name(&format!("{i}_divergence.npy")).unwrap();
        let ours = crf.kl_divergence(posterior.view()).unwrap();
        let error = (ours - divergence[0]).abs() / divergence[0].abs();
        assert!(error < 1e-4, "{i}: {ours} for {}", divergence[0]);
    }
}

#[test]
fn pixels_are_points_and_axes_have_deviations_of_their_own() {
    let image = RgbImage::from_fn(9, 6, |x, y| image::Rgb([x, y, 3 * x + y].map(|v| (37 * v % 200) as u8)));
    let pairwise = Pairwise {
        position: [2.0, 5.0],
        colour: Some([20.0, 40.0, 60.0]),
        normalisation: Normalisation::Before,
        ..Pairwise::gaussian(1.0, 4.0)
    };
    let of_image = DenseCrf {
        pairwise: vec![pairwise],
        iterations: 4,
        reference_side: None,
    };
    let unary = random(3, 54, 3.0);
    let planes = Array3::from_shape_vec((3, 6, 9), unary.iter().copied().collect()).unwrap();
    let expected = of_image.refine(&image, planes.view(), &Device::flex()).unwrap();
    let mut crf = PointCrf::new(54, 3, &Device::flex()).unwrap();
    crf.set_unary(unary.view()).unwrap();
    let deviations = [2.0, 5.0, 20.0, 40.0, 60.0];
    let features = Array2::from_shape_fn((5, 54), |(d, i)| {
        let (x, y) = ((i % 9) as u32, (i / 9) as u32);
        let value = match d {
            0 => x as f32,
            1 => y as f32,
            _ => f32::from(image.get_pixel(x, y).0[d - 2]),
        };
        value / deviations[d]
    });
    crf.add(features.view(), Compatibility::Potts(4.0), Normalisation::Before)
        .unwrap();
    let posterior = crf.infer(4).unwrap();
    assert!(posterior.iter().zip(&expected).all(|(a, b)| a == b));
    let highest = crf.map(4).unwrap();
    for (point, label) in highest.into_iter().enumerate() {
        assert!(posterior.column(point).iter().all(|p| *p <= posterior[[label, point]]));
    }
}

#[test]
fn divergence_falls_and_is_that_of_its_definition_without_kernels() {
    let unary = random(3, 40, 2.0);
    let mut crf = PointCrf::new(40, 3, &Device::flex()).unwrap();
    crf.set_unary(unary.view()).unwrap();
    let start = crf.infer(0).unwrap();
    // softmax(-u) makes the sum of q (log q + u) minus the log of the normaliser.
    let normaliser = |column: ndarray::ArrayView1<f32>| column.iter().map(|u| f64::from(-u).exp()).sum::<f64>().ln();
    let expected: f64 = unary.columns().into_iter().map(|column| -normaliser(column)).sum();
    let divergence = crf.kl_divergence(start.view()).unwrap();
    assert!((divergence - expected).abs() < 1e-4, "{divergence} {expected}");
    let position = Array2::from_shape_fn((1, 40), |(_, i)| i as f32 / 3.0);
    crf.add(position.view(), Compatibility::Potts(0.5), Normalisation::Symmetric)
        .unwrap();
    let [first, last] = [0, 10].map(|n| crf.kl_divergence(crf.infer(n).unwrap().view()).unwrap());
    assert!(last < first, "{first} {last}");
}

#[test]
fn labels_that_cannot_be_stay_so() {
    let mut crf = PointCrf::new(3, 2, &Device::flex()).unwrap();
    let never = f32::INFINITY;
    crf.set_unary(array![[never, 0.2, 0.1], [0.3, never, 0.4]].view())
        .unwrap();
    crf.add(
        array![[0.0, 0.1, 0.2]].view(),
        Compatibility::Potts(9.0),
        Normalisation::None,
    )
    .unwrap();
    let posterior = crf.infer(3).unwrap();
    assert_eq!([posterior[[0, 0]], posterior[[1, 1]]], [0.0; 2]);
    assert!(posterior.iter().all(|p| p.is_finite()));
    assert!(crf.kl_divergence(posterior.view()).unwrap().is_finite());
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let device = Device::flex();
    assert!(matches!(PointCrf::new(3, 0, &device), Err(Error::NoLabels)));
    let mut crf = PointCrf::new(3, 2, &device).unwrap();
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let unary = array![[0.0, 0.0, bad], [0.0, 0.0, 0.0]];
        let error = crf.set_unary(unary.view());
        assert!(matches!(error, Err(Error::Impossible { point: 2 })), "{bad}");
    }
    let hopeless = Array2::from_elem((2, 3), f32::INFINITY);
    assert!(matches!(
        crf.set_unary(hopeless.view()),
        Err(Error::Impossible { point: 0 })
    ));
    assert!(matches!(
        crf.set_unary(random(3, 2, 1.0).view()),
        Err(Error::Shape { .. })
    ));
    let potts = || Compatibility::Potts(1.0);
    let mut add = |features: Array2<f32>, costs| crf.add(features.view(), costs, Normalisation::Symmetric);
    assert!(matches!(add(random(2, 4, 1.0), potts()), Err(Error::Shape { .. })));
    let nine = Compatibility::Matrix(vec![0.0; 9]);
    assert!(matches!(
        add(random(2, 3, 1.0), nine),
        Err(Error::Compatibility { values: 9, labels: 2 })
    ));
    assert!(matches!(add(Array2::zeros((16, 3)), potts()), Err(Error::Device(_))));
    assert!(matches!(
        add(Array2::from_elem((1, 3), f32::NAN), potts()),
        Err(Error::Device(_))
    ));
    // None of them left anything behind.
    assert_eq!(crf.kernels(), 0);
    assert!(crf.infer(2).unwrap().iter().all(|p| *p == 0.5));
    let bad = Array2::from_elem((2, 3), f32::NAN);
    assert!(matches!(crf.step(bad.view(), 1), Err(Error::Posterior)));
    assert!(matches!(crf.kl_divergence(bad.view()), Err(Error::Posterior)));
    let nobody = PointCrf::new(0, 2, &device).unwrap();
    assert_eq!(nobody.infer(3).unwrap().dim(), (2, 0));
}
