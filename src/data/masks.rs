//! Masks as PNG files: values are class indices, never colours that were looked up. SBD's `.mat` files are read too.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use image::{GrayImage, Luma};
use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};

use super::MaskValue;
use super::mask_map::MaskMap;
use super::mat;
use super::palette::palette;
use crate::files::write_bytes;

/// Reads a mask with values 0 (background), 1 to `classes`, and 255 (ignore): a PNG file, or one of SBD's `.mat`.
///
/// Palette files give their indices, greyscale files their values (1 to 16 bits), RGB files the index of their colour
/// in the VOC palette; an alpha channel is not looked at. `size` is the expected (width, height).
///
/// # Errors
/// One line that names the file: missing, damaged or of another format, another size than `size`, or the first value
/// (or colour) that is outside the classes, and where it is.
pub fn read_mask(path: impl AsRef<Path>, classes: usize, size: (u32, u32)) -> Result<GrayImage> {
    read_mapped(path.as_ref(), classes, size, None)
}

/// As [`read_mask`], of a file that means `map[v]` by the value `v`.
pub(super) fn read_mapped(path: &Path, classes: usize, size: (u32, u32), map: Option<&MaskMap>) -> Result<GrayImage> {
    let meant = |value: u32| map.map_or(value, |map| map.meant(value));
    if mat::is_mat(path) {
        let mut mask = mat::read_segmentation(path)?;
        check_size(path, mask.dimensions(), size)?;
        for (x, y, value) in mask.enumerate_pixels_mut() {
            let meant = mask_value(path, meant(u32::from(value.0[0])), classes, (x, y))?;
            *value = Luma([meant.get()]);
        }
        return Ok(mask);
    }
    let fail = |e: &dyn std::fmt::Display| anyhow!("cannot read the mask {}: {e}; masks are PNG files", path.display());
    let file = File::open(path).map_err(|e| fail(&e))?;
    let mut decoder = Decoder::new(BufReader::new(file));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| fail(&e))?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_size(path, (width, height), size)?;
    let length = reader.output_buffer_size().ok_or_else(|| fail(&"too large"))?;
    let mut bytes = vec![0; length];
    let info = reader.next_frame(&mut bytes).map_err(|e| fail(&e))?;

    let colours = palette();
    let channels = info.color_type.samples();
    let mut mask = GrayImage::new(width, height);
    for (y, row) in bytes.chunks_exact(info.line_size).take(height as usize).enumerate() {
        for x in 0..width as usize {
            let sample = |channel: usize| sample(row, x * channels + channel, info.bit_depth);
            let value = match info.color_type {
                ColorType::Rgb | ColorType::Rgba => {
                    let colour = [sample(0), sample(1), sample(2)];
                    // Where values mean others, any may occur.
                    let last = if map.is_some() { 255 } else { classes as u32 };
                    let index = (0..=last)
                        .chain([MaskValue::IGNORED.get().into()])
                        .find(|&i| colours.get(i as usize).is_some_and(|c| c.map(u32::from) == colour));
                    // A grey mask saved in colour holds values, not colours.
                    let [red, green, blue] = colour;
                    let grey = (red == green && green == blue).then_some(red);
                    // What a rule names comes before a colour of the palette's that is grey too.
                    let named = grey.filter(|&value| meant(value) != value);
                    named.or(index).or(grey).ok_or_else(|| {
                        anyhow!(
                            "the mask {} has the colour {colour:?} at ({x}, {y}), which is none of the VOC palette's for 0 to {classes} and 255; save class indices instead",
                            path.display()
                        )
                    })?
                }
                _ => sample(0),
            };
            let (x, y) = (x as u32, y as u32);
            let value = mask_value(path, meant(value), classes, (x, y))?;
            mask.put_pixel(x, y, Luma([value.get()]));
        }
    }
    Ok(mask)
}

fn check_size(path: &Path, (width, height): (u32, u32), size: (u32, u32)) -> Result<()> {
    if (width, height) != size {
        bail!(
            "the mask {} is {width} x {height}, but its image is {} x {}; make both the same size",
            path.display(),
            size.0,
            size.1
        );
    }
    Ok(())
}

