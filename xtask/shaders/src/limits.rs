//! WebGPU's default limits, which every adapter meets that WebGPU runs on.

use naga::proc::Layouter;
use naga::{AddressSpace, Module, ShaderStage};

const STORAGE_BUFFERS: usize = 8;
const INVOCATIONS: u32 = 256;
/// Along x, y and z.
const WORKGROUP_SIZE: [u32; 3] = [256, 256, 64];
const WORKGROUP_BYTES: u32 = 16_384;

/// The first limit that a module exceeds.
pub fn check(module: &Module) -> Result<(), String> {
    let storage = |space| matches!(space, AddressSpace::Storage { .. });
    let buffers = module.global_variables.iter();
    let buffers = buffers.filter(|(_, v)| storage(v.space)).count();
    if buffers > STORAGE_BUFFERS {
        return Err(format!(
            "{buffers} storage buffers, WebGPU's default limit is {STORAGE_BUFFERS}"
        ));
    }
    let bytes = workgroup_bytes(module)?;
    if bytes > WORKGROUP_BYTES {
        return Err(format!(
            "{bytes} bytes of workgroup memory, WebGPU's default limit is {WORKGROUP_BYTES}"
        ));
    }
    if module.entry_points.is_empty() {
        return Err("no entry point".to_string());
    }
    for entry in &module.entry_points {
        let size = entry.workgroup_size;
        if entry.stage != ShaderStage::Compute || !module.overrides.is_empty() {
            return Err(format!("{}: not a plain compute kernel", entry.name));
        }
        let invocations: u32 = size.iter().product();
        if invocations > INVOCATIONS {
            return Err(format!(
                "{invocations} invocations in a workgroup, WebGPU's default limit is {INVOCATIONS}"
            ));
        }
        for ((axis, side), most) in ["x", "y", "z"].iter().zip(size).zip(WORKGROUP_SIZE) {
            if side > most {
                return Err(format!(
                    "a workgroup of {side} along {axis}, WebGPU's default limit is {most}"
                ));
            }
        }
    }
    Ok(())
}

/// Bytes of all workgroup variables, each padded to 16 as WebGPU counts them.
fn workgroup_bytes(module: &Module) -> Result<u32, String> {
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let variables = module.global_variables.iter();
    let shared = variables.filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    Ok(shared.map(|(_, v)| layouter[v.ty].size.next_multiple_of(16)).sum())
}
