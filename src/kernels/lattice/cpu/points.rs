//! Lattice points as packed keys, and the hash table that numbers them.

/// A lattice point's coordinates as one number.
pub trait Key: Copy + Eq + Default + Send + Sync {
    /// `None` where `value` does not fit.
    fn from_u128(value: u128) -> Option<Self>;
    /// The number of `value` modulo the size of the type.
    fn from_i32(value: i32) -> Self;
    /// Wrapping.
    fn add(self, other: Self) -> Self;
    /// Wrapping.
    fn sub(self, other: Self) -> Self;
    /// Wrapping.
    fn mul(self, other: Self) -> Self;
    /// 64 bits of which the upper ones are well mixed.
    fn hash(self) -> u64;
}

macro_rules! key {
    ($type:ty, $hash:expr) => {
        impl Key for $type {
            #[inline(always)]
            fn from_u128(value: u128) -> Option<Self> {
                <$type>::try_from(value).ok()
            }
            #[inline(always)]
            fn from_i32(value: i32) -> Self {
                value as $type
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn hash(self) -> u64 {
                let hash: fn($type) -> u64 = $hash;
                hash(self)
            }
        }
    };
}
key!(u64, mix);
key!(u128, |key| mix(mix((key >> 64) as u64) ^ key as u64));

/// Multiply, fold, multiply: neighbouring keys land far apart.
#[inline(always)]
fn mix(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (product ^ (product >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// A hash table of lattice points with open addressing, which grows as they come.
pub struct Points<K> {
    /// In the order of insertion; point p is `keys[p - 1]`.
    keys: Vec<K>,
    /// A key and its point, 0 where the slot is free.
    slots: Vec<(K, u32)>,
    /// How far a hash is shifted down to index `slots`.
    shift: u32,
}

impl<K: Key> Points<K> {
    /// Without points.
    pub fn new() -> Self {
        let bits = 12;
        Self {
            keys: Vec::new(),
            slots: vec![(K::default(), 0); 1 << bits],
            shift: 64 - bits,
        }
    }

    /// All keys; that of point p at p - 1.
    pub fn keys(&self) -> &[K] {
        &self.keys
    }

    /// The slot of `key`, or the free one where it belongs; `None` where there is neither.
    #[inline(always)]
    fn slot(&self, key: K) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let first = (key.hash() >> self.shift) as usize;
        (first..=first + mask).map(|slot| slot & mask).find(|slot| {
            let (there, point) = self.slots[*slot];
            point == 0 || there == key
        })
    }

    /// The point of `key`, 0 if there is none.
    #[inline(always)]
    pub fn find(&self, key: K) -> u32 {
        self.slot(key).map_or(0, |slot| self.slots[slot].1)
    }

    /// The point of `key`, the next free number if there is none.
    #[inline(always)]
    pub fn insert(&mut self, key: K) -> u32 {
        match self.slot(key).map(|slot| (slot, self.slots[slot].1)) {
            Some((slot, 0)) => self.push(key, slot),
            Some((_, point)) => point,
            None => self.push_into_full(key),
        }
    }

    #[inline(never)]
    fn push(&mut self, key: K, slot: usize) -> u32 {
        self.keys.push(key);
        let point = self.keys.len() as u32;
        self.slots[slot] = (key, point);
        if 2 * self.keys.len() > self.slots.len() {
            self.grow();
        }
        point
    }

    #[cold]
    fn push_into_full(&mut self, key: K) -> u32 {
        loop {
            self.grow();
            if let Some(slot) = self.slot(key) {
                return self.push(key, slot);
            }
        }
    }

    /// Twice as many slots.
    fn grow(&mut self) {
        self.slots = vec![(K::default(), 0); 2 * self.slots.len()];
        self.shift -= 1;
        for (i, key) in self.keys.iter().enumerate() {
            // All keys have room in half of the slots.
            if let Some(slot) = self.slot(*key) {
                self.slots[slot] = (*key, i as u32 + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_searched_once_and_grows() {
        let mut points = Points {
            keys: vec![70u64, 71, 72, 73],
            slots: vec![(73, 4), (71, 2), (70, 1), (72, 3)],
            shift: 62,
        };
        assert_eq!(points.find(99), 0);
        assert_eq!(points.insert(99), 5);
        let found = [70, 71, 72, 73, 99, 100].map(|key| points.find(key));
        assert_eq!(found, [1, 2, 3, 4, 5, 0]);
    }
}