fn mask_value(path: &Path, value: u32, classes: usize, (x, y): (u32, u32)) -> Result<MaskValue> {
    let known = u8::try_from(value).map(MaskValue::from).ok();
    known.filter(|v| v.is_within(classes)).ok_or_else(|| {
        anyhow!(
            "the mask {} has the value {value} at ({x}, {y}); with {classes} classes it may hold 0 to {classes}, and 255 for ignore; where values mean classes otherwise, say so as in --mask-values {value}=CLASS",
            path.display()
        )
    })
}

/// The sample number `index` of a row, as it is stored: 1, 2, 4, 8 or 16 bits, most significant first.
fn sample(row: &[u8], index: usize, depth: BitDepth) -> u32 {
    match depth as usize {
        16 => u32::from(row[index * 2]) << 8 | u32::from(row[index * 2 + 1]),
        8 => u32::from(row[index]),
        bits => {
            let byte = u32::from(row[index * bits / 8]);
            byte >> (8 - bits - index * bits % 8) & ((1 << bits) - 1)
        }
    }
}

/// Writes a mask as an 8-bit PNG with the VOC palette, under a temporary name that is then renamed.
///
/// # Errors
/// Names the file: missing permissions, or a full disk.
pub fn write_mask(path: impl AsRef<Path>, mask: &GrayImage) -> Result<()> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let mut encode = || -> Result<(), png::EncodingError> {
        let mut encoder = Encoder::new(&mut bytes, mask.width(), mask.height());
        encoder.set_color(ColorType::Indexed);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_palette(palette().as_flattened().to_vec());
        let mut writer = encoder.write_header()?;
        writer.write_image_data(mask.as_raw())?;
        writer.finish()
    };
    encode().map_err(|e| anyhow!("cannot write the mask {}: {e}", path.display()))?;
    write_bytes(path, &bytes)
}

