//! Regions of a mask: which pixels belong together, and where their borders run, exactly along the borders of pixels.

use std::collections::HashMap;

use super::{BACKGROUND, IGNORED};

/// A closed line along the borders of pixels: corners `[x, y]`, the last joined to the first. What it is the border of
/// lies to its right.
pub type Ring = Vec<[u32; 2]>;

/// Pixels of one value that touch, by a side or by a corner.
#[derive(Clone, PartialEq, Debug)]
pub struct Region {
    /// The mask value.
    pub value: u8,
    /// How many pixels.
    pub area: u64,
    /// Bounding box `[x, y, width, height]` in pixels.
    pub bounds: [u32; 4],
    /// The outer border, then those of its holes.
    pub rings: Vec<Ring>,
    /// How sure its maker is, in [0, 1]; `None` where nobody says.
    pub score: Option<f32>,
    id: u32,
}

/// The regions of a mask.
#[derive(Clone, Debug)]
pub struct Regions {
    /// Width of the mask in pixels.
    pub width: u32,
    /// Height of the mask in pixels.
    pub height: u32,
    /// The regions, in the order of their first pixels.
    pub list: Vec<Region>,
    /// The region of every pixel, row by row [H, W]; 0 for none.
    ids: Vec<u32>,
}

/// Directions along a ring, in the order of turns to the right: east, south, west, north.
const STEPS: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
/// Pixels around a corner, as offsets: to the left of the way ahead in direction d is number d, to the right d + 1.
const AROUND: [[i64; 2]; 4] = [[0, -1], [0, 0], [-1, 0], [-1, -1]];
const EAST: usize = 0;

impl Regions {
    /// The regions of a mask, row by row [height, width]; background is none.
    pub fn of(mask: &[u8], width: u32, height: u32) -> Regions {
        let mut regions = Regions {
            width,
            height,
            list: Vec::new(),
            ids: vec![0; mask.len()],
        };
        for start in 0..mask.len() {
            if mask[start] != BACKGROUND && regions.ids[start] == 0 {
                let region = regions.flood(mask, start);
                regions.list.push(region);
            }
        }
        regions.trace();
        regions
    }

    /// Takes out regions of classes with fewer than `least` pixels, also out of `mask`, and returns how many there were.
    pub fn drop_small(&mut self, least: u64, mask: &mut [u8]) -> usize {
        let is_small = |region: &Region| region.value != IGNORED && region.area < least;
        let small: Vec<Region> = self.list.iter().filter(|r| is_small(r)).cloned().collect();
        for region in &small {
            self.each_pixel(region, |at| mask[at] = BACKGROUND);
        }
        self.list.retain(|region| !is_small(region));
        small.len()
    }

    /// Calls `each` with the index into [H, W] of every pixel of a region, row by row.
    pub fn each_pixel(&self, region: &Region, mut each: impl FnMut(usize)) {
        let [left, top, width, height] = region.bounds;
        for y in top..top + height {
            let row = y as usize * self.width as usize;
            for at in row + left as usize..row + (left + width) as usize {
                if self.ids[at] == region.id {
                    each(at);
                }
            }
        }
    }

    /// Whether a pixel is the region's.
    pub fn has(&self, region: &Region, x: u32, y: u32) -> bool {
        self.id(i64::from(x), i64::from(y)) == region.id
    }

    /// The border of a region as one ring: a hole is joined to the border at its left by an edge that leads there and
    /// back, over the region, so that the even-odd rule fills the region and no more.
    pub fn joined(&self, region: &Region) -> Ring {
        match region.rings.as_slice() {
            [outer] => outer.clone(),
            rings => Joint::of(rings).joined(rings, |x, y| self.has(region, x, y), self.height),
        }
    }

    fn id(&self, x: i64, y: i64) -> u32 {
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        match inside {
            true => self.ids[y as usize * self.width as usize + x as usize],
            false => 0,
        }
    }

