//! Masks as runs of equal pixels, as COCO has them: column by column, beginning with a run of zeros (`maskApi.c`).

use anyhow::{Result, bail, ensure};

/// A mask of zeros and ones as the lengths of its runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runs {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Lengths of the runs through the columns from the left, each from its top: zeros, ones, zeros and so on. They add
    /// up to `height * width`; the first may be 0.
    pub counts: Vec<u32>,
}

impl Runs {
    /// Runs whose lengths add up to the size of the mask.
    ///
    /// # Errors
    /// Where they do not.
    pub fn new(height: u32, width: u32, counts: Vec<u32>) -> Result<Runs> {
        let sum: u64 = counts.iter().map(|&n| u64::from(n)).sum();
        let size = u64::from(height) * u64::from(width);
        ensure!(
            sum == size,
            "the runs of a mask add up to {sum} pixels, not to the {size} of {width}x{height}"
        );
        Ok(Runs { height, width, counts })
    }

    /// Runs from COCO's compressed string: numbers of five bits a character from `0` on, the lowest first, the sixth bit
    /// set where more follow; from the fourth number on, differences to the number before the last.
    ///
    /// # Errors
    /// Where a character is none of these, a number is cut off or no length, or the lengths do not add up to the size.
    pub fn from_string(height: u32, width: u32, text: &str) -> Result<Runs> {
        let mut counts: Vec<u32> = Vec::new();
        let (mut number, mut shift) = (0_i64, 0);
        for byte in text.bytes() {
            let bits = match byte {
                b'0'..=b'o' => i64::from(byte - b'0'),
                _ => bail!(
                    "the runs of a mask have the character {:?}, which COCO's strings do not",
                    byte as char
                ),
            };
            ensure!(shift <= 35, "a run of a mask is longer than any image");
            number |= (bits & 0x1f) << shift;
            shift += 5;
            if bits & 0x20 != 0 {
                continue;
            }
            if bits & 0x10 != 0 {
                number |= -1 << shift;
            }
            if counts.len() > 2 {
                number += i64::from(counts[counts.len() - 2]);
            }
            match u32::try_from(number) {
                Ok(count) => counts.push(count),
                Err(_) => bail!("the runs of a mask have the length {number}"),
            }
            (number, shift) = (0, 0);
        }
        ensure!(shift == 0, "the runs of a mask are cut off");
        Runs::new(height, width, counts)
    }

    /// The runs of the mask whose pixel (x, y) is a one where `is_one` says so.
    pub fn of(height: u32, width: u32, is_one: impl Fn(u32, u32) -> bool) -> Runs {
        Runs::in_corner([0, 0], [height, width], is_one)
    }

    /// The runs of a mask of zeros in whose lower right corner lies one of `size` (height, width), whose pixel (x, y) is a
    /// one where `is_one` says so, with `before` rows above it and columns left of it. All of it has at most `u32::MAX`
    /// pixels; what is before takes no time.
    pub fn in_corner(before: [u32; 2], size: [u32; 2], is_one: impl Fn(u32, u32) -> bool) -> Runs {
        let [height, width] = [before[0] + size[0], before[1] + size[1]];
        let mut counts = vec![height * before[1]];
        let mut push = |is_one: bool, length: u32| {
            if length > 0 && is_one != (counts.len() % 2 == 0) {
                counts.push(0);
            }
            if let Some(last) = counts.last_mut() {
                *last += length;
            }
        };
        for x in 0..size[1] {
            push(false, before[0]);
            for y in 0..size[0] {
                push(is_one(x, y), 1);
            }
        }
        Runs { height, width, counts }
    }

    /// How many pixels are ones.
    pub fn area(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).map(|&n| u64::from(n)).sum()
    }

    /// Sets the pixels that are ones to `value` in `mask`, row by row [height, width]. Where the mask has another size,
    /// what lies outside of it is left out.
    pub fn paint(&self, mask: &mut [u8], height: u32, width: u32, value: u8) {
        let (rows, columns) = (height as usize, width as usize);
        let own = self.height as usize;
        let mut at = 0_usize;
        for (index, &count) in self.counts.iter().enumerate() {
            let end = at.saturating_add(count as usize).min(own * self.width as usize);
            if index % 2 == 1 {
                for pixel in at..end {
                    let (x, y) = (pixel / own, pixel % own);
                    if x < columns && y < rows {
                        mask[y * columns + x] = value;
                    }
                }
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_down_the_columns() {
        let runs = Runs::new(2, 3, vec![1, 2, 3]).unwrap();
        let mut mask = [0; 6];
        runs.paint(&mut mask, 2, 3, 7);
        assert_eq!(mask, [0, 7, 0, 7, 0, 0]);
        assert_eq!(runs.area(), 2);
        assert_eq!(Runs::of(2, 3, |x, y| mask[(y * 3 + x) as usize] == 7), runs);
        assert_eq!(Runs::of(2, 1, |_, _| true).counts, [0, 2]);
        let corner = Runs::in_corner([1, 2], [2, 2], |x, y| x == y);
        let whole = Runs::of(3, 4, |x, y| x >= 2 && y >= 1 && x - 2 == y - 1);
        assert_eq!(corner, whole);
        // Far away costs nothing.
        assert_eq!(Runs::in_corner([65_534, 65_534], [1, 1], |_, _| true).area(), 1);
        // Into a smaller mask: what fits.
        let mut small = [0; 2];
        runs.paint(&mut small, 1, 2, 7);
        assert_eq!(small, [0, 7]);
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        for (counts, part) in [(vec![1, 2], "add up to 3"), (vec![u32::MAX, 9], "add up to 4294967304")] {
            let error = Runs::new(2, 3, counts).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        for (text, part) in [
            ("6 ", "' '"),
            ("é", "which COCO's"),
            ("l", "cut off"),
            ("oooooooooooooooo0", "longer than any"),
            ("O", "length -1"),
            ("111N", "length -1"),
            ("7", "add up to 7"),
        ] {
            let error = Runs::from_string(2, 3, text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(Runs::from_string(2, 3, "123").unwrap().counts, [1, 2, 3]);
    }
}
