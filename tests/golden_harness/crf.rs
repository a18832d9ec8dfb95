//! The permutohedral lattice and the dense CRF against brute force, the standard construction and pydensecrf.

use std::path::Path;

use image::RgbImage;
use ndarray::{Array3, ArrayView3};
use weakseg::crf::unary::unary_from_probabilities;
use weakseg::crf::{DenseCrf, Pairwise};
use weakseg::kernels::Lattice;

use super::check::{On, download, upload};
use super::file::{Array, Golden};
use super::formula;

/// How much further from brute force than pydensecrf's posterior of the same input ours may be in the mean.
const BEYOND_PYDENSECRF: f64 = 1.02;
/// Share of pixels whose labels agree with pydensecrf's, on the input of its posterior and on a photograph.
const SAME_LABELS: f64 = 0.999;
const LABELS: f64 = 0.99;
/// Differences of a posterior between two devices: the mean, and what all but a thousandth of its entries keep to.
const MEAN_APART: f64 = 1e-6;
const APART: f32 = 1e-4;

/// Within 1 % of the standard construction in the median and 5 % at worst; divided by the filter of ones, no further
/// from brute force than that construction is.
pub fn lattice_filter(g: &Golden, on: &On) {
    let features = g.tensor("features");
    let [n, d] = features.shape[..] else {
        panic!("{}: features are not [N, D]", g.name)
    };
    let planar = Array {
        shape: vec![d, n],
        values: (0..d * n).map(|i| features.values[i % n * d + i / n]).collect(),
    };
    let lattice = Lattice::new(upload(&planar, &on.device)).unwrap();
    let filtered = download(lattice.filter(upload(g.tensor("values"), &on.device)));
    let filtered: Vec<f64> = filtered.into_iter().map(f64::from).collect();
    let standard = &g.tensor("lattice").values;
    let mut errors: Vec<f64> = filtered
        .iter()
        .zip(standard)
        .map(|(a, e)| (a - e).abs() / e.abs())
        .collect();
    errors.sort_by(f64::total_cmp);
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    let exact = normalised(&g.tensor("exact").values, n);
    let [ours, theirs] = [&filtered, standard].map(|values| mean(&normalised(values, n), &exact));
    println!(
        "{}: {} points, {median:.1e} from the construction in the median, {worst:.1e} at worst; normalised {ours:.3e} from brute force, the construction {theirs:.3e}",
        g.name,
        lattice.points()
    );
    assert!(median <= 0.01 && worst <= 0.05, "{}", g.name);
    // f32 against the construction's float64 files.
    assert!(ours <= theirs * 1.001, "{}", g.name);
}

/// Channels over the last one, which is the filter of ones.
fn normalised(values: &[f64], n: usize) -> Vec<f64> {
    let ones = &values[values.len() - n..];
    values.iter().enumerate().map(|(i, v)| v / ones[i % n]).collect()
}

fn mean(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
}

/// No further from brute force than pydensecrf, and the same labels.
pub fn against_exact(g: &Golden, on: &On) {
    let crf = crf(g, ["sxy_g", "w_g", "sxy_b", "srgb", "w_b", "iters"]);
    let image = g.tensor("image");
    let [_, h, w] = image.shape[..] else {
        panic!("{}: the image is not [3, H, W]", g.name)
    };
    let picture = RgbImage::from_fn(w as u32, h as u32, |x, y| {
        let at = |c: usize| image.values[(c * h + y as usize) * w + x as usize] as u8;
        image::Rgb([at(0), at(1), at(2)])
    });
    let posterior = refine(&crf, &picture, array(g.tensor("probability")).view(), on);
    let exact = &g.tensor("exact").values;
    let theirs = posterior_of(g.tensor("pydensecrf"));
    let [error, bound] = [&posterior, &theirs].map(|posterior| {
        let posterior: Vec<f64> = posterior.iter().map(|p| f64::from(*p)).collect();
        mean(&posterior, exact)
    });
    let same = agreement(&winners(posterior.view()), &winners(theirs.view()));
    println!(
        "{}: mean error {error:.3e}, pydensecrf's {bound:.3e}; labels agree on {same:.4}",
        g.name
    );
    assert!(error <= BEYOND_PYDENSECRF * bound, "{}", g.name);
    assert!(same >= SAME_LABELS, "{}", g.name);
}

