//! The formula behind every input and weight of the golden files.

use weakseg::models::params::{Declared, Role};

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The value in [0, 1) at flat index `i` of the tensor called `name`.
pub fn unit(name: &str, i: u64) -> f64 {
    let x = fnv1a64(name).wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (splitmix64(x) >> 40) as f64 / (1u64 << 24) as f64
}

/// `lo + (hi - lo) * unit` for every entry.
pub fn tensor(name: &str, count: usize, lo: f64, hi: f64) -> Vec<f64> {
    (0..count as u64).map(|i| lo + (hi - lo) * unit(name, i)).collect()
}

/// The values of a state-dict entry.
pub fn parameter(p: &Declared) -> Vec<f32> {
    let n = p.shape.iter().product::<usize>() as u64;
    let fan_in = p.shape[1..].iter().product::<usize>().max(1) as f64;
    (0..n)
        .map(|i| {
            let u = unit(&p.name, i);
            let value = match p.role {
                Role::Variance | Role::Scale => 0.5 + u,
                Role::Mean | Role::Bias | Role::Shift => 0.4 * (u - 0.5),
                Role::Kernel => (2.0 * u - 1.0) * (3.0 / fan_in).sqrt(),
            };
            value as f32
        })
        .collect()
}
