//! A folder of images: tags from `tags.csv`, or from one sub-folder a class.
//!
//! - `tags.csv` has rows `file,tag;tag` with files relative to the folder; a header `file,tags` is optional, and several
//!   rows about one file add up.
//! - Without it, every image below the sub-folder NAME, at any depth, has the tag NAME.
//! - `masks/IMAGE.png` is the true mask of the image IMAGE, for evaluation.
//! - `classes.txt` (one name a line) fixes the order of the classes and which tags may occur; without it they are the
//!   sorted set of the tags.
//! - Validation images come from a second folder of the same form, in which images with a mask need no tags. Without
//!   one, the training images that have a mask are used for validation too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::files::{self, EXTENSIONS};
use super::split::{Item, Pixels, Split};
use super::{Data, Kind, Skips, tag_indices};

/// Opens a folder; `val` is the folder with the validation images.
pub(super) fn open(dir: &Path, val: Option<&Path>) -> Result<Data> {
    let mut skips = Skips::default();
    let listed = list(dir, val, &mut skips)?;
    let classes = match files::read_classes(&dir.join("classes.txt"))? {
        Some(classes) => classes,
        None => {
            let names: BTreeSet<_> = listed.iter().flat_map(|l| &l.tags).cloned().collect();
            names.into_iter().collect()
        }
    };
    files::check_classes(&classes, dir)?;
    let train = items(dir, listed, &classes, true, &mut skips)?;
    if train.is_empty() {
        bail!(
            "no tagged images in {}; looked for tags.csv with rows file,tag;tag, or one sub-folder a class, with files that end in {}",
            dir.display(),
            EXTENSIONS.join(", ")
        );
    }
    let (val, val_is_train) = match val {
        Some(val) => {
            let listed = list(val, None, &mut skips)?;
            (items(val, listed, &classes, false, &mut skips)?, false)
        }
        None => {
            let with_mask = train.iter().filter(|i| mask_path(i).is_some());
            let val: Vec<Item> = with_mask.cloned().collect();
            let is_train = !val.is_empty();
            (val, is_train)
        }
    };
    Ok(Data {
        kind: Kind::Folder,
        train: Split::new(train, classes.len()),
        val: Split::new(val, classes.len()),
        val_is_train,
        classes,
        skipped: skips.0,
    })
}

struct Listed {
    path: PathBuf,
    tags: Vec<String>,
}

fn mask_path(item: &Item) -> Option<&PathBuf> {
    match &item.pixels {
        Pixels::Files { mask, .. } => mask.as_ref(),
        Pixels::Memory { .. } | Pixels::Extra(_) => None,
    }
}

fn list(dir: &Path, besides: Option<&Path>, skips: &mut Skips) -> Result<Vec<Listed>> {
    if !dir.is_dir() {
        bail!(
            "the data set {} is not a folder; give the path of one",
            dir.display()
        );
    }
    let table = dir.join("tags.csv");
    let tagged = if table.exists() {
        from_table(dir, &table, skips)?
    } else {
        from_sub_folders(dir, besides)?
    };
    // What is in the folder but has no tags is told, not silently left out.
    let known: BTreeSet<_> = tagged.iter().map(|l| l.path.clone()).collect();
    let mut images = Vec::new();
    for path in files::entries(dir)?
        .into_iter()
        .filter(|p| is_content(p, besides))
    {
        if path.is_dir() {
            files::walk(&path, &mut images)?;
        } else if files::has_image_extension(&path) {
            images.push(path);
        }
    }
    let untagged = images.into_iter().filter(|p| !known.contains(p));
    let untagged: Vec<_> = untagged
        .map(|path| Listed {
            path,
            tags: Vec::new(),
        })
        .collect();
    Ok(tagged.into_iter().chain(untagged).collect())
}

/// Whether an entry of the data folder is one of its images or class folders.
fn is_content(path: &Path, besides: Option<&Path>) -> bool {
    let other = besides.and_then(|b| b.canonicalize().ok());
    files::file_name(path) != "masks" && (other.is_none() || path.canonicalize().ok() != other)
}

fn from_table(dir: &Path, table: &Path, skips: &mut Skips) -> Result<Vec<Listed>> {
    let text = files::read_text(table)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|e| anyhow!("cannot read {}: {e}", table.display()))?;
        let line = row.position().map_or(number as u64 + 1, |p| p.line());
        let (file, tags) = (
            row.get(0).unwrap_or_default(),
            row.get(1).unwrap_or_default(),
        );
        if number == 0 && file.eq_ignore_ascii_case("file") {
            continue;
        }
        if file.is_empty() || row.len() > 2 {
            bail!(
                "{} line {line} is not of the form file,tag;tag; write several tags with semicolons between them",
                table.display()
            );
        }
        let path = dir.join(file);
        if !path.is_file() {
            skips.skip(format!(
                "{} line {line} names {}, which does not exist",
                table.display(),
                path.display()
            ));
            continue;
        }
        let tags = tags.split(';').map(str::trim).filter(|t| !t.is_empty());
        rows.entry(path)
            .or_default()
            .extend(tags.map(str::to_owned));
    }
    Ok(rows
        .into_iter()
        .map(|(path, tags)| Listed { path, tags })
        .collect())
}

