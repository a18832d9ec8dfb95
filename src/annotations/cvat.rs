//! CVAT's export "Segmentation mask": `labelmap.txt` with a colour for each label, and masks in these colours.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageReader};

use super::{BACKGROUND, IGNORED, MOST_CLASSES};

/// The labels of a `labelmap.txt`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Labels {
    /// Names of the classes, without the background, in the order of the file.
    pub classes: Vec<String>,
    /// The mask value that each colour stands for: [`BACKGROUND`], c + 1, [`IGNORED`].
    values: HashMap<[u8; 3], u8>,
}

impl Labels {
    /// Reads the text of a `labelmap.txt`: lines `label:red,green,blue:parts:actions` below a comment. `background` is
    /// the label of no class, `ignored` and `__ignore__` of what is ignored. Black is background where no label has it.
    ///
    /// # Errors
    /// One line that names `place` and the line: another form, a colour or a name that two labels have, too many.
    pub fn parse(text: &str, place: &Path) -> Result<Labels> {
        let mut labels = Labels::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            labels
                .add(line)
                .map_err(|error| anyhow!("{} line {}: {error}", place.display(), number + 1))?;
        }
        ensure!(
            !labels.classes.is_empty(),
            "{} has no labels but the background",
            place.display()
        );
        labels.values.entry([0; 3]).or_insert(BACKGROUND);
        Ok(labels)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        // Names may have colons in them.
        let fields: Vec<&str> = line.rsplitn(4, ':').collect();
        let (name, colour) = match fields.as_slice() {
            [_, _, colour, name] => (name.trim(), *colour),
            _ => bail!("it is not of the form label:red,green,blue:parts:actions"),
        };
        let parts: Option<Vec<u8>> = colour.split(',').map(|part| part.trim().parse().ok()).collect();
        let Some(&[red, green, blue]) = parts.as_deref() else {
            bail!("{name:?} has no colour of three numbers from 0 to 255, but {colour:?}");
        };
        let value = match name.to_ascii_lowercase().as_str() {
            "background" => BACKGROUND,
            "ignored" | "__ignore__" => IGNORED,
            _ => {
                ensure!(
                    !self.classes.iter().any(|class| class == name),
                    "{name:?} is there twice"
                );
                ensure!(
                    self.classes.len() < MOST_CLASSES,
                    "there are more than {MOST_CLASSES} labels"
                );
                self.classes.push(name.to_owned());
                self.classes.len() as u8
            }
        };
        if let Some(other) = self.values.insert([red, green, blue], value) {
            ensure!(other == value, "two labels have the colour {red},{green},{blue}");
        }
        Ok(())
    }

    /// The mask in a file of `size` (width, height), row by row [H, W].
    ///
    /// # Errors
    /// One line that names the file: it is no image, of another size, or has a colour of no label, and where.
    pub fn mask(&self, path: &Path, size: (u32, u32)) -> Result<Vec<u8>> {
        let fail = |e: &dyn std::fmt::Display| anyhow!("cannot read the mask {}: {e}", path.display());
        let reader = ImageReader::open(path).map_err(|e| fail(&e))?;
        let reader = reader.with_guessed_format().map_err(|e| fail(&e))?;
        let decoder = reader.into_decoder().map_err(|e| fail(&e))?;
        let (width, height) = decoder.dimensions();
        if (width, height) != size {
            bail!(
                "the mask {} is {width} x {height}, but its image is {} x {}; make both the same size",
                path.display(),
                size.0,
                size.1
            );
        }
        let pixels = DynamicImage::from_decoder(decoder).map_err(|e| fail(&e))?.into_rgb8();
        let value = |(x, y, pixel): (u32, u32, &image::Rgb<u8>)| {
            self.values.get(&pixel.0).copied().ok_or_else(|| {
                anyhow!(
                    "the mask {} has the colour {:?} at ({x}, {y}), which no label in labelmap.txt has",
                    path.display(),
                    pixel.0
                )
            })
        };
        pixels.enumerate_pixels().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    const MAP: &str = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,125,187::\r\nbig: dog:1,2,3:head,tail:\nignored:9,9,9::\n";

    #[test]
    fn masks_hold_the_colours_of_the_labels() {
        let labels = Labels::parse(MAP, Path::new("labelmap.txt")).unwrap();
        assert_eq!(labels.classes, ["cat", "big: dog"]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let colours = [[0, 0, 0], [250, 125, 187], [1, 2, 3], [9, 9, 9]];
        RgbImage::from_fn(4, 1, |x, _| Rgb(colours[x as usize]))
            .save(&path)
            .unwrap();
        assert_eq!(labels.mask(&path, (4, 1)).unwrap(), [0, 1, 2, 255]);
        let size = labels.mask(&path, (1, 4)).unwrap_err().to_string();
        assert!(size.contains("a.png is 4 x 1, but its image is 1 x 4"), "{size}");
        RgbImage::from_pixel(4, 1, Rgb([250, 125, 186])).save(&path).unwrap();
        let colour = labels.mask(&path, (4, 1)).unwrap_err().to_string();
        assert!(
            colour.contains("a.png has the colour [250, 125, 186] at (0, 0)"),
            "{colour}"
        );
        std::fs::write(&path, "text").unwrap();
        assert!(labels.mask(&path, (4, 1)).is_err());
    }

    #[test]
    fn what_is_no_label_map_is_named_with_its_line() {
        for (text, part) in [
            ("", "labelmap.txt has no labels"),
            ("background:0,0,0::\n", "no labels but the background"),
            ("# x\ncat\n", "line 2: it is not of the form"),
            ("cat:1,2::\n", "line 1: \"cat\" has no colour of three"),
            ("cat:1,2,300::\n", "but \"1,2,300\""),
            ("cat:1,2,3::\ndog:1,2,3::\n", "line 2: two labels have the colour 1,2,3"),
            ("cat:1,2,3::\ncat:1,2,4::\n", "line 2: \"cat\" is there twice"),
        ] {
            let error = Labels::parse(text, Path::new("labelmap.txt")).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
