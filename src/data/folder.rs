//! A folder of images: tags from `tags.csv`, or from one sub-folder a class.
//!
//! - `tags.csv` has rows `file,tag;tag` with files relative to the folder; a header `file,tags` is optional, and several
//!   rows about one file add up. Other separators and one column a class are read too (`table`).
//! - Without it, every image below the sub-folder NAME, at any depth, has the tag NAME.
//! - `masks/IMAGE.png` is the true mask of the image IMAGE, for evaluation (`mask_files` has the other forms).
//! - `classes.txt` (one name a line) fixes the order of the classes and which tags may occur; without it they are the
//!   sorted set of the tags, as numbers where all are.
//! - Images of one file name in several folders are one where their bytes are equal, and else are called after their
//!   paths: `cat_IMAGE` and `dog_IMAGE`.
//! - Validation images come from a second folder of the same form, in which images with a mask need no tags. Without
//!   one, the training images that have a mask are used for validation too.
//! - Run directories inside of the folder, and masks that this program has written, are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::files::{self, EXTENSIONS};
use super::mask_files::{self, Masks};
use super::naming::{Listed, Named, merge};
use super::seen::{MaskFiles, Seen};
use super::split::{Item, Pixels, Split};
use super::truth::Truth;
use super::{Data, Kind, Skips, class_names, layouts, table, tag_indices};

const TABLE: &str = "tags.csv";

/// Opens a folder; `val` is the folder with the validation images, `begun_with` as in `DataOptions`.
pub(super) fn open(dir: &Path, val: Option<&Path>, begun_with: &[String]) -> Result<Data> {
    let mut skips = Skips::default();
    let listed = list(dir, val, &mut skips)?;
    let from_folders = !dir.join(TABLE).exists();
    let mut numbered = false;
    let classes = match files::read_classes(&dir.join("classes.txt"))? {
        Some(classes) => classes,
        None => {
            let names: BTreeSet<_> = listed.iter().flat_map(|l| &l.tags).cloned().collect();
            match names.len() == begun_with.len() && begun_with.iter().all(|name| names.contains(name)) {
                true => begun_with.to_vec(),
                false => {
                    let mut names: Vec<String> = names.into_iter().collect();
                    numbered = class_names::sort_numbers(&mut names);
                    class_names::check_parts(&names, dir, from_folders, || layouts::of_others(dir))?;
                    class_names::check(&names, dir)?;
                    names
                }
            }
        }
    };
    let mut masks = MaskFiles::default();
    let train = items(dir, listed, &classes, true, &mut skips, &mut masks)?;
    if train.is_empty() {
        bail!(
            "no tagged images in {}; looked for tags.csv with rows file,tag;tag, or one sub-folder a class, with files that end in {}{}{}",
            dir.display(),
            EXTENSIONS.join(", "),
            skips.formats(),
            layouts::hint(dir)
        );
    }
    let (val, val_is_train) = match val {
        Some(val) => {
            let listed = list(val, None, &mut skips)?;
            let items = items(val, listed, &classes, false, &mut skips, &mut masks)?;
            (items, false)
        }
        None => {
            let with_mask = train.iter().filter(|i| i.has_mask());
            let val: Vec<Item> = with_mask.cloned().collect();
            let is_train = !val.is_empty();
            (val, is_train)
        }
    };
    let taken_for = match from_folders {
        false => "a folder of images, because it has tags.csv",
        true => "class folders, because it has sub-folders with images and no tags.csv",
    };
    Ok(Data {
        kind: Kind::Folder,
        train: Split::new(train, classes.len()),
        val: Split::new(val, classes.len()),
        val_is_train,
        classes,
        skipped: skips.count,
        seen: Seen {
            taken_for: taken_for.to_owned(),
            numbered,
            left_out: skips.left_out,
            masks,
            ..Seen::default()
        },
    })
}