fn from_sub_folders(dir: &Path, besides: Option<&Path>) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for folder in files::entries(dir)? {
        if folder.is_dir() && is_content(&folder, besides) {
            let mut images = Vec::new();
            files::walk(&folder, &mut images)?;
            let tags = vec![files::file_name(&folder)];
            listed.extend(images.into_iter().map(|path| Listed {
                path,
                tags: tags.clone(),
            }));
        }
    }
    Ok(listed)
}

/// Joins files with one name and the same bytes into one image with the tags of all.
///
/// # Errors
/// Two different images with one name: results are stored under it.
fn merge(listed: Vec<Listed>) -> Result<Vec<Listed>> {
    let mut by_name: BTreeMap<String, Listed> = BTreeMap::new();
    for new in listed {
        // Some file systems do not tell upper from lower case.
        let name = files::stem(&new.path).to_lowercase();
        let Some(old) = by_name.get_mut(&name) else {
            by_name.insert(name, new);
            continue;
        };
        if files::file_name(&old.path) != files::file_name(&new.path)
            || !same_bytes(&old.path, &new.path)?
        {
            bail!(
                "{} and {} have one name (upper or lower case aside); rename one of them",
                old.path.display(),
                new.path.display()
            );
        }
        old.tags.extend(new.tags);
    }
    Ok(by_name.into_values().collect())
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let read =
        |path: &Path| fs::read(path).map_err(|e| anyhow!("cannot read {}: {e}", path.display()));
    Ok(read(a)? == read(b)?)
}