/// Whether a file is a mask as [`write_mask`] writes it, by its palette.
pub(super) fn is_written(path: &Path) -> bool {
    let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let Some(file) = is_png.then(|| File::open(path).ok()).flatten() else {
        return false;
    };
    let Ok(reader) = Decoder::new(BufReader::new(file)).read_info() else {
        return false;
    };
    let info = reader.info();
    info.color_type == ColorType::Indexed && info.palette.as_deref() == Some(palette().as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mat::tests::sbd_file;
    use image::{Rgb, RgbImage};

    fn write_png(path: &Path, color: ColorType, depth: BitDepth, size: (u32, u32), bytes: &[u8]) {
        let mut encoder = Encoder::new(File::create(path).unwrap(), size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            // Grey for every index: a reader that goes through colours would not get the indices back.
            encoder.set_palette(vec![100; 12]);
        }
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    #[test]
    fn written_masks_read_back_and_show_the_voc_colours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        let mask = GrayImage::from_fn(5, 3, |x, y| Luma([if x == 4 { 255 } else { (x + y) as u8 }]));
        write_mask(&path, &mask).unwrap();
        assert_eq!(read_mask(&path, 5, (5, 3)).unwrap(), mask);
        let colours = image::open(&path).unwrap().into_rgb8();
        assert_eq!(colours.get_pixel(1, 0), &Rgb([128, 0, 0]));
        colours.save(&path).unwrap();
        assert_eq!(read_mask(&path, 5, (5, 3)).unwrap(), mask);
        assert!(write_mask(path.join("m.png"), &mask).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn masks_of_sbd_are_checked_like_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.MAT");
        std::fs::write(&path, sbd_file(2, &[0, 3, 1, 0], true)).unwrap();
        let mask = read_mask(&path, 3, (2, 2)).unwrap();
        assert_eq!(mask.into_raw(), [0, 3, 1, 0]);
        let value = read_mask(&path, 2, (2, 2)).unwrap_err().to_string();
        assert!(value.contains("the value 3 at (1, 0)"), "{value}");
        let size = read_mask(&path, 3, (2, 3)).unwrap_err().to_string();
        assert!(size.contains("m.MAT is 2 x 2, but"), "{size}");
    }

    #[test]
    fn a_grey_that_a_rule_names_is_a_value_and_no_colour_of_the_palette() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        image::RgbImage::from_fn(2, 1, |x, _| image::Rgb([x as u8 * 128; 3]))
            .save(&path)
            .unwrap();
        // (128, 128, 128) is the palette's seventh colour.
        let classes: Vec<String> = (0..8).map(|c| format!("c{c}")).collect();
        let read = |rules: &[&str]| {
            let rules: Vec<String> = rules.iter().map(|r| r.to_string()).collect();
            let map = MaskMap::new(&rules, &classes).unwrap();
            read_mapped(&path, 8, (2, 1), Some(&map)).unwrap().into_raw()
        };
        assert_eq!(read(&["128=c0"]), [0, 1]);
        assert_eq!(read(&["9=c0"]), [0, 7]);
    }

    #[test]
    fn palette_and_grey_of_all_depths_give_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        for (color, depth, bytes) in [
            (ColorType::Indexed, BitDepth::Two, vec![0b00_01_10_11, 0b11_00_00_00]),
            (ColorType::Grayscale, BitDepth::Two, vec![0b00_01_10_11, 0b11_00_00_00]),
            (ColorType::Indexed, BitDepth::Four, vec![0x01, 0x23, 0x30]),
            (ColorType::Grayscale, BitDepth::Eight, vec![0, 1, 2, 3, 3]),
            (
                ColorType::Grayscale,
                BitDepth::Sixteen,
                vec![0, 0, 0, 1, 0, 2, 0, 3, 0, 3],
            ),
            (
                ColorType::GrayscaleAlpha,
                BitDepth::Eight,
                vec![0, 9, 1, 9, 2, 9, 3, 9, 3, 9],
            ),
        ] {
            write_png(&path, color, depth, (5, 1), &bytes);
            let mask = read_mask(&path, 3, (5, 1)).unwrap();
            assert_eq!(mask.into_raw(), [0, 1, 2, 3, 3], "{color:?} {depth:?}");
        }
    }

    #[test]
    fn colours_of_values_that_mean_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        let colours = palette();
        RgbImage::from_fn(2, 1, |x, _| Rgb(colours[if x == 0 { 15 } else { 1 }]))
            .save(&path)
            .unwrap();
        let map = MaskMap::new(&["15=dog".to_owned()], &["cat".to_owned(), "dog".to_owned()]).unwrap();
        let mask = read_mapped(&path, 2, (2, 1), Some(&map)).unwrap();
        assert_eq!(mask.into_raw(), [2, 1]);
        assert!(read_mask(&path, 2, (2, 1)).is_err());
    }

    #[test]
    fn wrong_masks_are_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wrong.png");
        let error = |classes, size| read_mask(&path, classes, size).unwrap_err().to_string();
        assert!(error(2, (2, 1)).contains("wrong.png"));
        write_mask(&path, &GrayImage::from_raw(2, 1, vec![255, 3]).unwrap()).unwrap();
        let value = error(2, (2, 1));
        assert!(
            value.contains("wrong.png has the value 3 at (1, 0)") && value.contains("0 to 2"),
            "{value}"
        );
        let size = error(3, (1, 2));
        assert!(size.contains("is 2 x 1, but its image is 1 x 2"), "{size}");
        RgbImage::from_pixel(2, 1, Rgb([1, 2, 3])).save(&path).unwrap();
        let colour = error(3, (2, 1));
        assert!(colour.contains("the colour [1, 2, 3] at (0, 0)"), "{colour}");
        write_png(&path, ColorType::Grayscale, BitDepth::Sixteen, (1, 1), &[1, 0]);
        assert!(error(3, (1, 1)).contains("the value 256"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 16]).unwrap();
        assert!(error(3, (1, 1)).contains("cannot read the mask"));
        std::fs::write(&path, "text").unwrap();
        assert!(error(3, (1, 1)).contains("masks are PNG files"));
    }
}
