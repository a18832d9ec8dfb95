//! Reading photographs as 8-bit RGB, whatever they were saved as.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

pub use super::files::collect_images;
pub use super::masks::{read_mask, write_mask};

/// The largest image that is decoded, in pixels (64 Mi, a square of 8,192).
pub const MAX_PIXELS: u64 = 64 << 20;

/// Reads an image file as RGB, upright as its EXIF orientation says.
///
/// Greyscale, palette, CMYK and 16-bit images are converted; transparent ones are laid over white; of an animation
/// the first picture is taken. The format is told from the content, not from the extension.
///
/// # Errors
/// One line that names the file: missing, not an image, truncated, corrupt, or more than [`MAX_PIXELS`], which is
/// checked before anything is decoded.
pub fn read_rgb(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let (decoder, orientation, _) = open(path)?;
    if jpeg_is_truncated(path)? {
        bail!(
            "cannot read the image {}: the JPEG ends too early; copy it again or remove it",
            path.display()
        );
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| unreadable(path, e))?;
    image.apply_orientation(orientation);
    if image.color().has_alpha() {
        return Ok(over_white(&image));
    }
    Ok(image.into_rgb8())
}

/// Width and height of an image as [`read_rgb`] would return it, from the header alone.
///
/// # Errors
/// As [`read_rgb`], apart from damage behind the header.
pub fn image_size(path: impl AsRef<Path>) -> Result<(u32, u32)> {
    Ok(header(path)?.upright())
}

/// What the header of an image file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format of its content, such as `jpeg`.
    pub format: &'static str,
    /// Width and height as stored.
    pub stored: (u32, u32),
    /// EXIF orientation, 1 (upright) to 8.
    pub orientation: u8,
}

impl Header {
    /// Width and height of the upright image.
    pub fn upright(&self) -> (u32, u32) {
        let (width, height) = self.stored;
        match self.orientation {
            5..=8 => (height, width),
            _ => (width, height),
        }
    }
}

/// Reads the header of an image file.
///
/// # Errors
/// As [`image_size`].
pub fn header(path: impl AsRef<Path>) -> Result<Header> {
    let path = path.as_ref();
    let (decoder, orientation, format) = open(path)?;
    Ok(Header {
        format: format.extensions_str().first().unwrap_or(&"unknown"),
        stored: decoder.dimensions(),
        orientation: orientation.to_exif(),
    })
}

/// An error about the size of what belongs to an image, with the orientation where that may be the cause: images are
/// turned upright, and their masks and scores are expected to be.
pub fn with_orientation(error: anyhow::Error, image: &Path) -> anyhow::Error {
    let Ok(header) = header(image) else {
        return error;
    };
    let (width, height) = header.stored;
    let stored = [format!("{width} x {height}"), format!("({width}, {height})")];
    let text = format!("{error:#}");
    if header.upright() == header.stored || !stored.iter().any(|size| text.contains(size)) {
        return error;
    }
    anyhow!(
        "{text}: {} is stored as {width} x {height} and turned upright by its EXIF orientation {}; turn this too, or the image itself with `magick mogrify -auto-orient`",
        image.display(),
        header.orientation
    )
}

fn open(path: &Path) -> Result<(impl ImageDecoder, Orientation, ImageFormat)> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    let reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(|e| unreadable(path, e))?;
    let Some(format) = reader.format() else {
        bail!(
            "cannot read the image {}: it is in no known format; convert it to PNG or JPEG",
            path.display()
        );
    };
    let mut decoder = reader.into_decoder().map_err(|e| unreadable(path, e))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        bail!(
            "cannot read the image {}: {width} x {height} is more than {} million pixels; scale it down",
            path.display(),
            MAX_PIXELS / 1_000_000
        );
    }
    if width == 0 || height == 0 {
        bail!("cannot read the image {}: it has no pixels", path.display());
    }
    // A picture whose metadata are broken is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation, format))
}

/// Whether the file is a JPEG without an end: the decoder fills what is missing with grey instead of failing.
fn jpeg_is_truncated(path: &Path) -> Result<bool> {
    let read = || -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        let mut start = [0; 3];
        file.read_exact(&mut start)?;
        if start != [0xff, 0xd8, 0xff] {
            return Ok(false);
        }
        let mut rest = vec![0xff];
        file.read_to_end(&mut rest)?;
        Ok(!jpeg_ends(&rest))
    };
    read().map_err(|e| unreadable(path, e))
}