fn list(dir: &Path, besides: Option<&Path>, skips: &mut Skips) -> Result<Vec<Listed>> {
    if !dir.is_dir() {
        bail!("the data set {} is not a folder; give the path of one", dir.display());
    }
    let table = dir.join(TABLE);
    let tagged: Option<BTreeMap<PathBuf, Vec<String>>> = match table.exists() {
        true => Some(table::read(dir, &table, besides, skips)?),
        false => None,
    };
    // What is in the folder but has no tags is told, not silently left out.
    let (mut listed, mut untagged) = (Vec::new(), Vec::new());
    let besides = besides.and_then(|b| b.canonicalize().ok());
    let around = dir.canonicalize().ok();
    let masks = mask_files::folder(dir);
    let is_content = |path: &PathBuf| *path != masks && is_content(path, around.as_deref(), besides.as_deref());
    for path in files::entries(dir)?.into_iter().filter(is_content) {
        let mut images = Vec::new();
        if path.is_dir() && files::is_run(&path) {
            skips.left_out.add(files::RUNS, &path);
        } else if path.is_dir() {
            files::walk(&path, &mut images, &mut skips.left_out)?;
            if tagged.is_none() && images.is_empty() {
                skips.left_out.add("folders without an image that is read", &path);
            } else if tagged.is_none() {
                let class = files::file_name(&path);
                listed.extend(images.drain(..).map(|path| Listed {
                    path,
                    tags: vec![class.clone()],
                }));
            }
        } else if files::is_image(&path, &mut skips.left_out) {
            images.push(path);
        }
        untagged.extend(images);
    }
    let tagged = tagged.unwrap_or_default();
    let untagged: Vec<_> = untagged
        .into_iter()
        .filter(|path| !tagged.contains_key(path))
        .map(|path| Listed { path, tags: Vec::new() })
        .collect();
    let tagged = tagged.into_iter().map(|(path, tags)| Listed { path, tags });
    listed.extend(tagged);
    listed.extend(untagged);
    Ok(listed)
}

/// Whether an entry of the data folder, which is really `around`, is one of its images or class folders: neither a link
/// to where it lies itself, nor the folder `besides`.
fn is_content(path: &Path, around: Option<&Path>, besides: Option<&Path>) -> bool {
    // Of many entries nearly all are plain files.
    if !path.is_dir() {
        return true;
    }
    let real = path.canonicalize().ok();
    let leads_up = matches!((&real, around), (Some(real), Some(around)) if around.starts_with(real));
    !leads_up && (besides.is_none() || real.as_deref() != besides)
}

