//! Choosing the device to compute on, describing what there is, and reading results back.

pub mod fault;
pub mod host;
#[cfg(all(feature = "autotune", feature = "persistence"))]
mod tuned;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use burn::tensor::{Device, DeviceKind, Tensor};
use cubecl::config::autotune::AutotuneLevel;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use serde::Serialize;

use fault::Fault;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Choice {
    /// A discrete GPU, else an integrated one, else the CPU backend.
    #[default]
    Auto,
    /// The nth real GPU in the order of `weakseg devices`.
    Gpu(usize),
    /// Any adapter, software included: real GPUs first.
    Vulkan,
    /// burn's CPU backend.
    Cpu,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Choice::Auto),
            "gpu" => Ok(Choice::Gpu(0)),
            "vulkan" => Ok(Choice::Vulkan),
            "cpu" => Ok(Choice::Cpu),
            _ => text
                .strip_prefix("gpu:")
                .and_then(|n| n.parse().ok())
                .map(Choice::Gpu)
                .ok_or_else(|| "use auto, gpu, gpu:N, vulkan or cpu".to_string()),
        }
    }
}

/// An adapter as the graphics API reports it.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// Product name.
    pub name: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software` or `other`.
    pub kind: String,
    /// `Vulkan`, `Metal`, `DX12`, ...
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// What our kernels need, against what the adapter has.
    pub limits: Vec<Limit>,
    /// How burn names it.
    #[serde(skip)]
    pub selector: DeviceKind,
}

/// A limit that the kernels need.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// WebGPU's name of it.
    pub name: &'static str,
    /// The least that will do.
    pub needed: u64,
    /// What the adapter offers.
    pub available: u64,
}

impl Limit {
    /// Whether the adapter offers enough.
    pub fn is_met(&self) -> bool {
        self.available >= self.needed
    }
}

impl Adapter {
    /// Whether it is a graphics card rather than a program on the CPU.
    pub fn is_gpu(&self) -> bool {
        self.kind.ends_with("GPU")
    }

    /// Whether every limit is met.
    pub fn is_fit(&self) -> bool {
        self.limits.iter().all(Limit::is_met)
    }
}

/// The device that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// burn's handle, without autodiff.
    pub device: Device,
    /// What was taken and why, in one line.
    pub reason: String,
    /// The adapter, where it is not the CPU backend.
    pub adapter: Option<Adapter>,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// All adapters of the graphics API that burn settles on for this system, in the order that `gpu:N` counts them in.
pub fn adapters() -> &'static [Adapter] {
    // Once per process: some Vulkan loaders crash when instances come and go on several threads.
    static ADAPTERS: OnceLock<Vec<Adapter>> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        let apis: &[wgpu::Backends] = if cfg!(target_os = "macos") {
            &[wgpu::Backends::METAL]
        } else if cfg!(target_os = "windows") {
            &[wgpu::Backends::VULKAN, wgpu::Backends::DX12]
        } else {
            &[wgpu::Backends::VULKAN]
        };
        let found: Vec<Vec<Adapter>> = apis.iter().map(|api| adapters_of(*api)).collect();
        // The first API with a GPU, else the first with anything: a card that two APIs report is one card.
        let with_gpu = found.iter().position(|a| a.iter().any(Adapter::is_gpu));
        let any = found.iter().position(|a| !a.is_empty());
        with_gpu.or(any).map_or_else(Vec::new, |i| found[i].clone())
    })
}

fn adapters_of(api: wgpu::Backends) -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = api;
    let instance = wgpu::Instance::new(descriptor);
    let mut counts = [0usize; 3];
    pollster::block_on(instance.enumerate_adapters(api))
        .iter()
        .map(|adapter| describe(adapter, &mut counts))
        .collect()
}

fn describe(adapter: &wgpu::Adapter, counts: &mut [usize; 3]) -> Adapter {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let mut next = |slot: usize| {
        counts[slot] += 1;
        counts[slot] - 1
    };
    let (kind, selector) = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => ("discrete GPU", DeviceKind::DiscreteGpu(next(0))),
        wgpu::DeviceType::IntegratedGpu => ("integrated GPU", DeviceKind::IntegratedGpu(next(1))),
        wgpu::DeviceType::VirtualGpu => ("virtual GPU", DeviceKind::VirtualGpu(next(2))),
        wgpu::DeviceType::Cpu => ("software", DeviceKind::Cpu),
        wgpu::DeviceType::Other => ("other", DeviceKind::DefaultDevice),
    };
    let limit = |name, needed: u64, available: u64| Limit {
        name,
        needed,
        available,
    };
    Adapter {
        name: info.name.trim().to_string(),
        kind: kind.into(),
        backend: match info.backend {
            wgpu::Backend::Dx12 => "DX12".into(),
            other => format!("{other:?}"),
        },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        limits: vec![
            limit(
                "max_storage_buffers_per_shader_stage",
                8,
                limits.max_storage_buffers_per_shader_stage.into(),
            ),
            limit(
                "max_compute_invocations_per_workgroup",
                256,
                limits.max_compute_invocations_per_workgroup.into(),
            ),
            limit(
                "max_compute_workgroup_storage_size",
                16_384,
                limits.max_compute_workgroup_storage_size.into(),
            ),
            limit(
                "max_compute_workgroups_per_dimension",
                65_535,
                limits.max_compute_workgroups_per_dimension.into(),
            ),
            limit(
                "max_storage_buffer_binding_size",
                128 << 20,
                limits.max_storage_buffer_binding_size,
            ),
        ],
        selector,
    }
}

/// The device for `choice`.
///
/// # Errors
/// Where no adapter of that kind exists: one line with the remedy.
pub fn choose(choice: Choice) -> Result<Chosen> {
    if choice == Choice::Cpu {
        return Ok(cpu("as asked"));
    }
    let adapters = adapters();
    let pick = |kind: &str| adapters.iter().find(|a| a.kind == kind && a.is_fit());
    match choice {
        Choice::Auto => match pick("discrete GPU").or_else(|| pick("integrated GPU")) {
            Some(adapter) => Ok(on(adapter, "the best GPU found")),
            None if adapters.iter().any(Adapter::is_gpu) => {
                Ok(cpu("the GPUs found lack what the kernels need, see `weakseg devices`"))
            }
            None => Ok(cpu("no GPU found")),
        },
        Choice::Gpu(n) => {
            let gpus: Vec<&Adapter> = adapters.iter().filter(|a| a.is_gpu()).collect();
            match gpus.get(n) {
                Some(adapter) if adapter.is_fit() => Ok(on(adapter, "as asked")),
                Some(adapter) => bail!(
                    "--device gpu:{n}: {} lacks what the kernels need, see `weakseg devices`; use --device cpu",
                    adapter.name
                ),
                None => bail!(
                    "--device gpu:{n}: {} GPUs found; see `weakseg devices`, or use --device cpu or vulkan",
                    gpus.len()
                ),
            }
        }
        Choice::Vulkan => {
            let order = ["discrete GPU", "integrated GPU", "virtual GPU", "other", "software"];
            match order.into_iter().find_map(pick) {
                Some(adapter) => Ok(on(adapter, "the first adapter found, software included")),
                None if !adapters.is_empty() => bail!(
                    "--device vulkan: no adapter has what the kernels need, see `weakseg devices`; use --device cpu"
                ),
                None => bail!(
                    "--device vulkan: no adapter found; on Debian or Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers"
                ),
            }
        }
        Choice::Cpu => Ok(cpu("as asked")),
    }
}

/// As [`choose`], for work that uses every kernel once or twice: tuning takes longer than it gains on any adapter.
///
/// # Errors
/// As [`choose`].
pub fn choose_hastily(choice: Choice) -> Result<Chosen> {
    tune_little();
    choose(choice)
}

fn cpu(why: &str) -> Chosen {
    Chosen {
        device: Device::flex(),
        reason: format!("device: CPU ({why})"),
        adapter: None,
    }
}

/// Has the tuner take one sample of few candidates, where tuning costs more than it gains: on a software adapter a kernel
/// takes long. CUBECL_AUTOTUNE_LEVEL in the environment still counts.
fn tune_little() {
    let mut config = CubeClRuntimeConfig::from_current_dir();
    config.autotune.level = AutotuneLevel::Minimal;
    config.autotune.bench.min_samples = 1;
    config.autotune.bench.max_samples = 1;
    config.autotune.bench.short_circuit_samples = 1;
    // False where burn is in use already; then its settings stay.
    let _ = CubeClRuntimeConfig::try_set(config.override_from_env());
}

fn on(adapter: &Adapter, why: &str) -> Chosen {
    if !adapter.is_gpu() {
        tune_little();
    }
    #[cfg(all(feature = "autotune", feature = "persistence"))]
    tuned::mend();
    Chosen {
        device: Device::wgpu(adapter.selector.clone()),
        reason: format!(
            "device: {}, {}, {} ({why})",
            adapter.name, adapter.kind, adapter.backend
        ),
        adapter: Some(adapter.clone()),
    }
}

/// The largest storage buffer of an adapter, in bytes; `None` on the CPU backend.
pub fn buffer_limit(chosen: &Chosen) -> Option<u64> {
    let limits = &chosen.adapter.as_ref()?.limits;
    let limit = limits.iter().find(|l| l.name == "max_storage_buffer_binding_size")?;
    Some(limit.available)
}

/// Copies a tensor to host memory.
///
/// # Errors
/// Where the device failed to compute it, ran out of memory or is lost.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor
        .try_into_data()
        .map_err(|e| format!("{e}"))
        .and_then(|data| data.try_to_vec::<f32>().map_err(|e| format!("{e:?}")))
        .map_err(|e| {
            // Backtraces are for those who ask for them.
            let what = e.split("Backtrace").next().unwrap_or(&e).trim_end();
            match Fault::of(&e) {
                Some(Fault::Lost) => anyhow!("the device was lost: {what}"),
                _ => anyhow!("the device gave no result: {what}: try a smaller batch, or --device cpu"),
            }
        })
}
