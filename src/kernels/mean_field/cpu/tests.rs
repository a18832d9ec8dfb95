use super::*;

const WIDTH: usize = 7;
const HEIGHT: usize = 5;
const N: usize = WIDTH * HEIGHT;

/// In 0..1.
fn noise(n: usize) -> f32 {
    (n.wrapping_mul(2_654_435_761) >> 8 & 0xFFFF) as f32 / 65536.0
}

/// A Gaussian and a bilateral lattice.
fn lattices() -> [CpuLattice; 2] {
    let position = |step: f32| {
        (0..2 * N).map(move |i| {
            let n = i % N;
            (if i < N { n % WIDTH } else { n / WIDTH }) as f32 * step
        })
    };
    let colours = (0..3 * N).map(|i| 2.0 * noise(i));
    [
        CpuLattice::build(&position(0.7).collect::<Vec<_>>(), 2).unwrap(),
        CpuLattice::build(&position(0.2).chain(colours).collect::<Vec<_>>(), 5).unwrap(),
    ]
}

fn unary(channels: usize) -> Vec<f32> {
    (0..channels * N).map(|i| 3.0 * noise(3 * i + 1)).collect()
}

/// Costs that are not symmetric.
fn matrix(channels: usize) -> Vec<f32> {
    (0..channels * channels).map(|i| 2.0 * noise(5 * i) - 1.2).collect()
}

/// Algorithm 1 in double precision, the filter as a dense matrix whose columns are the filtered unit vectors; every
/// lattice comes with its costs `[C, C]`.
fn reference(unary: &[f32], channels: usize, terms: &[(&CpuLattice, Vec<f64>)], iterations: usize) -> Vec<f64> {
    let dense: Vec<Vec<f64>> = terms
        .iter()
        .map(|(lattice, _)| {
            let mut columns = vec![0.0f32; N * N];
            (0..N).for_each(|n| columns[n * N + n] = 1.0);
            let filtered = lattice.filter(&columns, N, false);
            let f = |i: usize, j: usize| f64::from(filtered[j * N + i]);
            let norm: Vec<f64> = (0..N)
                .map(|i| 1.0 / (0..N).map(|j| f(i, j)).sum::<f64>().sqrt())
                .collect();
            (0..N * N)
                .map(|ij| norm[ij / N] * f(ij / N, ij % N) * norm[ij % N])
                .collect()
        })
        .collect();
    let mut q = vec![0.0f64; channels * N];
    for step in 0..=iterations {
        let mut logits: Vec<f64> = unary.iter().map(|u| -f64::from(*u)).collect();
        for ((_, cost), dense) in terms.iter().zip(&dense).filter(|_| step > 0) {
            for i in 0..N {
                for from in 0..channels {
                    let message: f64 = (0..N).map(|j| dense[i * N + j] * q[from * N + j]).sum();
                    for to in 0..channels {
                        logits[to * N + i] -= cost[to * channels + from] * message;
                    }
                }
            }
        }
        for i in 0..N {
            let sum: f64 = (0..channels).map(|c| logits[c * N + i].exp()).sum();
            (0..channels).for_each(|c| q[c * N + i] = logits[c * N + i].exp() / sum);
        }
    }
    q
}

fn assert_close(ours: &[f32], reference: &[f64], what: &str) {
    assert_eq!(ours.len(), reference.len());
    for (i, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!((f64::from(*a) - b).abs() < 1e-5, "{what}, {i}: {a} {b}");
    }
}

#[test]
fn follows_algorithm_1() {
    let [gaussian, bilateral] = lattices();
    for channels in [1, 2, 3, 5, 9, 17] {
        let (unary, matrix) = (unary(channels), matrix(channels));
        let pairs = || (0..channels * channels).map(|i| (i / channels, i % channels));
        let potts: Vec<f64> = pairs().map(|(a, b)| if a == b { -1.5 } else { 0.0 }).collect();
        let symmetric: Vec<f64> = pairs()
            .map(|(a, b)| 0.5 * f64::from(matrix[a * channels + b] + matrix[b * channels + a]))
            .collect();
        for full in [false, true] {
            let same = Compatibility::Potts(1.5);
            let second = match full {
                true => Compatibility::Matrix(matrix.clone()),
                false => same.clone(),
            };
            let kernels = [kernel(&gaussian, &same), kernel(&bilateral, &second)];
            for iterations in [0, 1, 4] {
                let ours = mean_field(&unary, channels, None, &kernels, iterations);
                let second = if full { &symmetric } else { &potts };
                let terms = [(&gaussian, potts.clone()), (&bilateral, second.clone())];
                let expected = reference(&unary, channels, &terms, iterations);
                assert_close(&ours, &expected, &format!("{channels} labels, {iterations}, {full}"));
            }
        }
    }
}

fn kernel<'a>(lattice: &'a CpuLattice, compatibility: &'a Compatibility) -> Kernel<'a> {
    Kernel {
        lattice,
        compatibility,
        normalisation: Normalisation::Symmetric,
    }
}

#[test]
fn same_bits_on_any_number_of_threads() {
    let width = 150;
    let features: Vec<f32> = (0..2 * width * width)
        .map(|i| {
            let n = i % (width * width);
            (if i == n { n % width } else { n / width }) as f32 / 3.0
        })
        .collect();
    let unary: Vec<f32> = (0..5 * width * width).map(|i| 4.0 * noise(i)).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let lattice = CpuLattice::build(&features, 2).unwrap();
            mean_field(&unary, 5, None, &[kernel(&lattice, &Compatibility::Potts(3.0))], 3)
        })
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn a_constant_image_and_one_pixel() {
    let lattice = CpuLattice::build(&[0.5; 5 * N], 5).unwrap();
    let unary = [[1.0; N], [0.0; N]].concat();
    let posterior = mean_field(&unary, 2, None, &[kernel(&lattice, &Compatibility::Potts(10.0))], 5);
    assert!(posterior[..N].iter().all(|p| *p < 0.01));
    let lattice = CpuLattice::build(&[0.0; 5], 5).unwrap();
    let one = mean_field(&[0.2], 1, None, &[kernel(&lattice, &Compatibility::Potts(10.0))], 5);
    assert_eq!(one, [1.0]);
}

#[test]
fn impossible_labels_stay_impossible() {
    let [gaussian, _] = lattices();
    let mut unary = unary(3);
    unary[N..2 * N].fill(f32::INFINITY);
    let posterior = mean_field(&unary, 3, None, &[kernel(&gaussian, &Compatibility::Potts(3.0))], 2);
    assert!(posterior[N..2 * N].iter().all(|p| *p == 0.0));
    assert!(posterior[..N].iter().all(|p| *p > 0.0 && *p < 1.0));
}
