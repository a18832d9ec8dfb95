//! A year folder of a VOCdevkit: `JPEGImages`, `Annotations`, `SegmentationClass`, `ImageSets/Segmentation`.
//!
//! Tags are the names of the objects in the XML, difficult ones included. Training images need them; validation images
//! with a mask do not. Classes are those of `classes.txt` in the year folder; without it the twenty of PASCAL VOC where
//! every name is one of them, else the sorted set of the names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use rayon::prelude::*;

use super::files;
use super::split::{Item, Pixels, Split};
use super::{Data, Kind, Skips, tag_indices};

const VOC_CLASSES: &str = include_str!("../../assets/classes/voc.txt");

/// The year folder that `path` is, or the only one inside it; `None` where there is none.
///
/// # Errors
/// Several year folders to choose from.
pub(super) fn year_folder(path: &Path) -> Result<Option<PathBuf>> {
    let is_year = |p: &Path| p.join("ImageSets").is_dir() && p.join("JPEGImages").is_dir();
    if is_year(path) {
        return Ok(Some(path.to_owned()));
    }
    let years: Vec<_> = files::entries(path)?
        .into_iter()
        .filter(|p| files::file_name(p).starts_with("VOC20") && is_year(p))
        .collect();
    match years.as_slice() {
        [] => Ok(None),
        [year] => Ok(Some(year.clone())),
        _ => {
            let names: Vec<_> = years.iter().map(|p| files::file_name(p)).collect();
            bail!(
                "{} holds {}; give the path of one of them",
                path.display(),
                names.join(", ")
            )
        }
    }
}

/// Opens a year folder, or the VOCdevkit folder around a single one.
pub(super) fn open(path: &Path, train: Option<&str>, val: Option<&str>) -> Result<Data> {
    if !path.is_dir() {
        bail!(
            "the data set {} is not a folder; give a year folder of a VOCdevkit",
            path.display()
        );
    }
    let root = year_folder(path)?.ok_or_else(|| {
        anyhow!(
            "{} is no year folder of a VOCdevkit; looked for ImageSets and JPEGImages in it, and for one VOC20xx",
            path.display()
        )
    })?;
    let mut skips = Skips::default();
    let train_list = list_path(&root, train.unwrap_or("train"))?;
    let train = read_list(&root, &train_list, true, &mut skips)?;
    let val = match val {
        None if list_path(&root, "val").is_err() => {
            log::warn!(
                "{} has no list val.txt; nothing to validate on",
                root.display()
            );
            Vec::new()
        }
        name => {
            let list = list_path(&root, name.unwrap_or("val"))?;
            read_list(&root, &list, false, &mut skips)?
        }
    };
    if train.is_empty() {
        bail!(
            "no training image in {}; looked for the images of its lines in JPEGImages and their tags in Annotations",
            train_list.display()
        );
    }
    let names: BTreeSet<_> = train.iter().chain(&val).flat_map(|e| &e.names).collect();
    let classes = match files::read_classes(&root.join("classes.txt"))? {
        Some(classes) => classes,
        None if names.iter().all(|n| VOC_CLASSES.lines().any(|c| c == *n)) => {
            VOC_CLASSES.lines().map(str::to_owned).collect()
        }
        None => names.into_iter().cloned().collect(),
    };
    files::check_classes(&classes, &root)?;
    let split = |entries: Vec<Entry>| -> Result<Split> {
        let items = entries.into_iter().map(|entry| entry.item(&root, &classes));
        Ok(Split::new(items.collect::<Result<_>>()?, classes.len()))
    };
    Ok(Data {
        kind: Kind::Voc,
        train: split(train)?,
        val: split(val)?,
        val_is_train: false,
        classes,
        skipped: skips.0,
    })
}

/// An image of a list, with the names of its objects.
struct Entry {
    name: String,
    image: PathBuf,
    mask: Option<PathBuf>,
    names: Vec<String>,
}

impl Entry {
    fn item(self, root: &Path, classes: &[String]) -> Result<Item> {
        Ok(Item {
            tags: tag_indices(&self.names, classes, &annotation(root, &self.name))?,
            name: self.name,
            pixels: Pixels::Files {
                image: self.image,
                mask: self.mask,
            },
        })
    }
}

fn annotation(root: &Path, name: &str) -> PathBuf {
    root.join("Annotations").join(format!("{name}.xml"))
}

fn list_path(root: &Path, name: &str) -> Result<PathBuf> {
    let sets = root.join("ImageSets").join("Segmentation");
    let tried = [
        sets.join(format!("{name}.txt")),
        sets.join(name),
        PathBuf::from(name),
    ];
    tried.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        anyhow!(
            "there is no list {name}; looked for {} and {name} itself",
            tried[0].display()
        )
    })
}