fn items(
    dir: &Path,
    mut listed: Vec<Listed>,
    classes: &[String],
    training: bool,
    skips: &mut Skips,
) -> Result<Vec<Item>> {
    let mask_of = |path: &Path| {
        let mask = dir.join("masks").join(format!("{}.png", files::stem(path)));
        Some(mask).filter(|m| m.is_file())
    };
    listed.retain(|Listed { path, tags }| {
        let useful = !tags.is_empty() || (!training && mask_of(path).is_some());
        if !useful {
            skips.skip(format!("{} has no tags", path.display()));
        }
        useful
    });
    let item = |Listed { path, tags }: Listed| {
        Ok(Item {
            name: files::stem(&path),
            tags: tag_indices(&tags, classes, &path)?,
            pixels: Pixels::Files {
                mask: mask_of(&path),
                image: path,
            },
        })
    };
    merge(listed)?.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::write_mask;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    /// A folder with images of different content, and text files.
    fn folder(images: &[&str], texts: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (shade, name) in images.iter().enumerate() {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_pixel(4, 3, Rgb([shade as u8 * 20; 3]))
                .save(path)
                .unwrap();
        }
        for (name, text) in texts {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn names(split: &Split) -> Vec<&str> {
        split.indices().map(|i| split.name(i)).collect()
    }

    fn error(dir: &tempfile::TempDir) -> String {
        let text = format!("{:#}", open(dir.path(), None).unwrap_err());
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn a_table_with_or_without_header_gives_tags() {
        for header in ["file,tags\n", ""] {
            let table = format!("{header}b.jpg, dog ; cat\nin/a.png,cat\nb.jpg,dog\n");
            let dir = folder(&["b.jpg", "in/a.png"], &[("tags.csv", &table)]);
            let data = open(dir.path(), None).unwrap();
            assert_eq!(data.classes, ["cat", "dog"]);
            assert_eq!(names(&data.train), ["a", "b"]);
            assert_eq!(
                (data.train.tags(0), data.train.tags(1)),
                (&[0][..], &[0, 1][..])
            );
            assert!(data.val.is_empty() && !data.val_is_train);
            assert_eq!(data.skipped, 0);
        }
    }

    #[test]
    fn what_cannot_be_used_is_counted() {
        let table = "a.jpg,cat\ngone.jpg,cat\nb.jpg,\nc.jpg,cat\n";
        let dir = folder(
            &["a.jpg", "b.jpg", "unlisted.jpg", "a.png"],
            &[("tags.csv", table), ("c.jpg", "no JPEG")],
        );
        let mut data = open(dir.path(), None).unwrap();
        assert_eq!((names(&data.train), data.skipped), (vec!["a", "c"], 4));
        assert!(
            data.train
                .image(1)
                .unwrap_err()
                .to_string()
                .contains("c.jpg")
        );
        data.verify(&|_, total| assert_eq!(total, 2)).unwrap();
        assert_eq!((names(&data.train), data.skipped), (vec!["a"], 5));
    }

    #[test]
    fn verify_drops_bad_masks_but_keeps_their_images() {
        let dir = folder(&["x/a.png", "x/b.png", "x/c.png"], &[]);
        let masks = dir.path().join("masks");
        fs::create_dir(&masks).unwrap();
        write_mask(masks.join("a.png"), &GrayImage::from_pixel(4, 3, Luma([1]))).unwrap();
        write_mask(masks.join("b.png"), &GrayImage::from_pixel(4, 3, Luma([2]))).unwrap();
        write_mask(masks.join("c.png"), &GrayImage::from_pixel(3, 3, Luma([1]))).unwrap();
        let mut data = open(dir.path(), None).unwrap();
        assert_eq!((data.train.len(), data.val.len()), (3, 3));
        assert!(data.val_is_train);
        assert_eq!(data.val.size(1).unwrap(), (4, 3));
        assert!(
            data.train
                .mask(1)
                .unwrap_err()
                .to_string()
                .contains("b.png has the value 2")
        );
        data.verify(&|_, _| {}).unwrap();
        let kept: Vec<_> = (0..3).map(|i| data.val.has_mask(i)).collect();
        assert_eq!((kept, data.skipped), (vec![true, false, false], 0));
        assert_eq!(data.train.mask(0).unwrap().unwrap().as_raw(), &[1; 12]);

        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(format!("x/{name}.png")), "broken").unwrap();
        }
        let error = data.verify(&|_, _| {}).unwrap_err().to_string();
        assert!(error.contains("no training image can be read"), "{error}");
        assert_eq!(data.skipped, 3);
    }

    #[test]
    fn sub_folders_are_classes() {
        let dir = folder(&["dog/deep/b.png", "cat/a.png", "cat/c.d.png"], &[]);
        fs::copy(dir.path().join("cat/a.png"), dir.path().join("dog/a.png")).unwrap();
        let data = open(dir.path(), None).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        assert_eq!(names(&data.train), ["a", "b", "c.d"]);
        assert_eq!(
            (data.train.tags(0), data.train.tags(1)),
            (&[0, 1][..], &[1][..])
        );

        let clash = error(&folder(&["dog/a.png", "cat/a.png"], &[]));
        for class in ["cat", "dog"] {
            let path = Path::new(class).join("a.png").display().to_string();
            assert!(clash.contains(&path), "{clash}");
        }
        let case = error(&folder(&["dog/a.png", "cat/A.png"], &[]));
        assert!(
            case.contains("A.png") && case.contains("one name"),
            "{case}"
        );
        let background = error(&folder(&["Background/a.png"], &[]));
        assert!(
            background.contains("\"Background\"") && background.contains("rename it"),
            "{background}"
        );
    }

    #[test]
    fn mistakes_are_explained() {
        let stems = error(&folder(
            &["a.jpg", "a.png"],
            &[("tags.csv", "a.jpg,x\na.png,x\n")],
        ));
        assert!(
            stems.contains("a.jpg") && stems.contains("a.png") && stems.contains("one name"),
            "{stems}"
        );

        let texts = [("tags.csv", "a.jpg,bird\n"), ("classes.txt", "dog\ncat\n")];
        let unknown = error(&folder(&["a.jpg"], &texts));
        assert!(
            unknown.contains("a.jpg has the unknown tag \"bird\"; known are dog, cat"),
            "{unknown}"
        );

        let commas = error(&folder(&["a.jpg"], &[("tags.csv", "a.jpg,dog,cat\n")]));
        assert!(
            commas.contains("tags.csv line 1") && commas.contains("semicolons"),
            "{commas}"
        );

        for empty in [
            folder(&[], &[]),
            folder(&["a.jpg"], &[]),
            folder(&[], &[("tags.csv", "file,tags\n")]),
        ] {
            let text = error(&empty);
            assert!(
                text.contains("no tagged images") && text.contains("tags.csv"),
                "{text}"
            );
        }
        let missing = open(Path::new("no/such/folder"), None)
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("no/such/folder is not a folder"),
            "{missing}"
        );
    }

    #[test]
    fn a_validation_folder_needs_masks_or_tags() {
        let dir = folder(
            &["cat/a.png", "val/b.png", "val/c.png"],
            &[("val/tags.csv", "")],
        );
        fs::create_dir(dir.path().join("val/masks")).unwrap();
        write_mask(dir.path().join("val/masks/b.png"), &GrayImage::new(4, 3)).unwrap();
        let data = open(dir.path(), Some(&dir.path().join("val"))).unwrap();
        assert_eq!((data.classes.len(), names(&data.train)), (1, vec!["a"]));
        assert_eq!((names(&data.val), data.skipped), (vec!["b"], 1));
        assert!(!data.val_is_train);
    }
}
