//! Rows of the `metadata.jsonl` of a Hugging Face image folder.

use serde::Serialize;

use super::{Picture, rounded};

/// What is known of an image.
#[derive(Serialize, Debug)]
pub struct Row<'a> {
    file_name: &'a str,
    mask_file_name: &'a str,
    tags: Vec<&'a str>,
    objects: Objects<'a>,
}

#[derive(Serialize, Debug)]
struct Objects<'a> {
    bbox: Vec<[u32; 4]>,
    categories: Vec<usize>,
    names: Vec<&'a str>,
    area: Vec<u64>,
    score: Vec<Option<f64>>,
}

/// The row of an image whose mask is the file `mask`: its classes, and of each part the box `[x, y, width, height]`, the
/// mask value, the class, the pixels and the score.
pub fn row<'a>(picture: &'a Picture, mask: &'a str, classes: &'a [String]) -> Row<'a> {
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    let parts: Vec<_> = picture.parts().collect();
    Row {
        file_name: picture.file,
        mask_file_name: mask,
        tags: picture.classes().into_iter().map(name).collect(),
        objects: Objects {
            bbox: parts.iter().map(|(_, region)| region.bounds).collect(),
            categories: parts.iter().map(|(class, _)| class + 1).collect(),
            names: parts.iter().map(|(class, _)| name(*class)).collect(),
            area: parts.iter().map(|(_, region)| region.area).collect(),
            score: parts.iter().map(|(_, region)| region.score.map(rounded)).collect(),
        },
    }
}
