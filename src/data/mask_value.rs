//! What a pixel of a mask says.

use std::fmt;

/// The value of a pixel in a mask: 0 is background, c + 1 is class c, 255 is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaskValue(u8);

impl MaskValue {
    /// What is of no class.
    pub const BACKGROUND: MaskValue = MaskValue(0);
    /// What nobody knows, or that does not count.
    pub const IGNORED: MaskValue = MaskValue(255);
    /// The most classes that masks tell apart, 254.
    pub const MOST_CLASSES: usize = 254;

    /// The value of class `class`, an index into a data set's class names; `None` from 254 on.
    pub fn of_class(class: usize) -> Option<MaskValue> {
        MaskValue::of_channel(class.checked_add(1)?)
    }

    /// The value of channel `channel` of scores, whose first is the background; `None` from 255 on, which would be
    /// ignored.
    pub fn of_channel(channel: usize) -> Option<MaskValue> {
        let value = u8::try_from(channel).ok().map(MaskValue)?;
        (value != MaskValue::IGNORED).then_some(value)
    }

    /// The class that a pixel of this value is of; `None` for background and what is ignored.
    pub fn class(self) -> Option<usize> {
        match self {
            MaskValue::IGNORED => None,
            MaskValue(value) => usize::from(value).checked_sub(1),
        }
    }

    /// Whether a mask of `classes` classes may hold it.
    pub fn is_within(self, classes: usize) -> bool {
        self == MaskValue::IGNORED || usize::from(self.0) <= classes
    }

    /// As a mask stores it.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for MaskValue {
    fn from(value: u8) -> MaskValue {
        MaskValue(value)
    }
}

impl From<MaskValue> for u8 {
    fn from(value: MaskValue) -> u8 {
        value.0
    }
}

impl From<MaskValue> for i32 {
    fn from(value: MaskValue) -> i32 {
        i32::from(value.0)
    }
}

impl fmt::Display for MaskValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_values_are_one_apart_up_to_what_a_byte_holds() {
        for class in 0..MaskValue::MOST_CLASSES {
            let value = MaskValue::of_class(class).unwrap();
            assert_eq!(usize::from(value.get()), class + 1);
            assert_eq!(value.class(), Some(class));
            assert!(value.is_within(class + 1) && !value.is_within(class));
        }
        for class in [254, 255, usize::MAX] {
            assert_eq!(MaskValue::of_class(class), None);
        }
        assert_eq!(MaskValue::of_channel(0), Some(MaskValue::BACKGROUND));
        assert_eq!(MaskValue::of_channel(255), None);
        for value in [MaskValue::BACKGROUND, MaskValue::IGNORED] {
            assert_eq!(value.class(), None);
            assert!(value.is_within(0));
        }
    }
}
