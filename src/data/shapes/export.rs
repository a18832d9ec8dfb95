//! Writing a data set as a VOC-style folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow, bail};
use image::{ImageFormat, RgbImage};
use rayon::prelude::*;

use super::super::decode::write_mask;
use super::super::{Data, Split};
use crate::files::write_bytes;

/// Writes a data set as a VOC-style folder that reads back to the same pixels, tags and masks.
///
/// Images are PNG files in `JPEGImages`, tags are in `Annotations`, masks with the VOC palette in `SegmentationClass`,
/// lists in `ImageSets/Segmentation`, and class names in `classes.txt`. `on_item(done, total)` is called after each
/// image.
///
/// # Errors
/// A folder that is not empty; names the file that cannot be written or read, or two different images of one name in the two splits.
pub fn write_voc(data: &Data, dir: &Path, on_item: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("the folder {} is not empty; choose another --out", dir.display());
    }
    let mut by_name: BTreeMap<&str, (&Split, usize)> = BTreeMap::new();
    for split in [&data.train, &data.val] {
        for index in split.indices() {
            let name = split.name(index);
            if let Some((other, at)) = by_name.insert(name, (split, index))
                && other.source(at) != split.source(index)
            {
                bail!(
                    "{} and {} have one name; rename one of them",
                    other.source(at),
                    split.source(index)
                );
            }
        }
    }
    for part in [
        "JPEGImages",
        "Annotations",
        "SegmentationClass",
        "ImageSets/Segmentation",
    ] {
        let folder = dir.join(part);
        fs::create_dir_all(&folder).map_err(|e| anyhow!("cannot make the folder {}: {e}", folder.display()))?;
    }
    let (done, total) = (AtomicUsize::new(0), by_name.len());
    by_name.into_par_iter().try_for_each(|(_, (split, index))| {
        write_item(split, index, &data.classes, dir)?;
        on_item(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        anyhow::Ok(())
    })?;
    write_bytes(&dir.join("classes.txt"), (data.classes.join("\n") + "\n").as_bytes())?;
    for (list, split) in [("train", &data.train), ("val", &data.val)] {
        let lines: String = split.indices().map(|i| format!("{}\n", split.name(i))).collect();
        let path = dir.join("ImageSets/Segmentation").join(format!("{list}.txt"));
        write_bytes(&path, lines.as_bytes())?;
    }
    Ok(())
}

fn write_item(split: &Split, index: usize, classes: &[String], dir: &Path) -> Result<()> {
    let name = split.name(index);
    let image = split.image(index)?;
    let path = dir.join("JPEGImages").join(format!("{name}.png"));
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|e| anyhow!("cannot write {}: {e}", path.display()))?;
    write_bytes(&path, bytes.get_ref())?;
    if let Some(mask) = split.mask(index)? {
        write_mask(dir.join("SegmentationClass").join(format!("{name}.png")), &mask)?;
    }
    let tags = split.tags(index).iter().filter_map(|&t| classes.get(t));
    let xml = annotation(name, &image, tags);
    write_bytes(&dir.join("Annotations").join(format!("{name}.xml")), xml.as_bytes())
}

fn annotation<'a>(name: &str, image: &RgbImage, tags: impl Iterator<Item = &'a String>) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let objects: String = tags
        .map(|tag| format!("  <object>\n    <name>{}</name>\n  </object>\n", escape(tag)))
        .collect();
    format!(
        "<annotation>\n  <filename>{}.png</filename>\n  <size>\n    <width>{}</width>\n    <height>{}</height>\n    <depth>3</depth>\n  </size>\n{objects}</annotation>\n",
        escape(name),
        image.width(),
        image.height()
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::{DataOptions, Kind, ShapesOptions, open};
    use super::*;

    #[test]
    fn the_folder_reads_back_to_the_same_bits() {
        let dir = tempfile::tempdir().unwrap();
        let shapes = ShapesOptions {
            size: 48,
            train: 4,
            val: 2,
            ..Default::default()
        };
        let mut options = DataOptions::built_in(3, shapes);
        let data = open(&options).unwrap();
        write_voc(&data, dir.path(), &|_, total| assert_eq!(total, 6)).unwrap();
        let again = write_voc(&data, dir.path(), &|_, _| {}).unwrap_err();
        assert!(again.to_string().contains("is not empty"), "{again}");
        options.kind = None;
        options.data = dir.path().display().to_string();
        let mut again = open(&options).unwrap();
        again.verify(&|_, _| {}).unwrap();
        assert_eq!((again.kind, again.skipped), (Kind::Voc, 0));
        assert_eq!(again.classes, data.classes);
        for (a, b) in [(&data.train, &again.train), (&data.val, &again.val)] {
            assert_eq!(a.len(), b.len());
            for i in a.indices() {
                assert_eq!((a.name(i), a.tags(i)), (b.name(i), b.tags(i)));
                assert_eq!(a.image(i).unwrap(), b.image(i).unwrap());
                assert_eq!(a.mask(i).unwrap(), b.mask(i).unwrap());
            }
        }
    }
}
