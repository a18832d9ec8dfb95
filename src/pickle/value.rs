//! What stands on the stack of the pickle machine.

/// A value on the pickle machine's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PickleValue<'a> {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A string.
    Text(&'a str),
    /// Bytes, or a longer integer as little-endian two's complement.
    Bytes(&'a [u8]),
    /// Bytes that are written as text, one for each character, as Python 3 does it for Python 2.
    Latin1(&'a str),
    /// A function or class by module and name; only a name here.
    Global(&'a str, &'a str),
    /// Index of an object in the [`Heap`](super::Heap).
    Object(usize),
    /// Something harmless that nobody here needs, such as a float or a date.
    Opaque,
}

impl PickleValue<'_> {
    /// The integer, where it is one that is not negative.
    pub fn natural(self) -> Option<usize> {
        match self {
            PickleValue::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }
}