fn read_list(root: &Path, list: &Path, training: bool, skips: &mut Skips) -> Result<Vec<Entry>> {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut entries = Vec::new();
    let mut missing_masks = 0;
    for (number, line) in files::read_text(list)?.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{} line {}", list.display(), number + 1);
        let mut entry = parse_line(root, line, &place)?;
        // Some file systems do not tell upper from lower case.
        if let Some(other) = seen.insert(entry.name.to_lowercase(), entry.image.clone()) {
            if other != entry.image {
                bail!(
                    "{place}: {} and {} have one name (upper or lower case aside); rename one of them",
                    other.display(),
                    entry.image.display()
                );
            }
            log::warn!("{place} repeats {}; it is used once", entry.name);
            continue;
        }
        if !entry.image.is_file() {
            skips.skip(format!(
                "{place} names {}, which does not exist",
                entry.image.display()
            ));
            continue;
        }
        if entry.mask.as_ref().is_some_and(|m| !m.is_file()) {
            missing_masks += 1;
            entry.mask = None;
        }
        let standard = root
            .join("SegmentationClass")
            .join(format!("{}.png", entry.name));
        entry.mask = entry.mask.or(Some(standard).filter(|m| m.is_file()));
        entries.push(entry);
    }
    if missing_masks > 0 {
        log::warn!(
            "{missing_masks} masks that {} names do not exist; those of SegmentationClass are used where there are any",
            list.display()
        );
    }
    let names: Vec<_> = entries
        .par_iter()
        .map(|e| read_tags(&annotation(root, &e.name)))
        .collect::<Result<_>>()?;
    let mut kept = Vec::new();
    for (entry, names) in entries.into_iter().zip(names) {
        let xml = annotation(root, &entry.name);
        match names {
            Some(names) if !names.is_empty() => kept.push(Entry { names, ..entry }),
            _ if !training && entry.mask.is_some() => kept.push(entry),
            Some(_) => skips.skip(format!(
                "{} has no tags: {} holds no object",
                entry.image.display(),
                xml.display()
            )),
            None => skips.skip(format!(
                "{} has no tags: {} does not exist",
                entry.image.display(),
                xml.display()
            )),
        }
    }
    Ok(kept)
}

/// A line in the short (`2007_000032`) or long (`/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png`) form.
fn parse_line(root: &Path, line: &str, place: &str) -> Result<Entry> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let mut parts = line.split_whitespace();
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let is_path = |p: &str| p.contains('/') || files::has_image_extension(Path::new(p));
    if parts.next().is_some() || second.is_some_and(|p| !is_path(p)) {
        bail!("{place} is {line:?}; write an image name, or the paths of an image and a mask");
    }
    let image = if is_path(first) {
        below(first)
    } else {
        let at = |extension: &str| root.join("JPEGImages").join(format!("{first}.{extension}"));
        let found = ["jpg", "png", "jpeg"]
            .map(at)
            .into_iter()
            .find(|p| p.is_file());
        found.unwrap_or_else(|| at("jpg"))
    };
    Ok(Entry {
        name: if is_path(first) {
            files::stem(&image)
        } else {
            first.to_owned()
        },
        image,
        mask: second.map(below),
        names: Vec::new(),
    })
}

