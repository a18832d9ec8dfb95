//! Regions of COCO's annotations.

use anyhow::{Result, bail, ensure};

use super::rows::{Counts, RegionRow, Ring, Segmentation};
use crate::annotations::rle::Runs;
use crate::annotations::{Part, Shape};

/// What the row says of class `class` in an image of `size` (width, height), with its area in pixels; `None` where it
/// has neither region nor box.
///
/// # Errors
/// What is wrong with the region: numbers that are none, half a point, runs of another size than the image's.
pub(super) fn part(row: RegionRow, class: Option<usize>, size: (u32, u32)) -> Result<Option<(f64, Part)>> {
    let boxed = match row.bbox.as_deref() {
        None | Some([]) => None,
        Some(&[x, y, width, height]) => Some([x, y, width, height]),
        Some(_) => bail!("a box is not of the form [x, y, width, height]"),
    };
    let shape = match row.segmentation {
        Some(Segmentation::Runs { size: own, counts }) => Some(Shape::Runs(runs(own, counts, size)?)),
        Some(Segmentation::Polygons(rings)) => polygons(rings)?.map(Shape::Polygons),
        None => None,
    };
    let Some(shape) = shape.or(boxed.map(Shape::Box)) else {
        return Ok(None);
    };
    if let Shape::Box(sides) = &shape {
        ensure!(
            sides.iter().all(|v| v.is_finite()),
            "a box has a number that is not finite"
        );
    }
    let area = row.area.filter(|area| area.is_finite()).unwrap_or_else(|| area(&shape));
    let score = row.score.filter(|score| score.is_finite());
    Ok(Some((area, Part { class, shape, score })))
}

fn runs(own: [u32; 2], counts: Counts, (width, height): (u32, u32)) -> Result<Runs> {
    ensure!(
        own == [height, width],
        "the runs of a mask are of {} x {}, but the image is {width} x {height}",
        own[1],
        own[0]
    );
    match counts {
        Counts::Plain(counts) => Runs::new(height, width, counts),
        Counts::Compressed(text) => Runs::from_string(height, width, &text),
    }
}

/// The rings, without those of fewer than three points; `None` where there is no number at all.
fn polygons(rings: Vec<Ring>) -> Result<Option<Vec<Vec<[f32; 2]>>>> {
    let mut loose: Vec<f32> = Vec::new();
    let mut found: Vec<Vec<[f32; 2]>> = Vec::new();
    for ring in rings {
        match ring {
            Ring::Flat(numbers) => found.push(points(&numbers)?),
            Ring::Points(points) => found.push(points),
            Ring::Number(number) => loose.push(number),
        }
    }
    if !loose.is_empty() {
        found.push(points(&loose)?);
    }
    ensure!(
        found.iter().flatten().flatten().all(|v| v.is_finite()),
        "a polygon has a number that is not finite"
    );
    let there = found.iter().any(|ring| !ring.is_empty());
    found.retain(|ring| ring.len() > 2);
    Ok(there.then_some(found))
}

fn points(numbers: &[f32]) -> Result<Vec<[f32; 2]>> {
    let (points, rest) = numbers.as_chunks();
    ensure!(
        rest.is_empty(),
        "a polygon has {} numbers, which are no points",
        numbers.len()
    );
    Ok(points.to_vec())
}

/// The area in pixels, of polygons and boxes about.
fn area(shape: &Shape) -> f64 {
    match shape {
        Shape::Runs(runs) => runs.area() as f64,
        Shape::Box([_, _, width, height]) => f64::from(*width) * f64::from(*height),
        Shape::Polygons(rings) => rings.iter().map(|ring| enclosed(ring)).sum(),
    }
}

/// The area that a ring encloses, by the trapezoids under its edges.
fn enclosed(ring: &[[f32; 2]]) -> f64 {
    let edges = ring.iter().zip(ring.iter().cycle().skip(1));
    let twice = edges.map(|(&[x, y], &[u, v])| (f64::from(x) + f64::from(u)) * (f64::from(v) - f64::from(y)));
    twice.sum::<f64>().abs() / 2.0
}