/// Whether an end-of-image marker comes after the segments in `bytes`, whatever follows it.
///
/// Segments are skipped by their length, since a thumbnail in one has an end of its own. What follows the header of a
/// scan is its data, in which the only markers are restarts and 0xFF is escaped by a zero.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 1 | 0xd0..=0xd8 | 0xff);
    while let Some(start) = rest.windows(2).position(is_marker) {
        if rest[start + 1] == 0xd9 {
            return true;
        }
        rest = &rest[start + 2..];
        let length = match rest {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

fn over_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u32::from);
        image::Rgb([r, g, b].map(|v| ((v * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

/// One line about a file that could not be read as an image.
pub(super) fn unreadable(path: &Path, error: impl std::fmt::Display) -> anyhow::Error {
    let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    anyhow!("cannot read the image {}: {reason}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, Rgba};
    use std::path::PathBuf;

    fn save<P>(dir: &tempfile::TempDir, name: &str, image: &ImageBuffer<P, Vec<P::Subpixel>>) -> PathBuf
    where
        P: image::PixelWithColorType,
        [P::Subpixel]: image::EncodableLayout,
    {
        let path = dir.path().join(name);
        image.save(&path).unwrap();
        path
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb() {
        let dir = tempfile::tempdir().unwrap();
        let pixel = |path: &Path| read_rgb(path).unwrap().get_pixel(1, 0).0;
        let grey = ImageBuffer::from_pixel(2, 1, Luma([70_u8]));
        for name in ["a.png", "a.tif", "a.bmp", "a.gif"] {
            let path = dir.path().join(name);
            DynamicImage::from(grey.clone()).to_rgb8().save(&path).unwrap();
            assert_eq!(pixel(&path), [70; 3], "{name}");
        }
        assert_eq!(pixel(&save(&dir, "grey.png", &grey)), [70; 3]);
        let deep = ImageBuffer::from_pixel(2, 1, Rgb([65535_u16, 32896, 0]));
        assert_eq!(pixel(&save(&dir, "deep.png", &deep)), [255, 128, 0]);
        let deep_grey = ImageBuffer::from_pixel(2, 1, Luma([32896_u16]));
        assert_eq!(pixel(&save(&dir, "deep_grey.png", &deep_grey)), [128; 3]);
        let glass = ImageBuffer::from_pixel(2, 1, Rgba([255_u8, 0, 0, 51]));
        assert_eq!(pixel(&save(&dir, "glass.png", &glass)), [255, 204, 204]);
        let grey_glass = ImageBuffer::from_pixel(2, 1, LumaA([0_u8, 0]));
        assert_eq!(pixel(&save(&dir, "grey_glass.png", &grey_glass)), [255; 3]);
        assert_eq!(
            read_rgb(save(&dir, "dot.png", &ImageBuffer::from_pixel(1, 1, Luma([9_u8]))))
                .unwrap()
                .len(),
            3
        );
    }

    #[test]
    fn cmyk_jpeg_has_its_colours() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cmyk.jpg");
        let image = read_rgb(path).unwrap();
        for (x, expected) in [(4, [0, 255, 255]), (28, [191, 191, 0])] {
            let pixel = image.get_pixel(x, 8).0;
            let close = (0..3).all(|c| pixel[c].abs_diff(expected[c]) <= 8);
            assert!(close, "{pixel:?} is not {expected:?}");
        }
    }

    #[test]
    fn exif_orientation_is_applied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turned.jpg");
        let image = RgbImage::from_fn(16, 8, |x, _| Rgb(if x < 8 { [255; 3] } else { [0; 3] }));
        // A TIFF header and one entry: tag 0x0112 (orientation), type short, value 6 (turn right to be upright).
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(File::create(&path).unwrap());
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(&image).unwrap();
        let upright = read_rgb(&path).unwrap();
        assert_eq!(upright.dimensions(), (8, 16));
        assert_eq!(image_size(&path).unwrap(), (8, 16));
        let header = header(&path).unwrap();
        assert_eq!((header.format, header.stored, header.orientation), ("jpg", (16, 8), 6));
        let size = with_orientation(anyhow!("the mask is 16 x 8, the image 8 x 16"), &path);
        assert!(size.to_string().contains("EXIF orientation 6"), "{size}");
        let other = with_orientation(anyhow!("the mask is 4 x 8, the image 8 x 16"), &path);
        assert!(!other.to_string().contains("EXIF"), "{other}");
        assert!(upright.get_pixel(4, 2).0[0] > 200 && upright.get_pixel(4, 13).0[0] < 50);
    }

    #[test]
    fn bad_files_give_one_line_with_their_name() {
        let dir = tempfile::tempdir().unwrap();
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
        let whole = save(&dir, "whole.jpg", &image);
        let bytes = std::fs::read(&whole).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let png = std::fs::read(save(&dir, "whole.png", &image)).unwrap();
        for path in [
            dir.path().join("missing.jpg"),
            dir.path().to_owned(),
            write("cut.jpg", &bytes[..bytes.len() / 2]),
            write("head.jpg", &bytes[..20]),
            write("cut.png", &png[..png.len() / 2]),
            write("empty.jpg", b""),
            write("text.jpg", b"not a picture at all"),
        ] {
            let error = format!("{:#}", read_rgb(&path).unwrap_err());
            assert!(
                error.contains(&path.display().to_string()) && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn a_jpeg_ends_at_its_end_of_image_whatever_lies_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
        let plain = save(&dir, "plain.jpg", &image);
        let bytes = std::fs::read(&plain).unwrap();
        // An application segment with a scan and an end of image in it, as a thumbnail has.
        let thumbnail = b"\xff\xe2\0\x08\xff\xda\xff\xd9\0\0";
        let whole = [&bytes[..2], thumbnail, &bytes[2..]].concat();
        let path = dir.path().join("a.jpg");
        for tail in [&b""[..], b"junk", b"\xff\xda\0\x08 a film", b"\xff\xd8\xff\xda"] {
            std::fs::write(&path, [&whole[..], tail].concat()).unwrap();
            assert_eq!(read_rgb(&path).unwrap(), read_rgb(&plain).unwrap());
        }
        for length in [whole.len() / 2, whole.len() - 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read_rgb(&path).unwrap_err().to_string();
            assert!(error.contains("ends too early"), "{length}: {error}");
        }
    }

    #[test]
    fn a_huge_image_is_refused_by_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.png");
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), 20_000, 20_000);
        encoder.set_color(png::ColorType::Rgb);
        // There is no more than the header and an empty start of the pixels, so decoding would be another error.
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[]).unwrap();
        drop(writer);
        let error = read_rgb(&path).unwrap_err().to_string();
        assert!(
            error.contains("huge.png: 20000 x 20000") && error.contains("scale it down"),
            "{error}"
        );
    }
}
