//! Cross attention over random shapes, on both devices, against brute force.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::cross_attention;
use super::device::{Block, forced};
use crate::kernels::testing::{CASES, close, download, equals_differences, on_both_devices, on_device, upload, vulkan};

#[derive(Clone, Debug)]
struct Pair {
    batch: usize,
    depth: usize,
    channels: usize,
    queries: usize,
    keys: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    upstream: Vec<f32>,
}

/// Shapes on either side of a tile, and logits beyond ±1000 in every second case. Queries and keys are coarse, so that
/// their products are exact in f32 and the results as precise as those of small logits.
fn pairs() -> impl Strategy<Value = Pair> {
    let sizes = (1..3usize, 1..40usize, 1..70usize, 1..70usize, 1..140usize);
    (sizes, any::<bool>()).prop_flat_map(|((batch, depth, channels, queries, keys), sharp)| {
        let step = if sharp { 8.0 } else { 1.0 / 32.0 };
        let coarse =
            move |n: usize, step: f32| proptest::collection::vec((-8..=8i32).prop_map(move |i| i as f32 * step), n);
        let values = |n: usize| proptest::collection::vec(-1.0..1.0f32, n);
        (
            coarse(batch * depth * queries, step),
            coarse(batch * depth * keys, 0.125),
            values(batch * channels * keys),
            values(batch * channels * queries),
        )
            .prop_map(move |(query, key, value, upstream)| Pair {
                batch,
                depth,
                channels,
                queries,
                keys,
                query,
                key,
                value,
                upstream,
            })
    })
}

/// Output and the gradients of query, key and value.
fn brute_force(p: &Pair) -> [Vec<f64>; 4] {
    let (d, v, n, m) = (p.depth, p.channels, p.queries, p.keys);
    let mut out = vec![0.0; p.upstream.len()];
    let mut gradients = [&p.query, &p.key, &p.value].map(|x| vec![0.0f64; x.len()]);
    for b in 0..p.batch {
        let query = |c: usize, i: usize| (b * d + c) * n + i;
        let key = |c: usize, j: usize| (b * d + c) * m + j;
        let value = |c: usize, j: usize| (b * v + c) * m + j;
        let output = |c: usize, i: usize| (b * v + c) * n + i;
        for i in 0..n {
            let logit = |j: usize| -> f64 {
                let product = |c| f64::from(p.query[query(c, i)]) * f64::from(p.key[key(c, j)]);
                (0..d).map(product).sum()
            };
            let logits: Vec<f64> = (0..m).map(logit).collect();
            let largest = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
            let weight: Vec<f64> = logits.iter().map(|x| (x - largest).exp() / sum).collect();
            let mut slope = vec![0.0; m];
            for c in 0..v {
                let upstream = f64::from(p.upstream[output(c, i)]);
                for j in 0..m {
                    let x = f64::from(p.value[value(c, j)]);
                    out[output(c, i)] += weight[j] * x;
                    slope[j] += upstream * x;
                    gradients[2][value(c, j)] += weight[j] * upstream;
                }
            }
            let mean: f64 = weight.iter().zip(&slope).map(|(w, s)| w * s).sum();
            for j in 0..m {
                let by_logit = weight[j] * (slope[j] - mean);
                for c in 0..d {
                    gradients[0][query(c, i)] += by_logit * f64::from(p.key[key(c, j)]);
                    gradients[1][key(c, j)] += by_logit * f64::from(p.query[query(c, i)]);
                }
            }
        }
    }
    let [query, key, value] = gradients;
    [out, query, key, value]
}

fn equals_brute_force(p: &Pair, device: &Device) -> Result<(), TestCaseError> {
    let device = device.clone().autodiff();
    let upload = |values: &[f32], channels: usize, pixels: usize| -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [p.batch, channels, pixels]), &device)
    };
    let inputs = [
        upload(&p.query, p.depth, p.queries).require_grad(),
        upload(&p.key, p.depth, p.keys).require_grad(),
        upload(&p.value, p.channels, p.keys).require_grad(),
    ];
    let [query, key, value] = inputs.clone();
    let out = cross_attention(query.clone(), key.clone(), value);
    let upstream = upload(&p.upstream, p.channels, p.queries);
    let mut grads = (out.clone() * upstream).sum().backward();
    let [expected, gradients @ ..] = brute_force(p);
    let download = |tensor: Tensor<3>| tensor.into_data().try_to_vec::<f32>().unwrap();
    close(&download(out.inner()), &expected, 1e-5)?;
    let most = |values: &[f32]| values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    // Where a softmax over one key makes a gradient 0, what is left of its terms is their rounding, times the other factor.
    let factors = [most(&p.key), most(&p.query), 0.0];
    for ((input, expected), factor) in inputs.into_iter().zip(gradients).zip(factors) {
        let least = f64::from(0.1 * factor).max(1.0);
        let largest = expected.iter().fold(least, |a, b| a.max(b.abs()));
        let gradient = download(input.grad_remove(&mut grads).unwrap());
        close(&gradient, &expected, 1e-4 * largest)?;
    }
    let ones = upload(&vec![1.0; p.batch * p.keys], 1, p.keys);
    let sums = cross_attention(query, key, ones).inner();
    close(&download(sums), &vec![1.0; p.batch * p.queries], 1e-5)
}