    /// Numbers the pixels of the region that `start` is in.
    fn flood(&mut self, mask: &[u8], start: usize) -> Region {
        let id = self.list.len() as u32 + 1;
        let (width, height) = (self.width as usize, self.height as usize);
        let (mut low, mut high) = ([usize::MAX; 2], [0; 2]);
        let mut area = 0;
        let mut open = vec![start];
        self.ids[start] = id;
        while let Some(at) = open.pop() {
            let (x, y) = (at % width, at / width);
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x), high[1].max(y)];
            area += 1;
            for v in y.saturating_sub(1)..(y + 2).min(height) {
                for u in x.saturating_sub(1)..(x + 2).min(width) {
                    let other = v * width + u;
                    if self.ids[other] == 0 && mask[other] == mask[start] {
                        self.ids[other] = id;
                        open.push(other);
                    }
                }
            }
        }
        let [left, top] = low.map(|v| v as u32);
        let [right, bottom] = high.map(|v| v as u32);
        Region {
            value: mask[start],
            area,
            bounds: [left, top, right - left + 1, bottom - top + 1],
            rings: Vec::new(),
            score: None,
            id,
        }
    }

    /// Finds the borders of all regions. Each begins with the upper side of a pixel, and the first of a region is the
    /// outer one, since nothing of the region lies above.
    fn trace(&mut self) {
        let mut seen = vec![false; self.ids.len()];
        for at in 0..self.ids.len() {
            let id = self.ids[at];
            let (x, y) = ((at % self.width as usize) as i64, (at / self.width as usize) as i64);
            if id != 0 && !seen[at] && self.id(x, y - 1) != id {
                let ring = self.ring([x, y], id, &mut seen);
                self.list[id as usize - 1].rings.push(ring);
            }
        }
    }

    /// The border that runs east from `start`. Where two pixels of the region touch by a corner, it goes from one to the
    /// other.
    fn ring(&self, start: [i64; 2], id: u32, seen: &mut [bool]) -> Ring {
        let mut ring = Vec::new();
        let (mut at, mut heading) = (start, EAST);
        loop {
            if heading == EAST {
                seen[at[1] as usize * self.width as usize + at[0] as usize] = true;
            }
            at = [at[0] + STEPS[heading][0], at[1] + STEPS[heading][1]];
            let ahead = |side: usize| {
                let [x, y] = AROUND[(heading + side) % 4];
                self.id(at[0] + x, at[1] + y) == id
            };
            let turn = match (ahead(0), ahead(1)) {
                (true, _) => 3,
                (false, true) => 0,
                (false, false) => 1,
            };
            if turn != 0 {
                ring.push(at.map(|v| v as u32));
            }
            heading = (heading + turn) % 4;
            if at == start && heading == EAST {
                return ring;
            }
        }
    }
}

/// A corner of rings that are being joined.
#[derive(Clone, Copy)]
struct Corner {
    at: [u32; 2],
    next: usize,
    before: usize,
}

/// Rings that are being joined into one.
struct Joint {
    corners: Vec<Corner>,
    /// The corner at a place from which an edge runs north, or else south.
    leaving: HashMap<([u32; 2], bool), usize>,
}

impl Joint {
    fn of(rings: &[Ring]) -> Joint {
        let mut joint = Joint {
            corners: Vec::new(),
            leaving: HashMap::new(),
        };
        for ring in rings {
            let (first, count) = (joint.corners.len(), ring.len());
            for (k, at) in ring.iter().enumerate() {
                let next = ring[(k + 1) % count];
                if next[0] == at[0] {
                    joint.leaving.insert((*at, next[1] < at[1]), first + k);
                }
                joint.corners.push(Corner {
                    at: *at,
                    next: first + (k + 1) % count,
                    before: first + (k + count - 1) % count,
                });
            }
        }
        joint
    }

