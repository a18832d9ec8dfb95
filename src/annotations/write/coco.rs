//! COCO's instances JSON.

use serde::Serialize;

use super::rle::{runs, string};
use super::{Drawn, Picture, rounded};
use crate::annotations::contour::Region;

/// A row of `images`.
#[derive(Serialize, Debug)]
pub struct ImageRow<'a> {
    id: u64,
    file_name: &'a str,
    width: u32,
    height: u32,
}

/// A row of `categories`.
#[derive(Serialize, Debug)]
pub struct CategoryRow<'a> {
    id: usize,
    name: &'a str,
    supercategory: &'a str,
}

/// A row of `annotations`.
#[derive(Serialize, Debug)]
pub struct Annotation {
    /// Its own number in the file.
    pub id: u64,
    image_id: u64,
    category_id: usize,
    segmentation: Segmentation,
    area: u64,
    bbox: [u32; 4],
    iscrowd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

#[derive(Serialize, Debug)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<u32>>),
    Runs { size: [u32; 2], counts: String },
}

/// The row of an image.
pub fn image<'a>(id: u64, picture: &'a Picture) -> ImageRow<'a> {
    ImageRow {
        id,
        file_name: picture.file,
        width: picture.regions.width,
        height: picture.regions.height,
    }
}

/// The rows of the classes, whose ids are mask values.
pub fn categories(classes: &[String]) -> Vec<CategoryRow<'_>> {
    let mut rows = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        rows.push(CategoryRow {
            id: class + 1,
            name,
            supercategory: "",
        });
    }
    rows
}

/// The annotations of an image, without their ids: one a part, and what is ignored as a crowd of every class that the
/// image has, since COCO ignores per category. A part with holes is runs: COCO's polygons have none.
pub fn annotations(image_id: u64, picture: &Picture, drawn: Drawn) -> Vec<Annotation> {
    let regions = picture.regions;
    let of_runs = |wanted: Vec<&Region>| {
        let runs = runs(regions, wanted.into_iter());
        let segmentation = Segmentation::Runs {
            size: [regions.height, regions.width],
            counts: string(&runs),
        };
        (segmentation, runs.area())
    };
    let mut found = Vec::new();
    for (class, region) in picture.parts() {
        let segmentation = match (drawn, region.rings.as_slice()) {
            (Drawn::Polygons, [outer]) => Segmentation::Polygons(vec![outer.as_flattened().to_vec()]),
            _ => of_runs(vec![region]).0,
        };
        found.push(Annotation {
            id: 0,
            image_id,
            category_id: class + 1,
            segmentation,
            area: region.area,
            bbox: region.bounds,
            iscrowd: 0,
            score: region.score.map(rounded),
        });
    }
    let ignored: Vec<&Region> = picture.ignored().collect();
    if !ignored.is_empty() {
        let low = [0, 1].map(|axis| ignored.iter().map(|r| r.bounds[axis]).min().unwrap_or(0));
        let high = [0, 1].map(|axis| {
            ignored
                .iter()
                .map(|r| r.bounds[axis] + r.bounds[axis + 2])
                .max()
                .unwrap_or(0)
        });
        for class in picture.classes() {
            let (segmentation, area) = of_runs(ignored.clone());
            found.push(Annotation {
                id: 0,
                image_id,
                category_id: class + 1,
                segmentation,
                area,
                bbox: [low[0], low[1], high[0] - low[0], high[1] - low[1]],
                iscrowd: 1,
                score: None,
            });
        }
    }
    found
}
