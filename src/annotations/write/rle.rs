//! Regions as COCO's runs, and runs as its compressed strings (`rleToString` of `maskApi.c`).

use crate::annotations::contour::{Region, Regions};
use crate::annotations::rle::Runs;

/// The runs of some of the regions in the whole mask.
pub fn runs<'a>(regions: &Regions, wanted: impl Iterator<Item = &'a Region>) -> Runs {
    let height = regions.height;
    let mut ones: Vec<[u32; 2]> = Vec::new();
    for region in wanted {
        let [left, top, wide, high] = region.bounds;
        for x in left..left + wide {
            for y in top..top + high {
                if !regions.has(region, x, y) {
                    continue;
                }
                let at = x * height + y;
                match ones.last_mut() {
                    Some([_, end]) if *end == at => *end += 1,
                    _ => ones.push([at, at + 1]),
                }
            }
        }
    }
    ones.sort_unstable();
    let mut counts = Vec::new();
    let mut before = 0;
    for [start, end] in ones {
        match counts.last_mut() {
            // Runs of two regions may meet.
            Some(last) if start == before => *last += end - start,
            _ => counts.extend([start - before, end - start]),
        }
        before = end;
    }
    counts.push(height * regions.width - before);
    Runs {
        height,
        width: regions.width,
        counts,
    }
}

/// Runs as COCO's string: five bits a character from `0` on, the lowest first, the sixth bit set where more follow; from
/// the fourth number on, differences to the number before the last.
pub fn string(runs: &Runs) -> String {
    let mut text = String::new();
    for (index, &count) in runs.counts.iter().enumerate() {
        let mut number = i64::from(count);
        if index > 2 {
            number -= i64::from(runs.counts[index - 2]);
        }
        loop {
            let bits = (number & 0x1f) as u8;
            number >>= 5;
            let more = if bits & 0x10 != 0 { number != -1 } else { number != 0 };
            text.push((bits + if more { 0x20 } else { 0 } + b'0') as char);
            if !more {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back() {
        for counts in [
            vec![6],
            vec![0, 6],
            vec![1, 2, 3],
            vec![0, 900, 1, 70_000, 2, 31, 32, 1, 5],
        ] {
            let size = counts.iter().sum();
            let runs = Runs::new(1, size, counts).unwrap();
            assert_eq!(Runs::from_string(1, size, &string(&runs)).unwrap(), runs);
        }
        // As pycocotools 2.0 encodes a 3 x 3 mask whose centre is set.
        let runs = Runs::new(3, 3, vec![4, 1, 4]).unwrap();
        assert_eq!(string(&runs), "414");
    }

    #[test]
    fn regions_are_the_runs_of_their_pixels() {
        let mask = [1, 1, 0, 1, 0, 2, 2, 2, 1, 1, 1, 1];
        let regions = Regions::of(&mask, 3, 4);
        for region in &regions.list {
            let found = runs(&regions, std::iter::once(region));
            let expected = Runs::of(4, 3, |x, y| regions.has(region, x, y));
            assert_eq!(found, Runs::new(4, 3, found.counts.clone()).unwrap());
            let mut painted = [[0; 12]; 2];
            found.paint(&mut painted[0], 4, 3, 1);
            expected.paint(&mut painted[1], 4, 3, 1);
            assert_eq!(painted[0], painted[1]);
        }
        let all = runs(&regions, regions.list.iter());
        assert_eq!(all.area(), 10);
    }
}