/// A posterior, which the files have channel by channel or, though under the same shape `[C, H, W]`, pixel by pixel: over
/// its labels every pixel's sums to one.
fn posterior_of(tensor: &Array) -> Array3<f32> {
    let planar = array(tensor);
    let (c, h, w) = planar.dim();
    let by_pixel = Array3::from_shape_vec((h, w, c), tensor.f32()).unwrap();
    let by_pixel = by_pixel.permuted_axes([2, 0, 1]);
    let is_posterior = |p: &Array3<f32>| p.sum_axis(ndarray::Axis(0)).iter().all(|sum| (sum - 1.0).abs() < 1e-5);
    let mut forms = [planar, by_pixel].into_iter().filter(is_posterior);
    forms.next().expect("probabilities that sum to one")
}

/// A device's posterior is the CPU's, on pictures that nothing was tuned on: smooth, with grain, and flat.
pub fn agrees_with_the_cpu(on: &On) {
    let (h, w, labels) = (60, 80, 4);
    for (i, (grain, srgb)) in [(0.0, 5.0), (20.0, 5.0), (60.0, 5.0), (20.0, 13.0)]
        .into_iter()
        .enumerate()
    {
        let named = |what: &str, count, low, high| formula::tensor(&format!("{what}{i}"), count, low, high);
        let (phases, noise) = (named("phases", 6, 0.0, 6.3), named("noise", 3 * h * w, -0.5, 0.5));
        let picture = RgbImage::from_fn(w as u32, h as u32, |x, y| {
            image::Rgb([0, 1, 2].map(|c| {
                let wave = (0.1 * f64::from(x) + phases[c]).sin() * (0.13 * f64::from(y) + phases[3 + c]).cos();
                let at = (c * h + y as usize) * w + x as usize;
                (128.0 + 80.0 * wave + grain * noise[at]) as u8
            }))
        });
        let scores = named("scores", labels * h * w, 0.02, 0.98)
            .into_iter()
            .map(|p| p as f32);
        let scores = Array3::from_shape_vec((labels, h, w), scores.collect()).unwrap();
        let crf = DenseCrf {
            reference_side: None,
            pairwise: vec![Pairwise::gaussian(3.0, 3.0), Pairwise::bilateral(83.0, srgb, 4.0)],
            iterations: 10,
        };
        refine(&crf, &picture, scores.view(), on);
    }
}

/// The labels of pydensecrf on a photograph.
pub fn against_pydensecrf(g: &Golden, on: &On) {
    let crf = crf(
        g,
        [
            "sxy_gaussian",
            "compat_gaussian",
            "sxy_bilateral",
            "srgb",
            "compat_bilateral",
            "iterations",
        ],
    );
    let photo = g.name.split('_').skip(1).take(2).collect::<Vec<_>>().join("_");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/photos/{photo}.jpg"));
    let picture = image::open(path).unwrap().to_rgb8();
    let probability = enlarged(&array(g.tensor("low_probability")), picture.dimensions());
    let posterior = refine(&crf, &picture, probability.view(), on);
    let labels: Vec<usize> = g.tensor("labels").values.iter().map(|v| *v as usize).collect();
    let classes = g.tensor("classes").i32();
    // Labels are stored by index of the channel, or by class where those are larger.
    let ours: Vec<usize> = winners(posterior.view());
    let by_index = agreement(&ours, &labels);
    let named: Vec<usize> = ours.iter().map(|c| classes[*c] as usize).collect();
    let same = by_index.max(agreement(&named, &labels));
    let step = g.tensor("posterior_every_4");
    let every: Vec<f64> = (0..step.values.len())
        .map(|i| {
            let (h, w) = (step.shape[1], step.shape[2]);
            f64::from(posterior[[i / (h * w), i / w % h * 4, i % w * 4]])
        })
        .collect();
    println!(
        "{}: labels agree on {same:.4}, posterior {:.1e} apart",
        g.name,
        mean(&every, &step.values)
    );
    assert!(same >= LABELS, "{}", g.name);
}

