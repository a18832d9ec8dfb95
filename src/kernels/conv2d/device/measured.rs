//! Choices by measurement, and where they are kept: `convolution.json`, beside of what burn's tuner has found.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::backend::wgpu::CubeTensor;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use super::choice::Pass;
use crate::device::adapters;
use crate::files;
use crate::kernels::conv2d::Sizes;
use crate::kernels::conv2d::convolver::Convolver;

/// Whether there is a tuner in this build.
pub const IS_WANTED: bool = cfg!(feature = "autotune");
/// Timed runs of either after one that compiles and tunes; the least counts.
const RUNS: usize = 3;

/// What is known, by device, pass and sizes; `None` before the file was read.
static KNOWN: Mutex<Option<BTreeMap<String, Convolver>>> = Mutex::new(None);

/// The faster of `candidates`; `None` where the device does not finish.
pub fn faster(
    pass: Pass,
    sizes: &Sizes,
    input: &CubeTensor,
    candidates: [Convolver; 2],
    work: &impl Fn(Convolver) -> CubeTensor,
) -> Option<Convolver> {
    let name = name(pass, sizes, input);
    if let Some(known) = known().get_or_insert_with(read).get(&name) {
        return Some(*known);
    }
    let [first, second] = candidates.map(|candidate| time(input, &|| work(candidate)));
    let chosen = if first? <= second? {
        candidates[0]
    } else {
        candidates[1]
    };
    log::debug!("{name}: {chosen:?} of {candidates:?}");
    let mut known = known();
    let all = known.get_or_insert_with(read);
    all.insert(name, chosen);
    keep(all);
    Some(chosen)
}

fn known() -> MutexGuard<'static, Option<BTreeMap<String, Convolver>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device among the adapters that there are, with their drivers, version and sizes in words.
fn name(pass: Pass, sizes: &Sizes, input: &CubeTensor) -> String {
    let adapters = adapters().iter().map(|a| format!("{} {}", a.name, a.driver));
    let adapters = adapters.collect::<Vec<_>>().join(", ");
    let version = env!("CARGO_PKG_VERSION");
    format!("{:?} of {adapters}, {version}: {pass:?} {sizes:?}", input.device)
}

/// The least time of a run, the device being idle before.
fn time(input: &CubeTensor, work: &dyn Fn() -> CubeTensor) -> Option<Duration> {
    let finish = || pollster::block_on(input.client.sync()).ok();
    work();
    finish()?;
    let mut least = None;
    for _ in 0..RUNS {
        let clock = Instant::now();
        work();
        finish()?;
        let elapsed = clock.elapsed();
        least = Some(least.map_or(elapsed, |least: Duration| least.min(elapsed)));
    }
    least
}

fn path() -> PathBuf {
    CubeClRuntimeConfig::get()
        .environment
        .path
        .root()
        .join("convolution.json")
}

/// What earlier processes have found. A file that cannot be read is one that is not there: it is measured again.
fn read() -> BTreeMap<String, Convolver> {
    if !cfg!(feature = "persistence") {
        return BTreeMap::new();
    }
    let text = fs::read(path()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds to the file what it does not have, so that processes at a time do not lose each other's for long.
fn keep(all: &mut BTreeMap<String, Convolver>) {
    if !cfg!(feature = "persistence") {
        return;
    }
    for (name, convolver) in read() {
        all.entry(name).or_insert(convolver);
    }
    let kept = serde_json::to_vec_pretty(all)
        .map_err(anyhow::Error::from)
        .and_then(|text| files::write_bytes(&path(), &text));
    if let Err(error) = kept {
        log::debug!("choices of convolutions are not kept: {error:#}");
    }
}
