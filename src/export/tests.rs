use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, RgbImage};

use super::*;
use crate::data::corrected::Corrected;
use crate::data::decode::write_mask;

const SIZE: (u32, u32) = (23, 17);

fn classes() -> Vec<String> {
    ["zebra", "cat's: eye"].map(String::from).to_vec()
}

/// Two masks with holes, islands, corners that touch, and pixels to ignore.
fn mask(number: u32) -> GrayImage {
    GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let ring = x.abs_diff(8).max(y.abs_diff(8));
        Luma([match (ring, x, y) {
            (3 | 5 | 6, ..) => 1,
            (0, ..) => 2,
            (_, 18.., 0..4) => 255,
            (_, 17.., 9..) if (x + y + number) % 2 == 0 => 2,
            _ => 0,
        }])
    })
}

fn item(number: usize) -> Item {
    let mask = mask(number as u32);
    Item {
        name: format!("a.{number}"),
        number,
        source: Source::Made(Box::new(RgbImage::new(SIZE.0, SIZE.1))),
        tags: vec![0, 1],
        regions: Regions::of(&mask, SIZE.0, SIZE.1),
        mask,
    }
}

fn export(dir: &Path, format: Format, drawn: Drawn) {
    let (folder, classes) = (Folder::open(dir, false).unwrap(), classes());
    let settings = Settings {
        format,
        drawn,
        images: Images::Copy,
        training: true,
    };
    let mut layout = Layout::begin(&folder, settings, &classes).unwrap();
    for number in [0, 1] {
        let rows = layout.image(&item(number)).unwrap();
        layout.add(rows).unwrap();
    }
    assert_eq!(layout.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn masks_come_back_as_they_went_in_every_format() {
    for format in Format::ALL {
        for drawn in [Drawn::Polygons, Drawn::Masks] {
            let dir = tempfile::tempdir().unwrap();
            export(dir.path(), format, drawn);
            let found = Corrected::open(dir.path(), None, &classes()).unwrap();
            assert_eq!((found.format, found.masks.len()), (format, 2), "{:?}", found.notes);
            // Another order of the classes in the run than in the folder.
            let other = ["dog", "cat's: eye", "zebra"].map(String::from);
            for (number, (name, own)) in found.masks.iter().enumerate() {
                assert_eq!(*name, format!("a.{number}"));
                let read = found.read(own, SIZE, None, &other).unwrap();
                let mut expected = mask(number as u32);
                for value in expected.iter_mut() {
                    *value = match *value {
                        1 => 3,
                        255 if !format.keeps_ignored() => 0,
                        same => same,
                    };
                }
                assert_eq!(read, expected, "{format:?} {drawn:?}");
            }
        }
    }
}

#[test]
fn what_comes_back_and_cannot_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), text).unwrap();
    };
    let error = |folder: &str| {
        let error = match Corrected::open(&at(folder), None, &classes()) {
            Err(error) => error,
            Ok(found) => {
                let (_, mask) = found.masks.first_key_value().unwrap();
                found.read(mask, SIZE, None, &classes()).unwrap_err()
            }
        };
        let text = format!("{error:#}");
        assert!(!text.contains('\n'), "{text}");
        text
    };
    let coco = |images: &str, name: &str| {
        format!(
            r#"{{"images": [{images}], "annotations": [{{"id": 1, "image_id": 1, "category_id": 70, "segmentation": [[0, 0, 9, 0, 9, 9]]}}], "categories": [{{"id": 3, "name": "zebra"}}, {{"id": 70, "name": "{name}"}}]}}"#
        )
    };
    let image = r#"{"id": 1, "file_name": "../../x/a.jpg", "width": 23, "height": 17}"#;
    write(
        "twice/a.json",
        &coco(&format!("{image}, {}", image.replacen('1', "2", 1)), "cat's: eye"),
    );
    assert!(
        error("twice").contains("lists ../../x/a.jpg twice"),
        "{}",
        error("twice")
    );
    write("stranger/a.json", &coco(image, "dog"));
    let stranger = error("stranger");
    assert!(
        stranger.contains("\"dog\", which is no class") && stranger.contains("zebra, cat's: eye"),
        "{stranger}"
    );
    write("size/a.json", &coco(&image.replace("23", "17"), "zebra two"));
    assert!(error("size").contains("17 x 17"), "{}", error("size"));
    // Ids with gaps and a path that leads out: the image's name counts, and nothing is looked for elsewhere.
    write("gaps/a.json", &coco(image, "cat's: eye"));
    let found = Corrected::open(&at("gaps"), None, &[]).unwrap();
    let (name, mask) = found.masks.first_key_value().unwrap();
    assert_eq!(name, "a");
    let values = found.read(mask, SIZE, None, &classes()).unwrap();
    assert!(values.iter().all(|v| [0, 2].contains(v)) && values.iter().any(|v| *v == 2));
    // Polygons that leave the image and cross themselves are what of them lies inside.
    write("yolo/data.yaml", "train: x\nnames: [zebra]\n");
    write("yolo/labels/a.txt", "0 -0.5 -0.5 1.5 1.5 1.5 -0.5 -0.5 1.5\n");
    let found = Corrected::open(&at("yolo"), None, &[]).unwrap();
    let (_, mask) = found.masks.first_key_value().unwrap();
    let values = found.read(mask, SIZE, None, &classes()).unwrap();
    assert!(values.get_pixel(22, 8).0[0] == 1 && values.get_pixel(11, 0).0[0] == 0);
    write(
        "hf/metadata.jsonl",
        r#"{"file_name": "a.jpg", "mask_file_name": "../../secret.png"}"#,
    );
    assert!(error("hf").contains("leads out"), "{}", error("hf"));
    write("none/a.txt", "nothing");
    assert!(error("none").contains("--format"), "{}", error("none"));
    assert!(error("missing").contains("does not exist"));
    #[cfg(unix)]
    {
        write_mask(at("elsewhere.png"), &GrayImage::new(SIZE.0, SIZE.1)).unwrap();
        fs::create_dir_all(at("link/SegmentationClass")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere.png"), at("link/SegmentationClass/a.png")).unwrap();
        assert!(error("link").contains("leads out"), "{}", error("link"));
    }
}
