//! From naga's module to each language that a graphics API takes, at the lowest version that has compute kernels.

use naga::Module;
use naga::back::{hlsl, msl, spv};
use naga::valid::ModuleInfo;

/// Translates a module to SPIR-V, MSL and HLSL; the error names the language.
pub fn to_all(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let words =
        spv::write_vec(module, info, &spv::Options::default(), None).map_err(|error| format!("SPIR-V: {error}"))?;
    let (metal, names) = msl::write_string(module, info, &msl_options(), &msl::PipelineOptions::default())
        .map_err(|error| format!("MSL: {error}"))?;
    for name in names.entry_point_names {
        name.map_err(|error| format!("MSL: {error}"))?;
    }
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V5_1,
        fake_missing_bindings: true,
        ..hlsl::Options::default()
    };
    let mut direct = String::new();
    let pipeline = hlsl::PipelineOptions::default();
    let names = hlsl::Writer::new(&mut direct, &options, &pipeline)
        .write(module, info, None)
        .map_err(|error| format!("HLSL: {error}"))?;
    for name in names.entry_point_names {
        name.map_err(|error| format!("HLSL: {error}"))?;
    }
    let empty = [words.is_empty(), metal.is_empty(), direct.is_empty()];
    for (language, empty) in ["SPIR-V", "MSL", "HLSL"].iter().zip(empty) {
        if empty {
            return Err(format!("{language}: nothing was written"));
        }
    }
    Ok(())
}

fn msl_options() -> msl::Options {
    msl::Options {
        lang_version: (2, 0),
        fake_missing_bindings: true,
        ..msl::Options::default()
    }
}
