//! The tensors of a PyTorch pickle by their state-dict names, out of whatever training scripts wrap them in.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::tensor::{Entry, TensorBytes};
use crate::pickle::{Heap, Object, Pickle, PickleValue, Storage, Tensor};

/// Keys under which training scripts keep the state dict beside an optimizer, an epoch and so on.
///
/// The averages of weights that some of them keep as well (EMA) count where there is nothing else.
const WRAPPERS: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "shadow",
];

/// Deepest nesting of dictionaries that is followed.
const MAX_DEPTH: usize = 32;

/// Most tensors and longest name, far beyond any network's. A pickle may use one long text as part of many names, so
/// without these limits a small file could ask for a lot of memory.
const MAX_TENSORS: usize = 100_000;
const MAX_NAME: usize = 512;

/// The tensors of a pickle by their state-dict names, taken out of wrappers, which `notes` then says. `find` gives the
/// values of a storage.
///
/// # Errors
/// Where there is no tensor, or one reaches beyond its storage.
pub fn entries<'a>(
    pickle: &Pickle<'a>,
    notes: &mut Vec<String>,
    find: impl Fn(&Storage<'a>) -> Result<TensorBytes>,
) -> Result<BTreeMap<String, Entry>> {
    let mut walk = Walk {
        heap: &pickle.heap,
        seen: vec![false; pickle.heap.len()],
        tensors: Vec::new(),
        others: 0,
    };
    walk.visit(String::new(), unwrap(pickle, notes), 0)?;
    if walk.others > 0 {
        notes.push(format!("left out {} values that are no tensors", walk.others));
    }
    let skipped: Vec<String> = pickle
        .heap
        .skipped()
        .map(|(class, count)| match count {
            1 => class,
            n => format!("{class} ({n} times)"),
        })
        .collect();
    if !skipped.is_empty() {
        notes.push(format!(
            "skipped Python objects without running them: {}",
            skipped.join(", ")
        ));
    }
    let mut entries = BTreeMap::new();
    for (name, tensor) in walk.tensors {
        let entry = find(&tensor.storage).and_then(|data| {
            let (shape, strides) = (tensor.shape.clone(), tensor.strides.clone());
            Entry::strided(tensor.storage.dtype, shape, strides, tensor.offset, data)
        });
        let entry = entry.with_context(|| format!("tensor {:?}", name))?;
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// The state dict inside of the checkpoints of training scripts.
fn unwrap<'a>(pickle: &Pickle<'a>, notes: &mut Vec<String>) -> PickleValue<'a> {
    let heap = &pickle.heap;
    let mut value = pickle.root;
    for _ in 0..MAX_DEPTH {
        let items = heap.dict(value).unwrap_or_default();
        let has_tensors = items
            .iter()
            .any(|(_, item)| matches!(heap.get(*item), Some(Object::Tensor(_))));
        let inner = WRAPPERS.iter().find_map(|wrapper| {
            let wrapped = items.iter().rev().find(|(key, item)| {
                *key == PickleValue::Text(wrapper) && heap.dict(*item).is_some_and(|d| !d.is_empty())
            });
            wrapped.map(|(_, inner)| (wrapper, *inner))
        });
        let Some((wrapper, inner)) = inner.filter(|_| !has_tensors) else {
            break;
        };
        let others: Vec<String> = items
            .iter()
            .filter(|(_, item)| *item != inner)
            .map(|(key, _)| label(*key).escape_debug().to_string())
            .take(20)
            .collect();
        let mut note = format!("took the entry {wrapper} of a larger checkpoint");
        if !others.is_empty() {
            note += &format!("; left out {}", others.join(", "));
        }
        notes.push(note);
        value = inner;
    }
    value
}

fn label(key: PickleValue) -> String {
    match key {
        PickleValue::Text(text) => text.chars().take(MAX_NAME).collect(),
        PickleValue::Int(n) => n.to_string(),
        _ => "(a key that is not text)".into(),
    }
}

/// Collects tensors from nested containers, each of which is visited once.
struct Walk<'w, 'a> {
    heap: &'w Heap<'a>,
    seen: Vec<bool>,
    tensors: Vec<(String, &'w Tensor<'a>)>,
    others: usize,
}

impl<'a> Walk<'_, 'a> {
    fn visit(&mut self, name: String, value: PickleValue<'a>, depth: usize) -> Result<()> {
        ensure!(
            depth <= MAX_DEPTH,
            "its dictionaries are nested more than {MAX_DEPTH} deep: save the state_dict alone"
        );
        let (PickleValue::Object(index), Some(object)) = (value, self.heap.get(value)) else {
            self.others += 1;
            return Ok(());
        };
        ensure!(
            name.len() < MAX_NAME && self.tensors.len() < MAX_TENSORS,
            "it has more than {MAX_TENSORS} tensors or a name of {MAX_NAME} bytes, which no network has: save the state_dict alone"
        );
        let inside = |key: &str| match name.as_str() {
            "" => key.to_owned(),
            _ => format!("{name}.{key}"),
        };
        match object {
            Object::Tensor(tensor) if name.is_empty() => self.tensors.push(("tensor".into(), tensor)),
            Object::Tensor(tensor) => self.tensors.push((name, tensor)),
            Object::Storage(_) | Object::Array(_) | Object::NumberType(_) => self.others += 1,
            Object::Dict(_) | Object::Sequence(_)
                if self
                    .seen
                    .get_mut(index)
                    .is_none_or(|seen| std::mem::replace(seen, true)) => {}
            Object::Dict(items) => {
                for (key, item) in items {
                    self.visit(inside(&label(*key)), *item, depth + 1)?;
                }
            }
            Object::Sequence(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.visit(inside(&i.to_string()), *item, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}
