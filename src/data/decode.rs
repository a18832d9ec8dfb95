//! Reading photographs as 8-bit RGB, whatever they were saved as.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

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
    let (mut decoder, orientation) = open(path)?;
    if jpeg_is_truncated(path)? {
        bail!(
            "cannot read the image {}: the JPEG ends too early; copy it again or remove it",
            path.display()
        );
    }
    decoder
        .set_limits(image::Limits::default())
        .map_err(|e| unreadable(path, e))?;
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
    let (decoder, orientation) = open(path.as_ref())?;
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

fn open(path: &Path) -> Result<(impl ImageDecoder, Orientation)> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    let reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(|e| unreadable(path, e))?;
    if reader.format().is_none() {
        bail!(
            "cannot read the image {}: it is in no known format; convert it to PNG or JPEG",
            path.display()
        );
    }
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
    Ok((decoder, orientation))
}

/// Whether the file is a JPEG whose last scan has no end.
///
/// The decoder fills what is missing with grey instead of failing. Inside a scan the byte 0xFF is escaped, so the last
/// start-of-scan marker has to be followed by an end-of-image marker.
fn jpeg_is_truncated(path: &Path) -> Result<bool> {
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, e))?;
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    Ok(bytes.starts_with(&[0xff, 0xd8, 0xff]) && last(0xd9) <= last(0xda))
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
    let reason = error
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    anyhow!("cannot read the image {}: {reason}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, Rgba};
    use std::path::PathBuf;

    fn save<P>(
        dir: &tempfile::TempDir,
        name: &str,
        image: &ImageBuffer<P, Vec<P::Subpixel>>,
    ) -> PathBuf
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
            DynamicImage::from(grey.clone())
                .to_rgb8()
                .save(&path)
                .unwrap();
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
            read_rgb(save(
                &dir,
                "dot.png",
                &ImageBuffer::from_pixel(1, 1, Luma([9_u8]))
            ))
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
