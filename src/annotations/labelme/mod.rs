//! labelme's JSON files, one for each image, and the list of names that its `labelme2voc` writes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageDecoder as _};
use serde::Deserialize;

use super::rle::Runs;
use super::{Image, Part, Shape, file, json};

/// The most bytes of a file, which may hold its image too.
const MOST: u64 = 256 << 20;

/// The label of what is ignored, by `labelme2voc`.
pub const IGNORE: &str = "__ignore__";
/// That of what is of no class.
pub const BACKGROUND: &str = "_background_";

/// Corners of the polygon that a circle is read as: at a radius of 1000 pixels it is within a third of one (ours).
const CORNERS: usize = 128;

/// A file about an image.
#[derive(Clone, PartialEq, Debug)]
pub struct Labelled {
    /// Path of the image, relative to the file.
    pub image: String,
    /// Width and height of the image, where the file has them.
    pub size: Option<(u32, u32)>,
    /// What is drawn in it.
    pub drawn: Vec<Drawn>,
    /// The flags of the image that are set.
    pub flags: Vec<String>,
}

/// A shape with its label.
#[derive(Clone, PartialEq, Debug)]
pub struct Drawn {
    /// What it is called.
    pub label: String,
    /// The region; `None` of points and lines, which have none.
    pub shape: Option<Shape>,
}

impl Labelled {
    /// The labels that are classes, in the order of the shapes.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let labels = self.drawn.iter().map(|drawn| drawn.label.as_str());
        labels.filter(|label| ![IGNORE, BACKGROUND].contains(label))
    }

    /// Whether every shape has a region.
    pub fn is_whole(&self) -> bool {
        self.drawn.iter().all(|drawn| drawn.shape.is_some())
    }

    /// The image of `size` (width, height) with its shapes in their order, as labelme paints them. What is labelled as
    /// background is a region to ignore here: a part has no other way of saying that it is no part.
    ///
    /// # Errors
    /// Where the file has another size, or a label that is not among `classes`.
    pub fn image(&self, classes: &[String], size: (u32, u32)) -> Result<Image> {
        let (width, height) = size;
        if let Some(own) = self.size.filter(|own| *own != size) {
            bail!(
                "its shapes are drawn in {} x {}, but the image is {width} x {height}; make both the same size",
                own.0,
                own.1
            );
        }
        let mut parts = Vec::new();
        for Drawn { label, shape } in &self.drawn {
            let class = match label.as_str() {
                IGNORE | BACKGROUND => None,
                _ => Some(classes.iter().position(|class| class == label).with_context(|| {
                    format!(
                        "it has the label {label:?}, which is no class; known are {}",
                        classes.join(", ")
                    )
                })?),
            };
            let part = |shape: &Shape| Part {
                class,
                shape: shape.clone(),
                score: None,
            };
            parts.extend(shape.as_ref().map(part));
        }
        Ok(Image {
            file: self.image.clone(),
            width,
            height,
            parts,
        })
    }
}

/// Reads a file about an image. The image in it, if there is one, is not looked at.
///
/// # Errors
/// One line that names the file, and the line of JSON that is broken or of another form; more than 256 MB; a shape with
/// too few points, of an unknown kind, or with a number that is not finite.
pub fn read(path: &Path) -> Result<Labelled> {
    let bytes = file::bytes(path, MOST)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    labelled(text).map_err(|error| anyhow!("{}: {error:#}", path.display()))
}

/// Whether a file has the parts of labelme's. A broken one may have.
pub fn is_labelled(path: &Path) -> bool {
    let Ok(text) = file::mapped(path) else {
        return false;
    };
    let Ok(members) = json::members(&text) else {
        return json::begins_with(&text, &["shapes"]);
    };
    let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
    has("shapes") && (has("imagePath") || has("imageData"))
}

/// The classes in the text of a `class_names.txt`, as `labelme2voc` writes it: without what is ignored and what is
/// background, after which the others have the values from 1 on.
///
/// # Errors
/// Where the second name is not that of the background, so that no value would be.
pub fn class_names(text: &str) -> Result<Vec<String>> {
    let mut names = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    names.next_if_eq(&IGNORE);
    ensure!(
        names.next_if_eq(&BACKGROUND).is_some(),
        "its names do not begin with {IGNORE} and {BACKGROUND}, as those of labelme2voc do; write them there"
    );
    Ok(names.map(str::to_owned).collect())
}

