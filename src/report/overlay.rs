//! Masks and activation maps drawn over photographs, and contact sheets of such pictures.

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::Array2;

use crate::data::palette;
use crate::metrics::IGNORE;

/// A picture is at most this many times wider than the height that it is shown at.
const WIDEST: u32 = 3;

/// Width of the gaps in a contact sheet, in pixels.
const GAP: u32 = 6;

/// How much of the heat map is seen over the photograph.
const HEAT_OPACITY: f32 = 0.65;

/// Inferno, the perceptually uniform colour map of matplotlib (CC0), at ten equal steps from 0 to 1.
const INFERNO: [[u8; 3]; 10] = [
    [0, 0, 4],
    [27, 12, 65],
    [74, 12, 107],
    [120, 28, 109],
    [165, 44, 96],
    [207, 68, 70],
    [237, 105, 37],
    [251, 155, 6],
    [247, 209, 61],
    [252, 255, 164],
];

/// `image` scaled to `height` pixels for display, its aspect ratio kept; smaller where it would get wider than three
/// times that height.
pub fn to_height(image: &RgbImage, height: u32) -> RgbImage {
    let (w, h) = display_size(image.dimensions(), height);
    if (w, h) == image.dimensions() {
        image.clone()
    } else if w <= image.width() && h <= image.height() {
        imageops::thumbnail(image, w, h)
    } else {
        imageops::resize(image, w, h, FilterType::CatmullRom)
    }
}

/// `mask` scaled as [`to_height`] scales its image, by nearest neighbour: no value appears that was not there.
/// Scale before drawing, so that outlines and hatching stay sharp.
pub fn mask_to_height(mask: &GrayImage, height: u32) -> GrayImage {
    let (w, h) = display_size(mask.dimensions(), height);
    imageops::resize(mask, w, h, FilterType::Nearest)
}

fn display_size((width, height): (u32, u32), target: u32) -> (u32, u32) {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let target = f64::from(target.max(1));
    let scale = (target / height).min(f64::from(WIDEST) * target / width);
    let scaled = |side: f64| (side * scale).round().max(1.0) as u32;
    (scaled(width), scaled(height))
}

/// The photograph with `mask` over it: classes in the palette's colours at `opacity` (0..=1) with a bright outline,
/// 255 as a grey hatch, background clear. A mask of another size is fitted by nearest neighbour.
pub fn mask(image: &RgbImage, mask: &GrayImage, opacity: f32) -> RgbImage {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 || mask.is_empty() {
        return image.clone();
    }
    let fitted;
    let mask = if mask.dimensions() == image.dimensions() {
        mask
    } else {
        fitted = imageops::resize(mask, width, height, FilterType::Nearest);
        &fitted
    };
    let colors = palette();
    RgbImage::from_fn(width, height, |x, y| {
        let pixel = image.get_pixel(x, y).0;
        let value = mask.get_pixel(x, y).0[0];
        Rgb(match value {
            0 => pixel,
            IGNORE if (x + y) % 8 < 3 => blend(pixel, [245; 3], 0.85),
            IGNORE => blend(pixel, [160; 3], 0.55),
            _ if on_outline(mask, x, y) => blend(colors[usize::from(value)], [255; 3], 0.45),
            _ => blend(pixel, colors[usize::from(value)], opacity),
        })
    })
}

/// Whether a neighbour above, below, left or right has another value.
fn on_outline(mask: &GrayImage, x: u32, y: u32) -> bool {
    let Luma(here) = mask.get_pixel(x, y);
    let neighbours = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
    neighbours
        .into_iter()
        .filter_map(|(x, y)| mask.get_pixel_checked(x, y))
        .any(|Luma(there)| there != here)
}

/// The photograph with an activation map `[H, W]` in [0, 1] over it, in the colours of inferno: dark where the map
/// is low, yellow where it is high. A map of another size is fitted bilinearly; values outside are clamped, NaN is 0.
pub fn heat(image: &RgbImage, map: &Array2<f32>) -> RgbImage {
    let (rows, columns) = map.dim();
    if rows == 0 || columns == 0 {
        return image.clone();
    }
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let (y0, y1, fy) = between(y, height, rows);
        let (x0, x1, fx) = between(x, width, columns);
        let at = |y: usize, x: usize| map[[y, x]];
        let top = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
        let bottom = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
        let value = top * (1.0 - fy) + bottom * fy;
        Rgb(blend(image.get_pixel(x, y).0, inferno(value), HEAT_OPACITY))
    })
}

/// The two of `cells` cells whose centres lie around that of pixel `i` of `size`, and the weight of the second.
fn between(i: u32, size: u32, cells: usize) -> (usize, usize, f32) {
    let at = (i as f32 + 0.5) * cells as f32 / size as f32 - 0.5;
    let at = at.clamp(0.0, (cells - 1) as f32);
    let first = at.floor() as usize;
    (first, (first + 1).min(cells - 1), at - first as f32)
}