/// The CRF whose parameters a file has under these keys.
fn crf(g: &Golden, [sxy_g, w_g, sxy_b, srgb, w_b, iterations]: [&str; 6]) -> DenseCrf {
    let number = |key: &str| g.number(key) as f32;
    DenseCrf {
        reference_side: None,
        pairwise: vec![
            Pairwise::gaussian(number(sxy_g), number(w_g)),
            Pairwise::bilateral(number(sxy_b), number(srgb), number(w_b)),
        ],
        iterations: g.usize(iterations),
    }
}

/// The posterior, after comparing it with the CPU's where the device is another.
fn refine(crf: &DenseCrf, picture: &RgbImage, probability: ArrayView3<f32>, on: &On) -> Array3<f32> {
    let unary = unary_from_probabilities(probability.to_owned());
    let posterior = crf.refine(picture, unary.view(), &on.device).unwrap();
    let cpu = On::cpu().device;
    if on.device != cpu {
        let other = crf.refine(picture, unary.view(), &cpu).unwrap();
        let mut apart: Vec<f32> = posterior.iter().zip(&other).map(|(a, b)| (a - b).abs()).collect();
        apart.sort_by(f32::total_cmp);
        let mean = apart.iter().map(|a| f64::from(*a)).sum::<f64>() / apart.len() as f64;
        let [most, worst] = [0.999, 1.0].map(|share| apart[(share * (apart.len() - 1) as f64) as usize]);
        println!("devices are {mean:.1e} apart in the mean, {most:.1e} but for a thousandth, {worst:.1e} at worst");
        // Also where one is not a number: those are sorted to the end.
        assert!(mean <= MEAN_APART && most <= APART && worst.is_finite());
    }
    posterior
}

fn array(tensor: &Array) -> Array3<f32> {
    let [c, h, w] = tensor.shape[..] else {
        panic!("not [C, H, W]: {:?}", tensor.shape)
    };
    Array3::from_shape_vec((c, h, w), tensor.f32()).unwrap()
}

/// Bilinear with half-pixel centres, then renormalised.
fn enlarged(low: &Array3<f32>, (width, height): (u32, u32)) -> Array3<f32> {
    let (c, h, w) = low.dim();
    let at = |i: usize, from: usize, to: usize| {
        let x = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        let low = (x as usize).min(from - 1);
        (low, (low + 1).min(from - 1), (x - low as f64) as f32)
    };
    let mut large = Array3::from_shape_fn((c, height as usize, width as usize), |(c, y, x)| {
        let (y0, y1, fy) = at(y, h, height as usize);
        let (x0, x1, fx) = at(x, w, width as usize);
        let row = |y: usize| low[[c, y, x0]] * (1.0 - fx) + low[[c, y, x1]] * fx;
        row(y0) * (1.0 - fy) + row(y1) * fy
    });
    for mut lane in large.lanes_mut(ndarray::Axis(0)) {
        let sum: f32 = lane.sum();
        lane.mapv_inplace(|p| p / sum);
    }
    large
}

fn winners(scores: ArrayView3<f32>) -> Vec<usize> {
    let (c, h, w) = scores.dim();
    (0..h * w)
        .map(|i| {
            let best = |a: &usize, b: &usize| scores[[*a, i / w, i % w]].total_cmp(&scores[[*b, i / w, i % w]]);
            (0..c).max_by(best).unwrap_or(0)
        })
        .collect()
}

fn agreement(a: &[usize], b: &[usize]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}
