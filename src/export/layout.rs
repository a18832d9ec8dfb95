//! Which files each format has, and where.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::folder::{Folder, Growing};
use super::{Item, Settings};
use crate::annotations::format::Format;
use crate::annotations::write::{Picture, coco, cvat, hf, labelme, voc, yolo};
use crate::data::colour;
use crate::data::decode::write_mask;

/// The most parts that VOC's masks of objects tell apart.
const MOST_OBJECTS: usize = 254;

/// What an image adds to the files that are about all of them.
#[derive(Default)]
pub struct Rows {
    line: String,
    annotations: Vec<coco::Annotation>,
    /// Parts without a number of their own among the objects.
    unnumbered: usize,
}

/// The files of a format, as they are being written.
pub struct Layout<'a> {
    folder: &'a Folder,
    settings: Settings,
    classes: &'a [String],
    /// The file about all images, where there is one that grows.
    shared: Option<Growing>,
    /// Lines for the end: names of images, or rows about them.
    lines: Vec<String>,
    annotations: u64,
    unnumbered: usize,
}

impl<'a> Layout<'a> {
    /// Begins to write.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn begin(folder: &'a Folder, settings: Settings, classes: &'a [String]) -> Result<Layout<'a>> {
        let mut layout = Layout {
            folder,
            settings,
            classes,
            shared: None,
            lines: Vec::new(),
            annotations: 0,
            unnumbered: 0,
        };
        match settings.format {
            Format::Coco => {
                let name = format!("annotations/instances_{}.json", layout.part());
                let mut shared = folder.begin(&name)?;
                let categories = serde_json::to_string(&coco::categories(classes))?;
                shared.add(&format!(
                    "{{\"info\":{{\"description\":\"masks of weakseg {}\"}},\"licenses\":[],\n\"categories\":{categories},\n\"annotations\":[",
                    env!("CARGO_PKG_VERSION")
                ))?;
                layout.shared = Some(shared);
            }
            Format::Hf => layout.shared = Some(folder.begin(&format!("{}/metadata.jsonl", layout.hf_part()))?),
            _ => {}
        }
        Ok(layout)
    }

    /// Writes the files of an image, and returns what it adds to the others.
    ///
    /// # Errors
    /// One line that names the file that cannot be written.
    pub fn image(&self, item: &Item) -> Result<Rows> {
        let Settings { drawn, images, .. } = self.settings;
        let (name, file) = (&item.name, item.file_name());
        let mut rows = Rows {
            line: name.clone(),
            ..Rows::default()
        };
        let in_folder = |at: &str| format!("{at}/{file}");
        let picture = |file| Picture {
            file,
            tags: &item.tags,
            regions: &item.regions,
        };
        match self.settings.format {
            Format::Coco => {
                item.bring(self.folder, &in_folder(self.part()), images)?;
                let picture = picture(&file);
                let id = item.number as u64 + 1;
                rows.line = serde_json::to_string(&coco::image(id, &picture))?;
                rows.annotations = coco::annotations(id, &picture, drawn);
            }
            Format::Yolo => {
                item.bring(self.folder, &in_folder(&format!("images/{}", self.part())), images)?;
                let text = yolo::labels(&picture(&file));
                self.folder
                    .write(&format!("labels/{}/{name}.txt", self.part()), text.as_bytes())?;
            }
            Format::Labelme => {
                item.bring(self.folder, &file, images)?;
                let picture = picture(&file);
                let text = serde_json::to_string_pretty(&labelme::file(&picture, self.classes, drawn)?)?;
                self.folder.write(&format!("{name}.json"), text.as_bytes())?;
            }
            Format::Cvat => {
                item.bring(self.folder, &in_folder("JPEGImages"), images)?;
                let (width, height) = item.mask.dimensions();
                let of_class = |x, y| Rgb(colour(u32::from(item.mask.get_pixel(x, y).0[0])));
                let classes = RgbImage::from_fn(width, height, of_class);
                self.folder
                    .write(&format!("SegmentationClass/{name}.png"), &png(&classes)?)?;
                let mut objects = RgbImage::new(width, height);
                for (object, (_, region)) in picture(&file).parts().enumerate() {
                    let own = Rgb(colour(object as u32 + 1));
                    item.regions.each_pixel(region, |at| {
                        objects.put_pixel(at as u32 % width, at as u32 / width, own)
                    });
                }
                self.folder
                    .write(&format!("SegmentationObject/{name}.png"), &png(&objects)?)?;
            }
            Format::Voc => {
                item.bring(self.folder, &in_folder("JPEGImages"), images)?;
                self.mask(&format!("SegmentationClass/{name}.png"), &item.mask)?;
                let (width, height) = item.mask.dimensions();
                let mut objects = GrayImage::from_fn(width, height, |x, y| match item.mask.get_pixel(x, y).0[0] {
                    0 => Luma([0]),
                    _ => Luma([255]),
                });
                let picture = picture(&file);
                for ((_, region), number) in picture.parts().zip(1..=MOST_OBJECTS as u8) {
                    item.regions.each_pixel(region, |at| {
                        objects.put_pixel(at as u32 % width, at as u32 / width, Luma([number]));
                    });
                }
                rows.unnumbered = picture.parts().count().saturating_sub(MOST_OBJECTS);
                self.mask(&format!("SegmentationObject/{name}.png"), &objects)?;
                let xml = voc::annotation(&picture, self.classes);
                self.folder.write(&format!("Annotations/{name}.xml"), xml.as_bytes())?;
            }
            Format::Hf => {
                let (image, mask) = (format!("images/{file}"), format!("masks/{name}.png"));
                item.bring(self.folder, &format!("{}/{image}", self.hf_part()), images)?;
                self.mask(&format!("{}/{mask}", self.hf_part()), &item.mask)?;
                rows.line = serde_json::to_string(&hf::row(&picture(&image), &mask, self.classes))?;
            }
        }
        Ok(rows)
    }

    /// Adds what an image adds.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn add(&mut self, rows: Rows) -> Result<()> {
        self.unnumbered += rows.unnumbered;
        match (self.settings.format, &mut self.shared) {
            (Format::Coco, Some(shared)) => {
                for mut annotation in rows.annotations {
                    self.annotations += 1;
                    annotation.id = self.annotations;
                    let comma = if self.annotations > 1 { "," } else { "" };
                    shared.add(&format!("{comma}\n{}", serde_json::to_string(&annotation)?))?;
                }
            }
            (_, Some(shared)) => return shared.add(&format!("{}\n", rows.line)),
            _ => {}
        }
        self.lines.push(rows.line);
        Ok(())
    }

    /// Writes what is about all images, and says what the format could not hold.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn finish(mut self) -> Result<Vec<String>> {
        if let Some(mut shared) = self.shared.take() {
            if self.settings.format == Format::Coco {
                shared.add(&format!("],\n\"images\":[\n{}]}}\n", self.lines.join(",\n")))?;
            }
            shared.finish()?;
        }
        let names = || self.lines.iter().map(|name| format!("{name}\n")).collect::<String>();
        let write = |name: &str, text: &str| self.folder.write(name, text.as_bytes());
        let classes = format!("{}\n", self.classes.join("\n"));
        match self.settings.format {
            Format::Coco => {}
            Format::Yolo => {
                let images = format!("images/{}", self.part());
                write("data.yaml", &yolo::config(self.classes, &images))?;
            }
            Format::Labelme => {
                write("labels.txt", &labelme::names(self.classes))?;
                write("classes.txt", &classes)?;
            }
            Format::Cvat => {
                let map = cvat::label_map(self.classes, |value| colour(u32::from(value)));
                write("labelmap.txt", &map)?;
                write("ImageSets/Segmentation/default.txt", &names())?;
            }
            Format::Voc => {
                write("classes.txt", &classes)?;
                for list in [self.part(), "trainval"] {
                    write(&format!("ImageSets/Segmentation/{list}.txt"), &names())?;
                }
            }
            Format::Hf => {
                let known = self.classes.iter().map(String::as_str).zip(1..);
                let ids = [("background", 0)].into_iter().chain(known);
                let ids: serde_json::Map<_, _> = ids.map(|(name, id)| (id.to_string(), name.into())).collect();
                write("id2label.json", &serde_json::to_string_pretty(&ids)?)?;
            }
        }
        let mut notes = Vec::new();
        if self.unnumbered > 0 {
            notes.push(format!(
                "{} parts beyond {MOST_OBJECTS} an image have no number of their own in SegmentationObject",
                self.unnumbered
            ));
        }
        Ok(notes)
    }

    fn mask(&self, name: &str, mask: &GrayImage) -> Result<()> {
        write_mask(self.folder.place(name)?, mask)
    }

    fn part(&self) -> &'static str {
        if self.settings.training { "train" } else { "val" }
    }

    fn hf_part(&self) -> &'static str {
        if self.settings.training { "train" } else { "validation" }
    }
}

/// An image as PNG.
pub(super) fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .context("an image cannot be written as PNG")?;
    Ok(bytes.into_inner())
}