fn inferno(value: f32) -> [u8; 3] {
    let value = if value.is_nan() { 0.0 } else { value };
    let at = value.clamp(0.0, 1.0) * (INFERNO.len() - 1) as f32;
    let first = (at as usize).min(INFERNO.len() - 2);
    blend(INFERNO[first], INFERNO[first + 1], at - first as f32)
}

/// `below` with `above` over it at `opacity`.
fn blend(below: [u8; 3], above: [u8; 3], opacity: f32) -> [u8; 3] {
    let opacity = opacity.clamp(0.0, 1.0);
    std::array::from_fn(|k| {
        let (below, above) = (f32::from(below[k]), f32::from(above[k]));
        (below + (above - below) * opacity).round() as u8
    })
}

/// A contact sheet: the pictures of `rows` below and beside each other with white gaps, each centred in a cell as
/// wide as the widest picture of its column and as high as the highest of its row.
pub fn grid(rows: &[Vec<RgbImage>]) -> RgbImage {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<u32> = (0..columns)
        .map(|c| {
            let column = rows.iter().filter_map(|row| row.get(c));
            column.map(RgbImage::width).max().unwrap_or(0)
        })
        .collect();
    let heights: Vec<u32> = rows
        .iter()
        .map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0))
        .collect();
    let extent = |sides: &[u32]| sides.iter().map(|side| side + GAP).sum::<u32>() + GAP;
    let mut sheet = RgbImage::from_pixel(extent(&widths), extent(&heights), Rgb([255; 3]));
    let mut y = GAP;
    for (row, height) in rows.iter().zip(&heights) {
        let mut x = GAP;
        for (picture, width) in row.iter().zip(&widths) {
            let left = x + (width - picture.width()) / 2;
            let top = y + (height - picture.height()) / 2;
            imageops::replace(&mut sheet, picture, i64::from(left), i64::from(top));
            x += width + GAP;
        }
        y += height + GAP;
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_colours_classes_only() {
        let photo = RgbImage::from_pixel(12, 6, Rgb([100; 3]));
        let labels = GrayImage::from_fn(4, 2, |x, _| Luma([[0, 0, 1, 255][x as usize]]));
        let drawn = mask(&photo, &labels, 0.5);
        assert_eq!(drawn.get_pixel(0, 0).0, [100; 3]);
        assert_eq!(drawn.get_pixel(7, 2).0, blend([100; 3], palette()[1], 0.5));
        assert_ne!(drawn.get_pixel(6, 2), drawn.get_pixel(7, 2), "outline");
        let Rgb([r, g, b]) = *drawn.get_pixel(10, 2);
        assert!(r == g && g == b && r > 100, "ignored pixels are light grey");
    }

    #[test]
    fn heat_rises_with_the_map_and_takes_any_value() {
        let photo = RgbImage::from_pixel(5, 1, Rgb([0; 3]));
        let map = Array2::from_shape_vec((1, 5), vec![f32::NAN, 0.3, 0.6, 1.0, 7.0]).unwrap();
        let drawn = heat(&photo, &map);
        let light: Vec<u32> = drawn.pixels().map(|p| p.0.map(u32::from).iter().sum()).collect();
        assert!(light[1] < light[2] && light[2] < light[3], "{light:?}");
        assert_eq!(light[3], light[4]);
        assert_eq!(heat(&photo, &Array2::zeros((0, 0))), photo);
    }

    #[test]
    fn scaling_keeps_the_aspect_and_bounds_the_width() {
        let photo = RgbImage::new(50, 40);
        assert_eq!(to_height(&photo, 80).dimensions(), (100, 80));
        assert_eq!(to_height(&photo, 20).dimensions(), (25, 20));
        let thin = GrayImage::new(20_000, 1);
        assert_eq!(mask_to_height(&thin, 100).dimensions(), (300, 1));
    }

    #[test]
    fn a_sheet_has_white_gaps() {
        let picture = |w, h| RgbImage::from_pixel(w, h, Rgb([9; 3]));
        let sheet = grid(&[vec![picture(10, 8), picture(4, 8)], vec![picture(10, 6)]]);
        assert_eq!(sheet.dimensions(), (6 + 10 + 6 + 4 + 6, 6 + 8 + 6 + 6 + 6));
        assert_eq!(sheet.get_pixel(6, 6).0, [9; 3]);
        assert_eq!(sheet.get_pixel(17, 8).0, [255; 3]);
        assert_eq!(grid(&[]).dimensions(), (6, 6));
    }
}
