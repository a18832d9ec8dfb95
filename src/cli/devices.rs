//! `weakseg devices`.

use anyhow::Result;
use serde_json::Value;

use super::output::{print, print_json};
use crate::device::{self, Adapter, Choice};

/// Lists the adapters.
pub fn run(json: bool) -> Result<()> {
    let adapters = device::adapters();
    if json {
        return print_json(&adapters.iter().map(listed).collect::<Result<Vec<_>>>()?);
    }
    if adapters.is_empty() {
        print("no adapters found; the CPU backend (--device cpu) needs none")?;
    }
    let mut gpus = 0;
    for adapter in adapters {
        let option = if adapter.is_gpu() {
            gpus += 1;
            format!("--device gpu:{}", gpus - 1)
        } else {
            "--device vulkan".into()
        };
        print(format_args!(
            "{} ({}, {}; {option})",
            adapter.name, adapter.kind, adapter.backend
        ))?;
        print(format_args!("  driver: {}", adapter.driver))?;
        for limit in &adapter.limits {
            print(format_args!(
                "  {:<40} needed {:>11}  available {:>11}  {}",
                limit.name,
                limit.needed,
                limit.available,
                if limit.is_met() { "yes" } else { "no" }
            ))?;
        }
    }
    let auto = device::choose(Choice::Auto)?;
    print(format_args!("--device auto would take: {auto}"))
}

/// The adapter as JSON, each limit with whether it is met.
fn listed(adapter: &Adapter) -> Result<Value> {
    let mut json = serde_json::to_value(adapter)?;
    let limits = json["limits"].as_array_mut().into_iter().flatten();
    for (limit, known) in limits.zip(&adapter.limits) {
        limit["met"] = known.is_met().into();
    }
    Ok(json)
}
