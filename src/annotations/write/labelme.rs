//! labelme's JSON files.

use std::io::Cursor;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{GrayImage, ImageFormat, Luma};
use serde::Serialize;

use super::{Drawn, Picture, rounded};
use crate::annotations::contour::{Region, Regions};
use crate::annotations::labelme::{BACKGROUND, IGNORE};

/// The version of labelme whose files these are.
const VERSION: &str = "5.5.0";

/// A file about an image.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct File<'a> {
    version: &'a str,
    flags: Empty,
    shapes: Vec<Shape<'a>>,
    image_path: &'a str,
    image_data: Option<String>,
    image_height: u32,
    image_width: u32,
}

#[derive(Serialize, Debug)]
struct Empty {}

#[derive(Serialize, Debug)]
struct Shape<'a> {
    label: &'a str,
    points: Vec<[u32; 2]>,
    group_id: Option<u32>,
    description: String,
    shape_type: &'a str,
    flags: Empty,
    mask: Option<String>,
}

/// The file about an image: a shape a region, those to ignore as `__ignore__`. Holes of polygons are joined to the
/// border. A score is in the description.
///
/// # Errors
/// Where a mask cannot be written as PNG.
pub fn file<'a>(picture: &'a Picture, classes: &'a [String], drawn: Drawn) -> Result<File<'a>> {
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    let known = picture.parts().map(|(class, region)| (name(class), region));
    let ignored = picture.ignored().map(|region| (IGNORE, region));
    let shapes = known.chain(ignored).map(|(label, region)| {
        let (points, mask) = match drawn {
            Drawn::Polygons => (picture.regions.joined(region), None),
            Drawn::Masks => {
                let [x, y, width, height] = region.bounds;
                let corners = vec![[x, y], [x + width - 1, y + height - 1]];
                (corners, Some(png(picture.regions, region)?))
            }
        };
        Ok(Shape {
            label,
            points,
            group_id: None,
            description: region
                .score
                .map_or_else(String::new, |score| format!("score {}", rounded(score))),
            shape_type: if mask.is_some() { "mask" } else { "polygon" },
            flags: Empty {},
            mask,
        })
    });
    Ok(File {
        version: VERSION,
        flags: Empty {},
        shapes: shapes.collect::<Result<_>>()?,
        image_path: picture.file,
        image_data: None,
        image_height: picture.regions.height,
        image_width: picture.regions.width,
    })
}

/// `labels.txt`, which labelme and its `labelme2voc` are started with.
pub fn names(classes: &[String]) -> String {
    format!("{IGNORE}\n{BACKGROUND}\n{}\n", classes.join("\n"))
}

/// The pixels of a region in its bounding box, as a PNG of 0 and 1 in base64.
fn png(regions: &Regions, region: &Region) -> Result<String> {
    let [left, top, width, height] = region.bounds;
    let own = |x: u32, y: u32| Luma([u8::from(regions.has(region, left + x, top + y))]);
    let mut bytes = Cursor::new(Vec::new());
    GrayImage::from_fn(width, height, own).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(STANDARD.encode(bytes.get_ref()))
}