#[test]
fn cross_attention_and_its_gradients_equal_brute_force() {
    on_both_devices(&pairs(), equals_brute_force);
}

#[test]
fn blocks_for_a_gpu_equal_brute_force() {
    forced::BLOCK.set(Some((Block::GPU, 0)));
    on_device(&pairs(), &vulkan(), equals_brute_force);
    // Two products of a forward pass and five of a backward pass, and a forward pass over values of 1.
    assert_eq!(forced::BLOCK.get(), Some((Block::GPU, 9 * CASES)));
}

#[test]
fn cross_attention_in_several_parts_equals_brute_force() {
    let (queries, keys) = (2_055, 2_090);
    // Every query's logits grow along the keys, so that later parts outweigh what came before.
    let wave = |n: usize, f: f32| (0..n).map(move |i| (i as f32 * f).sin());
    let p = Pair {
        batch: 1,
        depth: 2,
        channels: 1,
        queries,
        keys,
        query: wave(queries, 0.1).chain(std::iter::repeat_n(2.0, queries)).collect(),
        key: wave(keys, 0.3).chain((0..keys).map(|j| j as f32 / 1024.0)).collect(),
        value: wave(keys, 0.7).collect(),
        upstream: wave(queries, 0.9).collect(),
    };
    for device in [Device::flex(), vulkan()] {
        equals_brute_force(&p, &device).unwrap();
    }
}

#[test]
fn brute_force_gradients_equal_finite_differences() {
    let runner = &mut TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let tested = runner.run(&pairs(), |mut p| {
        // Gentle logits: those of the sharp cases bend too much for a difference to tell a slope.
        for query in &mut p.query {
            *query = query.clamp(-0.25, 0.25);
        }
        let [_, query, key, value] = brute_force(&p);
        let weighted = |p: &Pair| {
            let [out, ..] = brute_force(p);
            let products = out.iter().zip(&p.upstream);
            products.map(|(o, u)| o * f64::from(*u)).sum()
        };
        let with = |change: &dyn Fn(&mut Pair)| {
            let mut moved = p.clone();
            change(&mut moved);
            weighted(&moved)
        };
        equals_differences(&p.query, &query, |q| with(&|p| p.query = q.to_vec()))?;
        equals_differences(&p.key, &key, |k| with(&|p| p.key = k.to_vec()))?;
        equals_differences(&p.value, &value, |v| with(&|p| p.value = v.to_vec()))
    });
    tested.unwrap();
}

#[test]
fn more_images_than_workgroups_along_one_dimension_are_parted() {
    // The softmax over one key is 1: every query gets its image's value.
    let values: Vec<f32> = (0..70_000).map(|i| i as f32).collect();
    let value = upload(&values, [70_000, 1, 1], &vulkan());
    let ones = value.ones_like();
    let attended = download(cross_attention(ones.clone(), ones.ones_like(), value));
    let expected: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    close(&attended, &expected, 1e-6).unwrap();
}

/// On the CPU alone: a device's arithmetic need not know NaN and infinities.
#[test]
fn a_logit_of_nan_is_not_left_out_and_one_of_minus_infinity_is() {
    let attended = |first: f32| {
        // More keys than a tile has, all of the first tile alike.
        let keys: Vec<f32> = (0..600).map(|j| if j < 550 { first } else { 0.5 }).collect();
        let values: Vec<f32> = (0..600).map(|j| if j < 550 { 1.0 } else { 3.0 }).collect();
        let query = upload(&[1.0, 2.0], [1, 1, 2], &Device::flex());
        let [key, value] = [keys, values].map(|x| upload(&x, [1, 1, 600], &Device::flex()));
        download(cross_attention(query, key, value))
    };
    assert!(attended(f32::NAN).iter().all(|x| x.is_nan()));
    close(&attended(f32::NEG_INFINITY), &[3.0; 2], 1e-6).unwrap();
}
