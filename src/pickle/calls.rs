//! The few functions that a pickle of PyTorch or numpy may call, and the storages it may refer to.

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::array::{Array, NumberType};
use super::harmless::{self, Harmless};
use super::heap::{Heap, Object, Storage, Tensor};
use super::value::PickleValue;
use crate::dtype::Dtype;

/// Stands in for a call from a pickle: makes the container, tensor or array that `function` would make. `cost` receives
/// the number of items that were copied.
///
/// # Errors
/// Where the function is none of these and not known to be harmless, or its arguments are not a tensor's.
pub fn call<'a>(
    function: PickleValue<'a>,
    arguments: &[PickleValue<'a>],
    heap: &mut Heap<'a>,
    cost: &mut usize,
) -> Result<PickleValue<'a>> {
    let PickleValue::Global(module, name) = function else {
        bail!("its pickle calls something that is not a function: the file is damaged, get it again");
    };
    let object = match (module, name) {
        ("collections", "OrderedDict") => {
            let items = pairs(arguments, heap)?;
            *cost += items.len();
            Object::Dict(items)
        }
        ("collections", "defaultdict" | "Counter") => Object::Dict(Vec::new()),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => match tensor(arguments, heap)? {
            Some(tensor) => Object::Tensor(tensor),
            None => return Ok(PickleValue::Opaque),
        },
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            return arguments
                .first()
                .copied()
                .context("its pickle makes a parameter of nothing: the file is damaged");
        }
        ("_codecs", "encode") => {
            return Ok(match arguments {
                [PickleValue::Text(text), PickleValue::Text("latin1" | "latin-1")] => PickleValue::Latin1(text),
                _ => PickleValue::Opaque,
            });
        }
        ("numpy", "dtype") => match NumberType::named(arguments) {
            Some(number) => Object::NumberType(number),
            None => return Ok(PickleValue::Opaque),
        },
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Object::Array(Array::unknown()),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => {
            let scalar = Array::scalar(arguments, heap);
            heap.skip(module, name);
            Object::Array(scalar)
        }
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
            Object::Array(Array::from_buffer(arguments, heap))
        }
        // A method of a class, named and not called.
        ("builtins" | "__builtin__", "getattr") => match arguments {
            [PickleValue::Global(module, name), PickleValue::Text(_)] if harmless::kind(module, name).is_some() => {
                return Ok(PickleValue::Opaque);
            }
            [PickleValue::Global(module, name), PickleValue::Text(method)] => {
                return Err(refusal(module, &format!("{name}.{method}")));
            }
            _ => return Err(refusal(module, name)),
        },
        _ => match harmless::kind(module, name) {
            Some(Harmless::Part) => return Ok(PickleValue::Opaque),
            Some(Harmless::Whole) => {
                heap.skip(module, name);
                return Ok(PickleValue::Opaque);
            }
            None => return Err(refusal(module, name)),
        },
    };
    *cost += object.cost();
    Ok(heap.add(object))
}

/// The error of a call that nothing here stands in for.
fn refusal(module: &str, name: &str) -> anyhow::Error {
    anyhow!(
        "its pickle calls {}.{}, and no code in a file is run here: in Python, save tensors or arrays alone (such as torch.save(model.state_dict(), FILE)), and do not load this file if you do not trust it",
        module.escape_debug(),
        name.escape_debug()
    )
}

/// The items of an `OrderedDict` that is made from a list of pairs, as Python 2 pickled it.
fn pairs<'a>(arguments: &[PickleValue<'a>], heap: &Heap<'a>) -> Result<Vec<(PickleValue<'a>, PickleValue<'a>)>> {
    let Some(list) = arguments.first() else {
        return Ok(Vec::new());
    };
    let items = heap.sequence(*list).unwrap_or_default();
    items
        .iter()
        .map(|pair| match heap.sequence(*pair) {
            Some([key, value]) => Ok((*key, *value)),
            _ => bail!("its pickle makes a dictionary of something else than pairs"),
        })
        .collect()
}

/// The tensor that `(storage, offset, shape, strides, ...)` describes; none over a storage of an unknown type.
fn tensor<'a>(arguments: &[PickleValue<'a>], heap: &Heap<'a>) -> Result<Option<Tensor<'a>>> {
    let [storage, PickleValue::Int(offset), shape, strides, ..] = arguments else {
        bail!("its pickle makes a tensor of something else than storage, offset, shape and strides");
    };
    let Some(Object::Storage(storage)) = heap.get(*storage) else {
        return Ok(None);
    };
    // More dimensions than any framework has are a way to make the reading slow.
    let numbers = |value| -> Option<Vec<usize>> {
        let items = heap.sequence(value).filter(|items| items.len() <= 64)?;
        items.iter().map(|item| item.natural()).collect()
    };
    let offset = usize::try_from(*offset).ok();
    let offset = offset.and_then(|offset| offset.checked_add(storage.offset));
    match (offset, numbers(*shape), numbers(*strides)) {
        (Some(offset), Some(shape), Some(strides)) => Ok(Some(Tensor {
            storage: *storage,
            offset,
            shape,
            strides,
        })),
        _ => bail!("its pickle has a tensor with an impossible shape, stride or offset: the file is damaged"),
    }
}

/// What a persistent id `("storage", type, key, device, elements[, view])` stands for.
///
/// # Errors
/// Where it has another form.
pub fn persistent<'a>(id: PickleValue<'a>, heap: &mut Heap<'a>) -> Result<PickleValue<'a>> {
    let Some([PickleValue::Text(kind), class, rest @ ..]) = heap.sequence(id) else {
        bail!("its pickle refers to something outside of it that is not a storage");
    };
    ensure!(
        *kind == "storage",
        "its pickle holds whole Python objects: in Python, save the state_dict alone (torch.save(model.state_dict(), FILE))"
    );
    let [PickleValue::Text(key), _device, elements, view @ ..] = rest else {
        bail!("its pickle refers to a storage in a form that torch.save does not write");
    };
    ensure!(
        key.len() <= 512,
        "its pickle has a storage with a name of {} bytes: the file is damaged",
        key.len()
    );
    let Some(dtype) = storage_type(*class) else {
        return Ok(PickleValue::Opaque);
    };
    let elements = elements
        .natural()
        .context("its pickle has a storage of impossible size")?;
    // A view of a storage (old PyTorch): its own key, where it starts, and how long it is.
    let offset = match view.first().and_then(|view| heap.sequence(*view)) {
        Some([_, offset, _]) => offset.natural().context("its pickle has an impossible view")?,
        _ => 0,
    };
    let storage = Storage {
        key,
        dtype,
        elements,
        offset,
    };
    Ok(heap.add(Object::Storage(storage)))
}

fn storage_type(class: PickleValue) -> Option<Dtype> {
    let PickleValue::Global("torch" | "torch.cuda" | "torch.storage", name) = class else {
        return None;
    };
    Some(match name {
        "BoolStorage" => Dtype::Bool,
        "ByteStorage" => Dtype::U8,
        "CharStorage" => Dtype::I8,
        "ShortStorage" => Dtype::I16,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "IntStorage" => Dtype::I32,
        "FloatStorage" => Dtype::F32,
        "LongStorage" => Dtype::I64,
        "DoubleStorage" => Dtype::F64,
        _ => return None,
    })
}
