//! A pickle reader that runs nothing: the opcodes that `torch.save` and `numpy.save` write build plain values in an
//! arena. A call of the few functions that make tensors, arrays and containers makes what they would, one of a class
//! that is known to be harmless makes nothing, and one of anything else is an error.

mod array;
mod calls;
mod harmless;
mod heap;
mod numpy;
mod value;

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

pub use array::{Array, Raw};
pub use heap::{Heap, Object, Storage, Tensor};
pub use value::PickleValue;

/// Most opcodes in one pickle, ten times what the largest networks need; bounds time and memory.
const MAX_STEPS: usize = 2_000_000;

/// What one pickle holds.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// The pickled value.
    pub root: PickleValue<'a>,
    /// Its objects.
    pub heap: Heap<'a>,
    /// Bytes of the pickle, up to and with its STOP.
    pub length: usize,
}

/// Reads the pickle at the start of `input`, without running anything.
///
/// # Errors
/// One line where it is truncated or damaged, calls a function, or is larger than any network's.
pub fn read(input: &[u8]) -> Result<Pickle<'_>> {
    let mut machine = Machine {
        input,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
        steps: 0,
    };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Pickle {
                root,
                heap: machine.heap,
                length: machine.at,
            });
        }
    }
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    stack: Vec<PickleValue<'a>>,
    /// Heights of the stack at its open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, PickleValue<'a>>,
    heap: Heap<'a>,
    steps: usize,
}