/// The names of the objects in an annotation file, `None` where there is no file.
fn read_tags(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read_text(path)?;
    let document = roxmltree::Document::parse(&text).map_err(|e| {
        anyhow!(
            "{} is not valid XML: {e}; repair or remove it",
            path.display()
        )
    })?;
    let objects = document
        .root_element()
        .children()
        .filter(|n| n.has_tag_name("object"));
    let mut names = Vec::new();
    for object in objects {
        // Parts of an object, such as a person's head, have names too, one level further down.
        let name = object.children().find(|n| n.has_tag_name("name"));
        match name.and_then(|n| n.text()).map(str::trim) {
            Some(name) if !name.is_empty() => names.push(name.to_owned()),
            _ => bail!(
                "{} has an object without a name; repair or remove it",
                path.display()
            ),
        }
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::write_mask;
    use image::{GrayImage, RgbImage};
    use std::fs;

    fn object(name: &str) -> String {
        format!("<object><name>{name}</name><part><name>head</name></part></object>")
    }

    /// A year folder with the images a, b, c, all tagged and with masks, and the given train.txt.
    fn year(train: &str, names: [&str; 3]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("VOC2012");
        for part in [
            "JPEGImages",
            "Annotations",
            "SegmentationClass",
            "SegmentationClassAug",
            "ImageSets/Segmentation",
        ] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        for (image, name) in ["a", "b", "c"].into_iter().zip(names) {
            RgbImage::new(4, 3)
                .save(root.join(format!("JPEGImages/{image}.jpg")))
                .unwrap();
            let mask = GrayImage::new(4, 3);
            write_mask(root.join(format!("SegmentationClass/{image}.png")), &mask).unwrap();
            let xml = format!(
                "<annotation><name>no</name>{}{}</annotation>",
                object(name),
                object(name)
            );
            fs::write(root.join(format!("Annotations/{image}.xml")), xml).unwrap();
        }
        fs::write(root.join("ImageSets/Segmentation/train.txt"), train).unwrap();
        fs::write(root.join("ImageSets/Segmentation/val.txt"), "c\n").unwrap();
        (dir, root)
    }

    fn names(split: &Split) -> Vec<&str> {
        split.indices().map(|i| split.name(i)).collect()
    }

    fn error(root: &Path) -> String {
        let text = format!("{:#}", open(root, None, None).unwrap_err());
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn short_and_long_lists_agree() {
        let long = "/JPEGImages/a.jpg /SegmentationClassAug/a.png\nJPEGImages/b.jpg SegmentationClassAug/b.png\n";
        for list in ["# comment\n\na\r\nb\n", long] {
            let (dir, root) = year(list, ["dog", "cat", "dog"]);
            for path in [dir.path(), &root] {
                let data = open(path, None, None).unwrap();
                assert_eq!(
                    (names(&data.train), names(&data.val)),
                    (vec!["a", "b"], vec!["c"])
                );
                assert_eq!(data.classes.len(), 20);
                assert_eq!(
                    (data.train.tags(0), data.train.tags(1)),
                    (&[11][..], &[7][..])
                );
                assert!(data.train.has_mask(0) && data.val.mask(0).unwrap().is_some());
            }
        }
        let (_dir, root) = year(long, ["dog"; 3]);
        write_mask(
            root.join("SegmentationClassAug/a.png"),
            &GrayImage::from_pixel(4, 3, image::Luma([255])),
        )
        .unwrap();
        let data = open(&root, None, Some("train")).unwrap();
        assert_eq!(data.val.mask(0).unwrap().unwrap().as_raw(), &[255; 12]);
        assert_eq!(data.val.mask(1).unwrap().unwrap().as_raw(), &[0; 12]);
    }

    #[test]
    fn classes_come_from_the_data_set() {
        let (_dir, root) = year("a\nb\n", ["zebra", "dog", "dog"]);
        assert_eq!(open(&root, None, None).unwrap().classes, ["dog", "zebra"]);
        fs::write(root.join("classes.txt"), "zebra\nape\ndog\n").unwrap();
        let data = open(&root, None, None).unwrap();
        assert_eq!((data.classes.len(), data.train.tags(1)), (3, &[2][..]));
        fs::write(root.join("classes.txt"), "zebra\nbackground\n").unwrap();
        let background = error(&root);
        assert!(background.contains("rename it"), "{background}");
        fs::write(root.join("classes.txt"), "zebra\n").unwrap();
        let unknown = error(&root);
        assert!(
            unknown.contains("b.xml has the unknown tag \"dog\"; known are zebra"),
            "{unknown}"
        );
    }

    #[test]
    fn what_cannot_be_used_is_counted() {
        let (_dir, root) = year("a\nb\ngone\nb\n", ["dog"; 3]);
        for image in ["b", "c"] {
            fs::remove_file(root.join(format!("Annotations/{image}.xml"))).unwrap();
        }
        let data = open(&root, None, None).unwrap();
        // b has a mask but no tags: no use for training; c has the same, which is enough for validation.
        assert_eq!(
            (names(&data.train), names(&data.val), data.skipped),
            (vec!["a"], vec!["c"], 2)
        );
        assert!(data.val.tags(0).is_empty());
    }

    #[test]
    fn mistakes_are_explained() {
        let (dir, root) = year("a\n", ["dog"; 3]);
        let list = open(&root, Some("trainaug"), None).unwrap_err().to_string();
        assert!(
            list.contains("no list trainaug") && list.contains("trainaug.txt"),
            "{list}"
        );

        fs::write(root.join("Annotations/a.xml"), "<annotation><object>").unwrap();
        let xml = error(&root);
        assert!(xml.contains("a.xml is not valid XML"), "{xml}");
        fs::write(
            root.join("Annotations/a.xml"),
            "<annotation><object/></annotation>",
        )
        .unwrap();
        assert!(error(&root).contains("a.xml has an object without a name"));

        let train = root.join("ImageSets/Segmentation/train.txt");
        for (text, expected) in [
            ("a 1\n", "train.txt line 1 is \"a 1\""),
            ("/JPEGImages/a.jpg\n/other/a.jpg\n", "have one name"),
            ("a\nA\n", "have one name"),
            ("\n", "no training image in"),
        ] {
            fs::write(&train, text).unwrap();
            let text = error(&root);
            assert!(text.contains(expected), "{text}");
        }
        fs::remove_file(&train).unwrap();
        assert!(error(&root).contains("no list train;"));

        for part in ["ImageSets", "JPEGImages"] {
            fs::create_dir_all(dir.path().join("VOC2007").join(part)).unwrap();
        }
        let several = error(dir.path());
        assert!(
            several.contains("VOC2007, VOC2012") && several.contains("one of them"),
            "{several}"
        );
        assert!(error(&root.join("Annotations")).contains("no year folder"));
    }
}
