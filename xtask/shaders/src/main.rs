//! `shader-check DIR`: proves that every WGSL file of a folder runs wherever WebGPU does. Each is validated under WebGPU's
//! default limits, has its barriers in uniform control flow, and is translated to the languages of Vulkan, Metal and
//! DirectX.

mod limits;
mod translate;
mod uniformity;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use naga::valid::{Capabilities, ValidationFlags, Validator};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), None) = (args.next(), args.next()) else {
        eprintln!("usage: shader-check DIR");
        return ExitCode::from(2);
    };
    let files = match wgsl_files(Path::new(&folder)) {
        Ok(files) => files,
        Err(why) => {
            eprintln!("shader-check: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = 0;
    for path in &files {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
        if let Err(why) = text.and_then(|text| check(&text)) {
            eprintln!("shader-check: {}: {why}", path.display());
            failed += 1;
        }
    }
    if failed > 0 {
        eprintln!("shader-check: {failed} of {} shaders failed", files.len());
        return ExitCode::FAILURE;
    }
    println!(
        "{} shaders are valid under WebGPU's default limits, have their barriers in uniform control flow, and translate to SPIR-V, MSL and HLSL",
        files.len()
    );
    ExitCode::SUCCESS
}

/// The `.wgsl` files of `folder` by name; none is an error.
fn wgsl_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "wgsl"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{} holds no .wgsl files", folder.display()));
    }
    Ok(files)
}

/// What keeps a WGSL source from running everywhere, if anything does.
fn check(text: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    // No capabilities: nothing that WebGPU makes optional, such as f16, subgroups or 64-bit integers.
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|e| e.emit_to_string(text))?;
    limits::check(&module)?;
    uniformity::check(&module, text)?;
    translate::to_all(&module, &info)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with these declarations, workgroup size and statements.
    fn kernel(declarations: &str, size: &str, body: &str) -> String {
        format!(
            "@group(0) @binding(0) var<storage, read_write> out: array<u32>;\n{declarations}\n\
             @compute @workgroup_size({size})\n\
             fn main(@builtin(global_invocation_id) id: vec3<u32>) {{ {body} out[id.x] = id.y; }}"
        )
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = check(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_fits_passes_and_what_does_not_is_named() {
        let buffers = |n: u32| -> String {
            let binding = |i| format!("@group(0) @binding({i}) var<storage> b{i}: array<u32>;\n");
            (1..n).map(binding).collect()
        };
        check(&kernel(&buffers(8), "256", "")).unwrap();
        refused(&kernel(&buffers(9), "256", ""), "9 storage buffers");
        check(&kernel("", "4, 1, 64", "")).unwrap();
        refused(&kernel("", "257", ""), "257 invocations");
        refused(&kernel("", "16, 17", ""), "272 invocations");
        refused(&kernel("", "1, 1, 65", ""), "65 along z");
        // Two arrays, each padded to 16 bytes.
        let tiles = |n| format!("var<workgroup> a: array<f32, {n}>; var<workgroup> b: f32;");
        check(&kernel(&tiles(4092), "64", "a[0] = b;")).unwrap();
        refused(&kernel(&tiles(4093), "64", "a[0] = b;"), "16400 bytes");
    }

    #[test]
    fn what_webgpu_makes_optional_is_refused() {
        refused("fn main( {", "expected");
        refused(&kernel("", "64", "let x = id.x + 1.5f;"), "Add");
        refused(&kernel("var<private> x: f16;", "64", ""), "f16");
        refused(&kernel("var<private> x: i64;", "64", ""), "i64");
        refused(&kernel("", "64", "let x = subgroupAdd(id.x);"), "");
    }
}