fn items(
    dir: &Path,
    mut listed: Vec<Listed>,
    classes: &[String],
    training: bool,
    skips: &mut Skips,
    seen: &mut MaskFiles,
) -> Result<Vec<Item>> {
    let mut masks = Masks::list(dir, listed.iter().map(|image| image.path.as_path()))?;
    listed.retain(|Listed { path, tags }| {
        let useful = !tags.is_empty() || (!training && masks.has(dir, path));
        if !useful {
            let reason = format!("{} has no tags", path.display());
            skips.skip_as("images without tags", path, reason);
        }
        useful
    });
    let mut found = Vec::new();
    for Named {
        name,
        shared,
        image: Listed { path, tags },
    } in merge(dir, listed)?
    {
        found.push(Item {
            tags: tag_indices(&tags, classes, &path)?,
            pixels: Pixels::Files {
                mask: masks.of(dir, &path, &name, shared).map(Truth::Values),
                image: path,
            },
            name,
        });
    }
    seen.join(masks.summary());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    fn open(dir: &Path, val: Option<&Path>) -> Result<Data> {
        super::open(dir, val, &[])
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
            assert_eq!((data.train.tags(0), data.train.tags(1)), (&[0][..], &[0, 1][..]));
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
        assert!(data.train.image(1).unwrap_err().to_string().contains("c.jpg"));
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
        assert_eq!((data.train.tags(0), data.train.tags(1)), (&[0, 1][..], &[1][..]));
        // What systems leave is no class, and a class without images is told.
        fs::create_dir_all(dir.path().join("bird")).unwrap();
        fs::create_dir_all(dir.path().join("__MACOSX/cat")).unwrap();
        fs::copy(dir.path().join("cat/a.png"), dir.path().join("__MACOSX/cat/a.png")).unwrap();
        let data = open(dir.path(), None).unwrap();
        assert_eq!((data.classes.len(), data.train.len()), (2, 3));
        let told: Vec<_> = data.seen.left_out.kinds().collect();
        assert!(matches!(told[..], [("folders without an image that is read", 1, place)] if place.ends_with("bird")));

        let background = error(&folder(&["Background/a.png"], &[]));
        assert!(
            background.contains("\"Background\"") && background.contains("rename it"),
            "{background}"
        );
    }

    #[test]
    fn equal_file_names_of_different_images_are_two_images() {
        let dir = folder(&["dog/a.png", "cat/a.png", "cat/b.png"], &[]);
        for (name, value) in [("masks/dog/a.png", 2), ("masks/cat_a.png", 1)] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_mask(path, &GrayImage::from_pixel(4, 3, Luma([value]))).unwrap();
        }
        let data = open(dir.path(), None).unwrap();
        assert_eq!(names(&data.train), ["b", "cat_a", "dog_a"]);
        let tags: Vec<_> = data.train.indices().map(|i| data.train.tags(i)[0]).collect();
        assert_eq!(tags, [0, 0, 1]);
        assert!(!data.train.has_mask(0));
        let value = |i| data.train.mask(i).unwrap().unwrap().as_raw()[0];
        assert_eq!((value(1), value(2)), (1, 2));
        let case = open(folder(&["dog/a.png", "cat/A.png"], &[]).path(), None).unwrap();
        assert_eq!(names(&case.train), ["cat_A", "dog_a"]);
    }

    #[test]
    fn every_spelling_of_an_extension_is_read_and_the_rest_is_counted() {
        let dir = folder(&["cat/a.jpg", "dog/b.JPEG", "cat/c.png"], &[]);
        for name in ["d.jfif", "e.jpe", "f.JFIF"] {
            let to = dir.path().join("dog").join(name);
            fs::copy(dir.path().join("cat/a.jpg"), to).unwrap();
        }
        for name in ["cat/x.heic", "dog/y.HEIC", "dog/z.avif", "dog/z.ppm", "cat/notes.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut data = open(dir.path(), None).unwrap();
        data.verify(&|_, _| {}).unwrap();
        assert_eq!(names(&data.train), ["a", "b", "c", "d", "e", "f"]);
        let kinds: Vec<(String, usize)> = data
            .seen
            .left_out
            .kinds()
            .map(|(kind, count, _)| (kind.split(' ').next().unwrap().to_owned(), count))
            .collect();
        let expected = [(".avif", 1), (".heic", 2), (".ppm", 1)];
        assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)));
        let alone = folder(&[], &[]);
        fs::create_dir(alone.path().join("cat")).unwrap();
        fs::write(alone.path().join("cat/x.heic"), "").unwrap();
        assert!(error(&alone).contains("1 .heic files (not read; convert them"));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_followed_but_never_round() {
        use std::os::unix::fs::symlink;
        let dir = folder(&["set/cat/a.png", "set/dog/b.png", "more/c.png"], &[]);
        let set = dir.path().join("set");
        symlink(dir.path().join("more"), set.join("dog/more")).unwrap();
        symlink(&set, set.join("cat/up")).unwrap();
        symlink(set.join("cat"), set.join("cat/self")).unwrap();
        symlink(dir.path(), set.join("around")).unwrap();
        let data = open(&set, None).unwrap();
        assert_eq!(names(&data.train), ["a", "b", "c"]);
        assert_eq!(data.train.tags(2), [1]);
    }

    #[test]
    fn what_a_run_wrote_is_no_data() {
        let dir = folder(&["cat/a.png", "dog/b.png", "runs/x/labels/c.png", "dog/run/d.png"], &[]);
        for run in ["runs/x", "dog/run"] {
            for name in ["config.toml", "run.json"] {
                fs::write(dir.path().join(run).join(name), "").unwrap();
            }
        }
        fs::create_dir(dir.path().join("predicted")).unwrap();
        let mask = dir.path().join("predicted/a.png");
        write_mask(mask, &GrayImage::new(4, 3)).unwrap();
        fs::copy(dir.path().join("cat/a.png"), dir.path().join("predicted/a_overlay.png")).unwrap();
        let data = open(dir.path(), None).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        assert_eq!((names(&data.train), data.skipped), (vec!["a", "b"], 0));
    }

    #[test]
    fn classes_that_are_numbers_are_sorted_as_numbers() {
        let dir = folder(&["10/a.png", "9/b.png"], &[]);
        let data = open(dir.path(), None).unwrap();
        assert_eq!(data.classes, ["9", "10"]);
        assert!(data.seen.numbered);
        // But not under a run that has them in another order.
        let begun = |classes: [&str; 2]| super::open(dir.path(), None, &classes.map(String::from)).unwrap();
        assert_eq!(begun(["10", "9"]).classes, ["10", "9"]);
        assert_eq!(begun(["10", "8"]).classes, ["9", "10"]);
    }

    #[test]
    fn classes_that_cannot_be_meant_are_refused() {
        let split = error(&folder(&["train/cat/a.png", "val/cat/b.png"], &[]));
        assert!(split.contains("class \"train\"") && split.contains("--val"), "{split}");
        let parts = error(&folder(&["img_dir/a.png", "ann_dir/b.png"], &[]));
        assert!(parts.contains("mmsegmentation"), "{parts}");
        let case = error(&folder(&["cat/a.png", "Cat/b.png"], &[]));
        assert!(case.contains("differ in case"), "{case}");
        let open_quote = ("tags.csv", "a.png,\"cat\nb.png,dog\n");
        let line = error(&folder(&["a.png", "b.png"], &[open_quote]));
        assert!(line.contains("a line end"), "{line}");
        // A run that has begun with such classes goes on.
        let dir = folder(&["cat/a.png", "Cat/b.png"], &[]);
        let begun = super::open(dir.path(), None, &["Cat".to_owned(), "cat".to_owned()]);
        assert_eq!(begun.unwrap().classes, ["Cat", "cat"]);
        let vehicle = [("classes.txt", "bus\ntrain\n")];
        let data = open(folder(&["bus/a.png", "train/b.png"], &vehicle).path(), None).unwrap();
        assert_eq!(data.classes, ["bus", "train"]);
    }

    #[test]
    fn mistakes_are_explained() {
        let stems = error(&folder(&["a.jpg", "a.png"], &[("tags.csv", "a.jpg,x\na.png,x\n")]));
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
            assert!(text.contains("no tagged images") && text.contains("tags.csv"), "{text}");
        }
        let missing = open(Path::new("no/such/folder"), None).unwrap_err().to_string();
        assert!(missing.contains("no/such/folder is not a folder"), "{missing}");
    }

    #[test]
    fn a_validation_folder_needs_masks_or_tags() {
        let dir = folder(&["cat/a.png", "val/b.png", "val/c.png"], &[("val/tags.csv", "")]);
        fs::create_dir(dir.path().join("val/masks")).unwrap();
        write_mask(dir.path().join("val/masks/b.png"), &GrayImage::new(4, 3)).unwrap();
        let data = open(dir.path(), Some(&dir.path().join("val"))).unwrap();
        assert_eq!((data.classes.len(), names(&data.train)), (1, vec!["a"]));
        assert_eq!((names(&data.val), data.skipped), (vec!["b"], 1));
        assert!(!data.val_is_train);
    }
}