    fn joined(mut self, rings: &[Ring], is_inside: impl Fn(u32, u32) -> bool, height: u32) -> Ring {
        for hole in &rings[1..] {
            // The upper end of its left side, from which the region lies to the left.
            let Some(&corner) = hole.iter().min() else { continue };
            let [right, y] = corner;
            let mut left = right;
            while left > 0 && is_inside(left - 1, y) {
                left -= 1;
            }
            let edge = (y + 1..=height).find_map(|below| self.leaving.get(&([left, below], true)));
            if let (Some(&from), Some(&start)) = (edge, self.leaving.get(&(corner, false))) {
                self.join(from, [left, y], start);
            }
        }
        let mut ring = Vec::new();
        let mut corner = 0;
        loop {
            ring.push(self.corners[corner].at);
            corner = self.corners[corner].next;
            if corner == 0 {
                return ring;
            }
        }
    }

    /// Leaves the edge that runs north from the corner `from` at `place` for the hole that begins with `start`, and
    /// comes back.
    fn join(&mut self, from: usize, place: [u32; 2], start: usize) {
        let (after, last) = (self.corners[from].next, self.corners[start].before);
        let leave = self.add(place);
        let back = self.add(self.corners[start].at);
        self.link(from, leave);
        self.link(leave, start);
        self.link(last, back);
        if self.corners[after].at == place {
            self.link(back, after);
        } else {
            let again = self.add(place);
            self.link(back, again);
            self.link(again, after);
            self.leaving.insert((place, true), again);
        }
    }

    fn add(&mut self, at: [u32; 2]) -> usize {
        self.corners.push(Corner { at, next: 0, before: 0 });
        self.corners.len() - 1
    }

    fn link(&mut self, from: usize, to: usize) {
        self.corners[from].next = to;
        self.corners[to].before = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::polygon::fill;

    fn points(ring: &Ring) -> Vec<[f32; 2]> {
        ring.iter().map(|at| at.map(|v| v as f32)).collect()
    }

    /// Masks of noise, thin and thick, have every kind of hole, corner and island.
    #[test]
    fn joined_rings_fill_the_pixels_of_the_mask_and_no_others() {
        let mut state = 7_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut holes = 0;
        for round in 0..60 {
            let (width, height) = (1 + random(24), 1 + random(24));
            let kinds = 2 + round % 3;
            let mut mask: Vec<u8> = Vec::new();
            for _ in 0..width * height {
                let value = random(kinds + round % 5) as u8;
                mask.push(if u32::from(value) >= kinds { 1 } else { value });
            }
            let regions = Regions::of(&mask, width, height);
            let mut painted = vec![0; mask.len()];
            let mut area = 0;
            for region in &regions.list {
                let ring = points(&regions.joined(region));
                let runs = fill(&ring, height, width);
                assert_eq!(runs.area(), region.area, "{width} x {height}: {mask:?}");
                runs.paint(&mut painted, height, width, region.value);
                area += region.area;
                holes += region.rings.len() - 1;
                let outer = fill(&points(&region.rings[0]), height, width).area();
                let inner: u64 = region.rings[1..]
                    .iter()
                    .map(|r| fill(&points(r), height, width).area())
                    .sum();
                assert_eq!(outer - inner, region.area);
            }
            assert_eq!(painted, mask);
            assert_eq!(area, mask.iter().filter(|v| **v != 0).count() as u64);
        }
        assert!(holes > 100, "{holes}");
    }

    #[test]
    fn corners_join_regions_and_small_ones_are_dropped() {
        let mut mask = [1, 0, 0, 0, 1, 0, 2, 0, 255];
        let mut regions = Regions::of(&mask, 3, 3);
        assert_eq!(regions.list.len(), 3);
        assert_eq!((regions.list[0].area, regions.list[0].bounds), (2, [0, 0, 2, 2]));
        assert_eq!(regions.drop_small(2, &mut mask), 1);
        assert_eq!(mask, [1, 0, 0, 0, 1, 0, 0, 0, 255]);
        let values: Vec<u8> = regions.list.iter().map(|r| r.value).collect();
        assert_eq!(values, [1, 255]);
    }
}