#[derive(Deserialize)]
struct FileRow {
    #[serde(rename = "imagePath")]
    image: String,
    #[serde(rename = "imageWidth")]
    width: Option<u32>,
    #[serde(rename = "imageHeight")]
    height: Option<u32>,
    shapes: Vec<ShapeRow>,
    flags: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct ShapeRow {
    label: String,
    points: Vec<[f32; 2]>,
    shape_type: Option<String>,
    mask: Option<String>,
}

fn labelled(text: &[u8]) -> Result<Labelled> {
    let row: FileRow = json::parse(text, 0..text.len())?;
    let mut drawn = Vec::new();
    for (number, row) in row.shapes.into_iter().enumerate() {
        let label = row.label.clone();
        let shape = shape(row).with_context(|| format!("shape {} ({label:?})", number + 1))?;
        drawn.push(Drawn { label, shape });
    }
    let is_set = |value: &serde_json::Value| value == &serde_json::Value::Bool(true);
    let flags = row.flags.unwrap_or_default().into_iter();
    Ok(Labelled {
        image: row.image,
        size: row.width.zip(row.height),
        drawn,
        flags: flags.filter(|(_, value)| is_set(value)).map(|(name, _)| name).collect(),
    })
}

fn shape(row: ShapeRow) -> Result<Option<Shape>> {
    let points = row.points;
    ensure!(
        points.iter().flatten().all(|v| v.is_finite()),
        "it has a number that is not finite"
    );
    let polygon = |points: Vec<[f32; 2]>| Some(Shape::Polygons(vec![points]));
    let kind = row.shape_type.as_deref().unwrap_or("polygon");
    Ok(match (kind, points.as_slice()) {
        ("point" | "points" | "line" | "linestrip", _) => None,
        ("polygon", [_, _, _, ..]) => polygon(points),
        ("rectangle", &[[x, y], [u, v]]) => polygon(vec![[x, y], [u, y], [u, v], [x, v]]),
        ("rectangle", [_, _, _, _]) => polygon(points),
        ("circle", &[[x, y], [u, v]]) => {
            let radius = (u - x).hypot(v - y);
            let corner = |i: usize| {
                let (sine, cosine) = (i as f32 / CORNERS as f32 * std::f32::consts::TAU).sin_cos();
                [x + radius * cosine, y + radius * sine]
            };
            polygon((0..CORNERS).map(corner).collect())
        }
        ("mask", &[from, to]) => Some(pasted(row.mask.as_deref().unwrap_or_default(), from, to)?),
        ("polygon" | "rectangle" | "circle" | "mask", _) => bail!("a {kind} of {} points", points.len()),
        _ => bail!("shapes of the kind {kind:?} are not known"),
    })
}

/// A mask of the pixels between two corners, both of them in it, as a PNG in base64.
fn pasted(text: &str, from: [f32; 2], to: [f32; 2]) -> Result<Shape> {
    let bytes = STANDARD.decode(text).context("its mask is not in base64")?;
    let reader = image::ImageReader::with_format(std::io::Cursor::new(bytes), image::ImageFormat::Png);
    let decoder = reader.into_decoder().context("its mask is no PNG")?;
    let (own_width, own_height) = decoder.dimensions();
    // Beyond any image, and small enough to be added.
    let corners = [from, to].map(|corner| corner.map(|v| v.clamp(-1e9, 1e9) as i64));
    let [[left, top], [right, bottom]] = corners;
    let size = (i64::from(own_width), i64::from(own_height));
    ensure!(
        (right - left + 1, bottom - top + 1) == size && left >= 0 && top >= 0,
        "its mask is {} x {}, but its corners are ({left}, {top}) and ({right}, {bottom})",
        size.0,
        size.1
    );
    // Rows of zeros and ones from the corner of the image on.
    let (width, height) = (u32::try_from(right + 1)?, u32::try_from(bottom + 1)?);
    ensure!(
        u64::from(width) * u64::from(height) <= u64::from(u32::MAX),
        "its mask reaches to ({width}, {height}), farther than any image does"
    );
    let own = DynamicImage::from_decoder(decoder)
        .context("its mask is no PNG")?
        .into_luma8();
    let before = [height - own_height, width - own_width];
    Ok(Shape::Runs(Runs::in_corner(before, [own_height, own_width], |x, y| {
        own.get_pixel(x, y).0[0] > 0
    })))
}

#[cfg(test)]
mod tests;
