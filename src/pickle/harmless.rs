//! Classes that checkpoints hold beside their tensors and that say nothing of these: settings, paths, dates, logs. Their
//! objects are passed over. Nothing of them is run, whatever their names.

/// How an object that is passed over is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harmless {
    /// Part of a tensor or array, or a plain value of Python: not mentioned.
    Part,
    /// Something of its own, which a report lists.
    Whole,
}

/// Plain values, and tensors of kinds that no network here has.
const PARTS: [(&str, &[&str]); 5] = [
    (
        "__builtin__",
        &[
            "set",
            "frozenset",
            "complex",
            "slice",
            "bytes",
            "bytearray",
            "object",
            "range",
            "xrange",
        ],
    ),
    (
        "builtins",
        &[
            "set",
            "frozenset",
            "complex",
            "slice",
            "bytes",
            "bytearray",
            "object",
            "range",
        ],
    ),
    ("numpy", &["ndarray"]),
    ("torch", &["Size", "device"]),
    (
        "torch._utils",
        &[
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_nested_tensor",
            "_rebuild_qtensor",
            "_rebuild_sparse_csr_tensor",
            "_rebuild_sparse_tensor",
            "_rebuild_tensor_v3",
        ],
    ),
];

/// Paths of Python's `pathlib`.
const PATHS: &[&str] = &[
    "Path",
    "PosixPath",
    "PurePath",
    "PurePosixPath",
    "PureWindowsPath",
    "WindowsPath",
];

/// Objects of their own, by the modules of Python's library and of the usual training frameworks.
const WHOLES: [(&str, &[&str]); 32] = [
    ("pathlib", PATHS),
    ("pathlib._local", PATHS),
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"]),
    ("argparse", &["Namespace"]),
    ("types", &["SimpleNamespace"]),
    ("collections", &["deque"]),
    ("decimal", &["Decimal"]),
    ("fractions", &["Fraction"]),
    ("uuid", &["UUID"]),
    ("zoneinfo", &["ZoneInfo._unpickle"]),
    (
        "numpy.random._pickle",
        &["__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"],
    ),
    ("pytorch_lightning.utilities.parsing", &["AttributeDict"]),
    ("lightning.pytorch.utilities.parsing", &["AttributeDict"]),
    ("lightning.fabric.utilities.data", &["AttributeDict"]),
    ("lightning_fabric.utilities.data", &["AttributeDict"]),
    ("mmengine.logging.history_buffer", &["HistoryBuffer"]),
    ("mmengine.config.config", &["Config", "ConfigDict"]),
    ("mmcv.utils.config", &["Config", "ConfigDict"]),
    ("mmcv.runner.log_buffer", &["LogBuffer"]),
    ("addict.addict", &["Dict"]),
    ("addict", &["Dict"]),
    ("easydict", &["EasyDict"]),
    ("box.box", &["Box"]),
    ("munch", &["Munch", "DefaultMunch"]),
    ("yacs.config", &["CfgNode"]),
    ("fvcore.common.config", &["CfgNode"]),
    ("detectron2.config.config", &["CfgNode"]),
    ("omegaconf.dictconfig", &["DictConfig"]),
    ("omegaconf.listconfig", &["ListConfig"]),
    ("omegaconf.base", &["ContainerMetadata", "Metadata"]),
    (
        "omegaconf.nodes",
        &[
            "AnyNode",
            "BooleanNode",
            "EnumNode",
            "FloatNode",
            "IntegerNode",
            "PathNode",
            "StringNode",
        ],
    ),
    ("torch.torch_version", &["TorchVersion"]),
];

/// Whether objects of the class `name` of `module` are passed over, and how they are told of; none where they are not.
pub fn kind(module: &str, name: &str) -> Option<Harmless> {
    let is_in = |table: &[(&str, &[&str])]| {
        table
            .iter()
            .any(|(known, names)| *known == module && names.contains(&name))
    };
    if is_in(&PARTS) {
        Some(Harmless::Part)
    } else {
        is_in(&WHOLES).then_some(Harmless::Whole)
    }
}
