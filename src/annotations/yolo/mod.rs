//! YOLO's label files: a text file for each image with a line for each object, in shares of the image's sides.
//!
//! `class x y width height` is a box by its centre, with the score behind it where a program made it; `class x y x y ...`
//! of three points or more is a polygon. (Ultralytics' documentation of its detection and segmentation data sets.)

mod config;
mod yaml;

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};

use super::{Part, Shape};

pub use config::Config;

/// How far outside of the image, in its sides, a coordinate may lie: what is beyond was not meant as a share (ours).
const OUTSIDE: f32 = 1.0;

/// The text of a label file of keypoints with the boxes alone: a class and four numbers a line.
pub fn boxes(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().take(5).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The objects in the text of a label file, for an image of `size` (width, height).
///
/// # Errors
/// One line that names `place` and the line: another form, a class from `classes` on, a number that is not finite, or
/// one that is no share of the image.
pub fn parts(text: &str, place: &Path, classes: usize, size: (u32, u32)) -> Result<Vec<Part>> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            let part = part(line, classes, size);
            found.push(part.map_err(|error| anyhow!("{} line {}: {error}", place.display(), number + 1))?);
        }
    }
    Ok(found)
}

fn part(line: &str, classes: usize, (width, height): (u32, u32)) -> Result<Part> {
    let mut words = line.split_whitespace();
    let class = words.next().unwrap_or_default();
    // Some programs write the class as a float.
    let class = class.strip_suffix(".0").unwrap_or(class);
    let class: usize = class
        .parse()
        .map_err(|_| anyhow!("it begins with {class:?}, not with the number of a class"))?;
    ensure!(
        class < classes,
        "it has the class {class}, but there are {classes}: 0 to {}",
        classes.saturating_sub(1)
    );
    let mut numbers: Vec<f32> = Vec::new();
    for word in words {
        let number = word.parse().ok().filter(|n: &f32| n.is_finite());
        numbers.push(number.ok_or_else(|| anyhow!("{word:?} is no number"))?);
    }
    let (shares, score) = match numbers.as_slice() {
        [shares @ .., score] if shares.len() == 4 => (shares, Some(*score)),
        shares => (shares, None),
    };
    if let Some(share) = shares.iter().find(|v| !(-OUTSIDE..=1.0 + OUTSIDE).contains(*v)) {
        bail!("{share} is no share of the image, from 0 to 1; divide pixels by the image's width and height");
    }
    let [width, height] = [width as f32, height as f32];
    let (points, rest) = shares.as_chunks();
    let shape = match points {
        [[x, y], [w, h]] if rest.is_empty() => {
            Shape::Box([(x - w / 2.0) * width, (y - h / 2.0) * height, w * width, h * height])
        }
        [_, _, _, ..] if rest.is_empty() => {
            Shape::Polygons(vec![points.iter().map(|[x, y]| [x * width, y * height]).collect()])
        }
        _ => bail!(
            "it has {} numbers behind the class; a box has four, and a polygon two for each of three points or more",
            numbers.len()
        ),
    };
    Ok(Part {
        class: Some(class),
        shape,
        score,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Part>> {
        parts(text, Path::new("a.txt"), 2, (40, 20))
    }

    #[test]
    fn boxes_and_polygons_are_told_apart() {
        let parts = read("0 0.5 0.5 0.5 0.2\r\n\n1 0 0 1.0 0 1 1\n1.0 0.5 0.5 1 1 0.25\n").unwrap();
        let shapes: Vec<(Option<usize>, &Shape, Option<f32>)> =
            parts.iter().map(|p| (p.class, &p.shape, p.score)).collect();
        assert_eq!(
            shapes,
            [
                (Some(0), &Shape::Box([10.0, 8.0, 20.0, 4.0]), None),
                (
                    Some(1),
                    &Shape::Polygons(vec![vec![[0.0, 0.0], [40.0, 0.0], [40.0, 20.0]]]),
                    None
                ),
                (Some(1), &Shape::Box([0.0, 0.0, 40.0, 20.0]), Some(0.25)),
            ]
        );
        assert_eq!(read("\n").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_line() {
        for (line, part) in [
            ("2 0.5 0.5 0.5 0.5", "the class 2, but there are 2: 0 to 1"),
            ("-1 0.5 0.5 0.5 0.5", "not with the number of a class"),
            ("cat 0.5 0.5 0.5 0.5", "begins with \"cat\""),
            ("0 0.5 0.5", "2 numbers behind the class"),
            ("0 0 0 1 0 1 1 0", "7 numbers behind the class"),
            ("0 nan 0.5 0.5 0.5", "\"nan\" is no number"),
            ("0 0.5 inf 0.5 0.5", "\"inf\" is no number"),
            ("0 120 80 40 30", "120 is no share"),
        ] {
            let error = read(&format!("\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("a.txt line 2: ") && error.contains(part), "{error}");
        }
    }
}
