//! Polygons as pixels: a pixel is inside where its centre is, by the even-odd rule.

use super::rle::Runs;

/// Vertices are rounded to this part of a pixel, as in `rleFrPoly` of COCO's `maskApi.c`, so that masks agree with those
/// that pycocotools makes of the same polygon.
const STEPS: i64 = 5;

/// The farthest that a vertex may lie from the image, in steps: beyond any image, and near enough for exact products.
const FAR: f64 = 1e9;

/// The pixels of a ring of points `[x, y]`, which is closed from its last to its first; what lies outside of the image
/// is cut off. Fewer than three points, or one that is no number, enclose nothing.
pub fn fill(ring: &[[f32; 2]], height: u32, width: u32) -> Runs {
    let nothing = || Runs {
        height,
        width,
        counts: vec![height * width],
    };
    if ring.len() < 3 || ring.iter().flatten().any(|v| v.is_nan()) {
        return nothing();
    }
    let vertices: Vec<[i64; 2]> = ring.iter().map(|point| point.map(steps)).collect();
    let mut crossings = Vec::new();
    // A ring can cross every column once per edge; those that meet cancel, so that no ring takes more than an image.
    let mut room = (2 * height as usize * width as usize).max(1 << 16);
    for (index, &from) in vertices.iter().enumerate() {
        cross(
            from,
            vertices[(index + 1) % vertices.len()],
            height,
            width,
            &mut crossings,
        );
        if crossings.len() > room {
            cancel(&mut crossings);
            room = room.max(2 * crossings.len());
        }
    }
    cancel(&mut crossings);
    crossings.retain(|&crossing| crossing < height * width);
    crossings.push(height * width);
    let mut before = 0;
    let length = |crossing| crossing - std::mem::replace(&mut before, crossing);
    Runs {
        height,
        width,
        counts: crossings.into_iter().map(length).collect(),
    }
}

/// Sorts crossings and leaves those that are there an odd number of times, once.
fn cancel(crossings: &mut Vec<u32>) {
    crossings.sort_unstable();
    let mut odd: Vec<u32> = Vec::new();
    for &crossing in crossings.iter() {
        if odd.last() == Some(&crossing) {
            odd.pop();
        } else {
            odd.push(crossing);
        }
    }
    *crossings = odd;
}

/// A coordinate in steps. Single precision keeps decimals to thousandths of a pixel, to which it is rounded first: so
/// 10.7 falls on the same step as in double precision.
fn steps(value: f32) -> i64 {
    let value = (f64::from(value) * 1000.0).round() / 1000.0;
    (STEPS as f64 * value + 0.5).clamp(-FAR, FAR) as i64
}

/// Where the edge crosses the centres of the image's columns: numbers of pixels, down the columns, of the first that
/// lies below.
fn cross(from: [i64; 2], to: [i64; 2], height: u32, width: u32, crossings: &mut Vec<u32>) {
    let [dx, dy] = [(to[0] - from[0]).abs(), (to[1] - from[1]).abs()];
    if dx == 0 {
        return;
    }
    // An edge is followed along its longer side in one direction, so that two polygons that share it agree on it.
    let shallow = dx >= dy;
    let backwards = if shallow { from[0] > to[0] } else { from[1] > to[1] };
    let (start, end) = if backwards { (to, from) } else { (from, to) };
    let along = |axis: usize, other: i64, t: i64| {
        let slope = (end[axis] - start[axis]) as f64 / other as f64;
        (start[axis] as f64 + slope * t as f64 + 0.5) as i64
    };
    let (left, right) = (from[0].min(to[0]), from[0].max(to[0]));
    // The centre of column c lies between the steps 5c + 2 and 5c + 3.
    let half = STEPS / 2;
    let first = (left - half).max(0).div_euclid(STEPS) + i64::from((left - half).max(0) % STEPS != 0);
    for column in first..i64::from(width) {
        let before = column * STEPS + half;
        if before + 1 > right {
            break;
        }
        let y = if shallow {
            let t = before - start[0];
            along(1, dx, t).min(along(1, dx, t + 1))
        } else {
            let x = |t: i64| along(0, dy, t);
            let rising = end[0] > start[0];
            // The first step along the edge on the far side of the column's centre.
            let past = |t: i64| if rising { x(t) > before } else { x(t) <= before };
            let slope = (end[0] - start[0]) as f64 / dy as f64;
            let guess = ((before as f64 + 0.5 - start[0] as f64) / slope) as i64;
            let mut t = guess.clamp(1, dy);
            while t > 1 && past(t - 1) {
                t -= 1;
            }
            while t < dy && !past(t) {
                t += 1;
            }
            // Of the two steps around the crossing, the upper one.
            start[1] + t - 1
        };
        let y = ((y as f64 + 0.5) / STEPS as f64 - 0.5)
            .clamp(0.0, f64::from(height))
            .ceil();
        crossings.push(column as u32 * height + y as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        height: u32,
        width: u32,
        polygon: Vec<f32>,
        counts: Vec<u32>,
        compressed: String,
    }

    /// `tests/data/coco_masks.json` is from pycocotools 2 (`frPyObjects`, `merge`, `decode`): forty polygons of 3 to 12
    /// random vertices, many of them crossing themselves and half of them reaching out of the image.
    #[test]
    fn pixels_are_those_of_pycocotools() {
        let text = include_str!("../../tests/data/coco_masks.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert_eq!(cases.len(), 40);
        for case in cases {
            let ours = fill(case.polygon.as_chunks().0, case.height, case.width);
            assert_eq!(ours.counts, case.counts, "{:?}", case.polygon);
            let theirs = Runs::from_string(case.height, case.width, &case.compressed).unwrap();
            assert_eq!(theirs, ours);
        }
    }
}
