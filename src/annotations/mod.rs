//! Annotations of images as programs of the field write them: what a file says, and the mask that it means.
//!
//! A format is a file of its own, read into a [`Set`]. Nothing here knows what a data set is made of, or where its images
//! lie: a file name is what the annotations call an image.

pub mod coco;
pub mod contour;
pub mod cvat;
pub mod file;
pub mod format;
mod json;
pub mod labelme;
pub mod path;
pub mod polygon;
pub mod rle;
pub mod write;
pub mod yolo;

/// Mask value of the background: pixels that no part covers.
pub const BACKGROUND: u8 = 0;

/// Mask value of pixels that are ignored.
pub const IGNORED: u8 = 255;

/// The most classes that a mask of one byte a pixel has room for, beside [`BACKGROUND`] and [`IGNORED`].
pub const MOST_CLASSES: usize = 254;

/// Annotated images and the classes that they are of.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Set {
    /// Names of the classes, without background, in the order of the file's own numbers.
    pub classes: Vec<String>,
    /// The images, in the order of the file.
    pub images: Vec<Image>,
    /// What was left out or assumed, a line each, for whoever opened the file.
    pub notes: Vec<String>,
}

/// An image and what is in it.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Image {
    /// Name or relative path, as the file has it, with `/` between folders.
    pub file: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is in the image; where parts overlap, the later one is on top.
    pub parts: Vec<Part>,
}

/// A region of an image.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// The 0-based class; `None` for a region to ignore.
    pub class: Option<usize>,
    /// Where it is.
    pub shape: Shape,
    /// How sure its maker is, in `[0, 1]`; `None` where a person drew it.
    pub score: Option<f32>,
}

/// Where a part is. Coordinates are `[x, y]` in pixels, from the image's upper left corner: the centre of its first pixel
/// is (0.5, 0.5).
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// The union of rings, each filled by the even-odd rule and closed from its last point to its first. So rings make
    /// no holes, as in COCO: a region with a hole is [`Shape::Runs`].
    Polygons(Vec<Vec<[f32; 2]>>),
    /// Runs of pixels.
    Runs(rle::Runs),
    /// A bounding box `[x, y, width, height]`, which says that the class is there, not which pixels are its own.
    Box([f32; 4]),
}

/// The mask of an image, row by row [H, W]: [`BACKGROUND`], c + 1 for class c, [`IGNORED`].
///
/// Parts are painted in their order, so that later ones lie over earlier ones, ignored ones among them. Boxes are not
/// painted, nor is what lies outside of the image, nor are classes from [`MOST_CLASSES`] on, which no value is left for.
pub fn paint(image: &Image) -> Vec<u8> {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut mask = vec![BACKGROUND; width * height];
    for part in &image.parts {
        let value = match part.class {
            None => IGNORED,
            Some(class) if class < MOST_CLASSES => class as u8 + 1,
            Some(_) => continue,
        };
        match &part.shape {
            Shape::Polygons(rings) => {
                for ring in rings {
                    polygon::fill(ring, image.height, image.width).paint(&mut mask, image.height, image.width, value);
                }
            }
            Shape::Runs(runs) => runs.paint(&mut mask, image.height, image.width, value),
            Shape::Box(_) => {}
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f32, y: f32, side: f32) -> Shape {
        Shape::Polygons(vec![vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side]]])
    }

    fn part(class: Option<usize>, shape: Shape) -> Part {
        Part {
            class,
            shape,
            score: None,
        }
    }

    #[test]
    fn later_parts_lie_over_earlier_ones_and_boxes_are_not_painted() {
        let image = Image {
            file: "a.jpg".into(),
            width: 4,
            height: 3,
            parts: vec![
                part(Some(1), square(0.0, 0.0, 2.0)),
                part(Some(0), square(1.0, 1.0, 9.0)),
                part(None, square(3.0, 2.0, 1.0)),
                part(Some(2), Shape::Box([0.0, 0.0, 4.0, 3.0])),
                part(Some(254), square(0.0, 0.0, 4.0)),
            ],
        };
        assert_eq!(paint(&image), [2, 2, 0, 0, 2, 1, 1, 1, 0, 1, 1, 255]);
    }
}
