//! The objects that a pickle builds: plain data, which refer to each other by index.

use std::collections::BTreeMap;

use super::array::{Array, NumberType};
use super::value::PickleValue;
use crate::dtype::Dtype;

/// What a [`PickleValue::Object`] stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    /// List, tuple or set.
    Sequence(Vec<PickleValue<'a>>),
    /// Dictionary in the order of its making; of equal keys the last one counts.
    Dict(Vec<(PickleValue<'a>, PickleValue<'a>)>),
    /// Raw values of a tensor, stored elsewhere in the file.
    Storage(Storage<'a>),
    /// A view of a storage.
    Tensor(Tensor<'a>),
    /// An array or scalar of numpy.
    Array(Array<'a>),
    /// A type of numpy's numbers.
    NumberType(NumberType),
}

impl Object<'_> {
    /// Numbers that it keeps beside what a pickle's opcodes have paid for.
    pub(super) fn cost(&self) -> usize {
        match self {
            Object::Array(array) => array.shape.len(),
            Object::Tensor(tensor) => tensor.shape.len() + tensor.strides.len(),
            _ => 0,
        }
    }
}

/// Raw values that tensors are views of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage<'a> {
    /// Its name in the file.
    pub key: &'a str,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Number of elements of the whole storage.
    pub elements: usize,
    /// Where this view of it starts, in elements.
    pub offset: usize,
}

/// A strided view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// What it is a view of.
    pub storage: Storage<'a>,
    /// First element, counted from the start of the storage.
    pub offset: usize,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Step of each dimension in elements.
    pub strides: Vec<usize>,
}

/// All objects of a pickle. They refer to each other by index, so that cycles and shared parts cost nothing.
#[derive(Debug, Default)]
pub struct Heap<'a> {
    objects: Vec<Object<'a>>,
    /// Classes of Python objects that were passed over, and how many of each there are.
    skipped: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Heap<'a> {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Counts an object of the class `name` of `module` that was passed over.
    pub fn skip(&mut self, module: &'a str, name: &'a str) {
        *self.skipped.entry((module, name)).or_default() += 1;
    }

    /// The classes of objects that were passed over, `module.name`, and how many of each there are.
    pub fn skipped(&self) -> impl Iterator<Item = (String, usize)> {
        let named = |((module, name), count): (&(&str, &str), &usize)| (format!("{module}.{name}"), *count);
        self.skipped.iter().map(named)
    }

    /// Adds an object.
    pub fn add(&mut self, object: Object<'a>) -> PickleValue<'a> {
        self.objects.push(object);
        PickleValue::Object(self.objects.len() - 1)
    }

    /// The object that `value` stands for, if it is one.
    pub fn get(&self, value: PickleValue<'a>) -> Option<&Object<'a>> {
        match value {
            PickleValue::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    /// The object with this index, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Object<'a>> {
        self.objects.get_mut(index)
    }

    /// The items of a list or tuple.
    pub fn sequence(&self, value: PickleValue<'a>) -> Option<&[PickleValue<'a>]> {
        match self.get(value) {
            Some(Object::Sequence(items)) => Some(items),
            _ => None,
        }
    }

    /// The items of a dictionary.
    pub fn dict(&self, value: PickleValue<'a>) -> Option<&[(PickleValue<'a>, PickleValue<'a>)]> {
        match self.get(value) {
            Some(Object::Dict(items)) => Some(items),
            _ => None,
        }
    }
}
