//! Arbitrary and mutated bytes through every reader: no panic, no more memory than the file's size warrants.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weakseg::weights::Checkpoint;
use weakseg::weights::load::plan;

use super::networks::declared;
use super::{CASES, golden, memory};

/// Seconds per reader, half of them on arbitrary bytes and half on damaged golden files; `WEAKSEG_FUZZ_SECONDS` changes
/// it.
const SECONDS: f32 = 6.0;

/// Starts by which the readers are told apart; Caffe's has none.
const STARTS: [(&str, &[u8]); 5] = [
    ("zip", b"PK\x03\x04"),
    ("pickle", b"\x80\x02"),
    ("mxnet", &[0x12, 1, 0, 0, 0, 0, 0, 0]),
    ("safetensors", b"\x40\0\0\0\0\0\0\0{\""),
    ("caffe", b"\xa2\x06"),
];

/// Numbers that overflow one thing or another.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Opens the bytes and reads all that they claim to hold, within ten times their size and a few megabytes.
fn read_all(path: &PathBuf, bytes: &[u8], network: &str) {
    fs::write(path, bytes).unwrap();
    let allowed = 16 * bytes.len() + (8 << 20);
    let peak = memory::peak_of(|| {
        let Ok(checkpoint) = Checkpoint::open(path) else {
            return;
        };
        for name in checkpoint.names() {
            let elements: usize = checkpoint.shape(name).unwrap().iter().product();
            if let Ok(values) = checkpoint.read(name) {
                assert_eq!(values.len(), elements);
            }
        }
        let _ = plan(&checkpoint, network, &declared(network));
    });
    assert!(peak <= allowed, "{peak} bytes for a file of {}", bytes.len());
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        // Headers are at both ends.
        let window = if rng.random() {
            bytes.len()
        } else {
            bytes.len().min(2048)
        };
        let mut at = rng.random_range(0..window);
        if rng.random() {
            at = bytes.len() - 1 - at;
        }
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => {
                let value = EXTREMES[rng.random_range(0..EXTREMES.len())].to_le_bytes();
                let end = bytes.len().min(at + [1, 2, 4, 8][rng.random_range(0..4)]);
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => bytes.truncate(at),
            4 => {
                let end = bytes.len().min(at + rng.random_range(1..64));
                bytes.drain(at..end);
            }
            _ => {
                let from = rng.random_range(0..bytes.len());
                let copied = bytes[from..bytes.len().min(from + 64)].to_vec();
                bytes.splice(at..at, copied);
            }
        }
    }
}

fn time() -> Duration {
    let given = std::env::var("WEAKSEG_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs_f32(given.unwrap_or(SECONDS))
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(6)
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    for (name, start) in STARTS {
        let path = dir.path().join(format!("{name}.pth"));
        let (mut rng, end) = (rng(), Instant::now() + time() / 2);
        while Instant::now() < end {
            let mut bytes = start.to_vec();
            let length = rng.random_range(0..400);
            // Small numbers are likelier to mean something than random ones.
            let top: u8 = [8, 128, 255][rng.random_range(0..3)];
            bytes.extend((0..length).map(|_| rng.random_range(0..=top)));
            read_all(&path, &bytes, "resnet38_cls");
        }
    }
}

#[test]
fn mutated_files_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    for case in &CASES {
        let path = dir.path().join(case.file);
        let whole = fs::read(golden(case.file)).unwrap();
        let alike = CASES.iter().filter(|other| other.format == case.format);
        let (mut rng, end) = (rng(), Instant::now() + time() / 2 / alike.count() as u32);
        while Instant::now() < end {
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut rng);
            read_all(&path, &bytes, case.network);
        }
    }
}