impl<'a> Machine<'a> {
    /// Runs one opcode; the value where it is STOP.
    fn step(&mut self) -> Result<Option<PickleValue<'a>>> {
        self.charge(1)?;
        let opcode = self.number(1)?;
        match opcode as u8 {
            b'.' => return self.pop().map(Some),
            0x80 => drop(self.take(1)?), // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.stack.push(PickleValue::None),
            0x88 => self.stack.push(PickleValue::Bool(true)),
            0x89 => self.stack.push(PickleValue::Bool(false)),
            b'K' => self.push_unsigned(1)?,
            b'M' => self.push_unsigned(2)?,
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.stack.push(PickleValue::Int(value.into()));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                self.take(8)?;
                self.stack.push(PickleValue::Opaque);
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'T' => self.text(4)?, // Strings of Python 2, as a rule ASCII.
            b'U' => self.text(1)?,
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8e | 0x96 => self.bytes(8)?,
            b'}' => self.push(Object::Dict(Vec::new())),
            b']' | b')' | 0x8f => self.push(Object::Sequence(Vec::new())),
            b't' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Object::Sequence(items));
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(PickleValue::Global(module, name));
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (PickleValue::Text(name), PickleValue::Text(module)) => {
                    self.stack.push(PickleValue::Global(module, name));
                }
                _ => bail!("its pickle names a function by something that is not text"),
            },
            // REDUCE and NEWOBJ: a call. NEWOBJ_EX has keyword arguments as well, which nothing here takes.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            0x92 => {
                let (_, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            // BUILD gives an object its attributes. Those of a state dict are version numbers of its modules.
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            b'q' => self.memoize(1)?,
            b'r' => self.memoize(4)?,
            0x94 => {
                let index = self.memo.len() as u32;
                self.remember(index)?;
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'Q' => {
                let id = self.pop()?;
                let value = calls::persistent(id, &mut self.heap)?;
                self.stack.push(value);
            }
            _ => bail!(
                "its pickle has opcode {opcode:#04x}, which torch.save does not write: save it again with torch.save"
            ),
        }
        Ok(None)
    }

    /// Accounts for `n` more steps.
    fn charge(&mut self, n: usize) -> Result<()> {
        self.steps = self.steps.saturating_add(n);
        ensure!(
            self.steps <= MAX_STEPS,
            "its pickle has more than {MAX_STEPS} steps, far more than a network needs: save the state_dict alone"
        );
        Ok(())
    }

    fn call(&mut self, function: PickleValue<'a>, arguments: PickleValue<'a>) -> Result<()> {
        let arguments = self
            .heap
            .sequence(arguments)
            .context("its pickle calls a function without a tuple of arguments: the file is damaged")?;
        // Copied, and paid for, because a pickle may pass one long tuple again and again.
        let arguments = arguments.to_vec();
        self.charge(arguments.len())?;
        let mut cost = 0;
        let value = calls::call(function, &arguments, &mut self.heap, &mut cost)?;
        self.charge(cost)?;
        self.stack.push(value);
        Ok(())
    }

    /// Gives the object on top of the stack its state, where it is one of numpy's.
    fn build(&mut self, state: PickleValue<'a>) -> Result<()> {
        let object = self.pop()?;
        self.stack.push(object);
        let built = match self.heap.get(object) {
            Some(Object::Array(_)) => Array::built(state, &self.heap).map(Object::Array),
            Some(Object::NumberType(number)) => Some(Object::NumberType(number.built(state, &self.heap))),
            _ => None,
        };
        if let (PickleValue::Object(index), Some(built)) = (object, built) {
            self.charge(built.cost())?;
            if let Some(object) = self.heap.get_mut(index) {
                *object = built;
            }
        }
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let taken = rest
            .get(..n)
            .context("its pickle ends early: the file is truncated, get it again")?;
        self.at += n;
        Ok(taken)
    }

    /// An unsigned little-endian number of up to eight bytes.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A slice with its length, a number of `prefix` bytes, before it.
    fn counted(&mut self, prefix: usize) -> Result<&'a [u8]> {
        let length = self.number(prefix)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| *b == b'\n')
            .context("its pickle ends early: the file is truncated, get it again")?;
        let text =
            str::from_utf8(self.take(length)?).context("its pickle names a function by something that is not text")?;
        self.take(1)?;
        Ok(text)
    }

    fn push(&mut self, object: Object<'a>) {
        let value = self.heap.add(object);
        self.stack.push(value);
    }

    fn push_unsigned(&mut self, bytes: usize) -> Result<()> {
        let value = self.number(bytes)? as i64;
        self.stack.push(PickleValue::Int(value));
        Ok(())
    }

    fn long(&mut self, prefix: usize) -> Result<()> {
        let bytes = self.counted(prefix)?;
        self.stack.push(if bytes.len() > 8 {
            PickleValue::Bytes(bytes)
        } else {
            let is_negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
            let fill = if is_negative { -1i64 } else { 0 };
            PickleValue::Int(bytes.iter().rev().fold(fill, |n, b| n << 8 | i64::from(*b)))
        });
        Ok(())
    }

    fn text(&mut self, prefix: usize) -> Result<()> {
        let bytes = self.counted(prefix)?;
        self.stack.push(match str::from_utf8(bytes) {
            Ok(text) => PickleValue::Text(text),
            Err(_) => PickleValue::Bytes(bytes),
        });
        Ok(())
    }

    fn bytes(&mut self, prefix: usize) -> Result<()> {
        let bytes = self.counted(prefix)?;
        self.stack.push(PickleValue::Bytes(bytes));
        Ok(())
    }

    fn pop(&mut self) -> Result<PickleValue<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        ensure!(
            self.stack.len() > floor,
            "its pickle takes a value that is not there: the file is damaged, get it again"
        );
        self.stack.pop().context("its pickle is empty")
    }

    fn pop_mark(&mut self) -> Result<Vec<PickleValue<'a>>> {
        let mark = self
            .marks
            .pop()
            .context("its pickle closes a group that is not open: the file is damaged, get it again")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let mut items = vec![PickleValue::None; n];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Object::Sequence(items));
        Ok(())
    }

    /// The object on top of the stack, which stays there.
    fn top(&mut self) -> Result<Option<&mut Object<'a>>> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(match top {
            PickleValue::Object(index) => self.heap.get_mut(index),
            _ => None,
        })
    }

    fn append(&mut self, new: Vec<PickleValue<'a>>) -> Result<()> {
        match self.top()? {
            Some(Object::Sequence(items)) => items.extend(new),
            None => {} // Items of something opaque.
            Some(_) => bail!("its pickle appends to something that is not a list"),
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[PickleValue<'a>]) -> Result<()> {
        match self.top()? {
            Some(Object::Dict(items)) => {
                let (pairs, rest) = pairs.as_chunks::<2>();
                ensure!(
                    rest.is_empty(),
                    "its pickle sets a key without a value: the file is damaged, get it again"
                );
                items.extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            None => {}
            Some(_) => bail!("its pickle sets items of something that is not a dictionary"),
        }
        Ok(())
    }

    fn memoize(&mut self, bytes: usize) -> Result<()> {
        let index = self.number(bytes)? as u32;
        self.remember(index)
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let top = self.pop()?;
        self.stack.push(top);
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<()> {
        let index = self.number(bytes)? as u32;
        let value = self
            .memo
            .get(&index)
            .context("its pickle recalls a value that it has not kept: the file is damaged, get it again")?;
        self.stack.push(*value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_both_protocols() {
        // pickle.dumps({'a': [1, -2, (True, None)], 'b': 2**70, 'c': 1.5}, protocol) of CPython.
        let two = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xff\x88N\x86q\x03eX\x01\x00\x00\x00bq\x04\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@X\x01\x00\x00\x00cq\x05G?\xf8\x00\x00\x00\x00\x00\x00u.";
        let four = b"\x80\x04\x954\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xff\x88N\x86\x94e\x8c\x01b\x94\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@\x8c\x01c\x94G?\xf8\x00\x00\x00\x00\x00\x00u.";
        for bytes in [&two[..], four] {
            let pickle = read(bytes).unwrap();
            assert_eq!(pickle.length, bytes.len());
            let items = pickle.heap.dict(pickle.root).unwrap();
            assert_eq!(items[0].0, PickleValue::Text("a"));
            let list = pickle.heap.sequence(items[0].1).unwrap();
            assert_eq!(list[..2], [PickleValue::Int(1), PickleValue::Int(-2)]);
            let pair = pickle.heap.sequence(list[2]).unwrap();
            assert_eq!(pair, [PickleValue::Bool(true), PickleValue::None]);
            assert_eq!(items[1].1, PickleValue::Bytes(b"\0\0\0\0\0\0\0\0@"));
            assert_eq!(items[2].1, PickleValue::Opaque);
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn calls_are_refused_and_named() {
        for call in [
            &b"\x80\x02cos\nsystem\nq\x00X\x0a\x00\x00\x00touch owndq\x01\x85q\x02Rq\x03."[..],
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.",
            b"\x80\x02cos\nsystem\n)\x81.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",
        ] {
            let error = read(call).unwrap_err().to_string();
            assert!(error.contains("os.system"), "{error}");
        }
        // A name that nobody calls does nothing; the text opcodes of protocol 0 that could call are not known.
        assert_eq!(
            read(b"cos\nsystem\n.").unwrap().root,
            PickleValue::Global("os", "system")
        );
        assert!(read(b"(S'ls'\nios\nsystem\n.").is_err());
        assert!(read(b"(cos\nsystem\nS'ls'\no.").is_err());
    }

    #[test]
    fn dictionaries_of_python_2() {
        let bytes = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R.";
        let pickle = read(bytes).unwrap();
        let items = [("a", 1), ("b", 2)].map(|(key, n)| (PickleValue::Text(key), PickleValue::Int(n)));
        assert_eq!(pickle.heap.dict(pickle.root), Some(&items[..]));
    }

    #[test]
    fn a_key_without_a_value_is_refused() {
        let error = read(b"}(K\x01K\x02K\x03u.").unwrap_err().to_string();
        assert!(error.contains("without a value"), "{error}");
    }

    /// What `pickle.dumps([b"", range(3)], 2)` calls.
    #[test]
    fn plain_values_of_protocol_2_are_passed_over() {
        let bytes = b"\x80\x02](c__builtin__\nbytes\n)Rc__builtin__\nxrange\nK\x00K\x03K\x01\x87Re.";
        let pickle = read(bytes).unwrap();
        assert_eq!(
            pickle.heap.sequence(pickle.root),
            Some(&[PickleValue::Opaque, PickleValue::Opaque][..])
        );
        assert_eq!(pickle.heap.skipped().count(), 0);
    }

    #[test]
    fn memory_and_time_are_bounded() {
        let endless = vec![b')'; MAX_STEPS + 1];
        assert!(read(&endless).unwrap_err().to_string().contains("steps"));
        // A list of many pairs, made into a dictionary again and again.
        let mut bomb = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(".to_vec();
        bomb.extend(b"NN\x86".repeat(100_000));
        bomb.extend(b"e0");
        bomb.extend(b"h\x00h\x01\x85R0".repeat(100_000));
        bomb.push(b'.');
        assert!(read(&bomb).unwrap_err().to_string().contains("steps"));
        // One tuple of 64 numbers as shape and strides of many tensors.
        let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00wX\x03\x00\x00\x00cpuK\x01tQ";
        let mut wide = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((".to_vec();
        wide.extend(b"K\x01".repeat(64));
        wide.extend(b"tq\x010");
        wide.extend(storage);
        wide.extend(b"K\x00h\x01h\x01tq\x020");
        wide.extend(b"h\x00h\x02R0".repeat(20_000));
        wide.push(b'.');
        assert!(read(&wide).unwrap_err().to_string().contains("steps"));
        // A list that holds itself.
        let cycle = read(b"]q\x00h\x00a.").unwrap();
        assert_eq!(cycle.heap.sequence(cycle.root), Some(&[cycle.root][..]));
    }
}
