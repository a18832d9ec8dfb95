//! `weakseg inspect`.

use std::path::PathBuf;

use anyhow::Result;

use super::context::{self, BUILT_IN};
use super::output::{print, print_json};
use crate::data::inspect::Inspection;
use crate::data::{self, Data, DataOptions, Kind, ShapesOptions};
use crate::report::{self, PictureRow, Report};

/// Images on the contact sheet.
const SHOWN: usize = 24;
/// Their height in pixels.
const HEIGHT: u32 = 160;

/// Arguments of `weakseg inspect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Data set, as --data of `weakseg run` takes it
    #[arg(value_name = "DATA")]
    data: String,
    /// Also write inspect.html there: what was seen, and a contact sheet of images, tags and masks
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What DATA is, where it cannot be told from its content: shapes, folder, voc, coco, yolo, labelme, labelme2voc, cvat
    /// or mmseg
    #[arg(long, value_name = "KIND", value_parser = context::kind)]
    data_kind: Option<Kind>,
    /// voc: list of training images [default: train]; coco: the JSON of the training images
    #[arg(long, value_name = "LIST")]
    train_list: Option<String>,
    /// voc: list of validation images [default: val]; coco: the JSON of the validation images
    #[arg(long, value_name = "LIST")]
    val_list: Option<String>,
    /// Another folder of the same form with images to validate on (not of voc)
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,
    /// What values in masks mean, where it is not the number of a class, as in 255=dog
    #[arg(long, value_name = "VALUE=CLASS", value_delimiter = ',')]
    mask_values: Vec<String>,
}

/// Looks at a data set, and fails where `weakseg run` would stop.
pub fn run(args: Args, json: bool) -> Result<()> {
    let name = context::trimmed(&args.data);
    let mut data = data::open(&DataOptions {
        data: name.clone(),
        kind: args.data_kind.or((name == BUILT_IN).then_some(Kind::Shapes)),
        seed: 0,
        train_list: args.train_list,
        val_list: args.val_list,
        val: args.val,
        mask_values: args.mask_values,
        begun_with: Vec::new(),
        shapes: ShapesOptions::default(),
    })?;
    context::verify(&mut data)?;
    let found = data.inspect()?;
    if let Some(out) = &args.out {
        let path = out.join("inspect.html");
        report::write(&page(&name, &data, &found)?, &path)?;
        log::info!("page: {}", path.display());
    }
    match json {
        true => print_json(&found)?,
        false => print(found.lines().join("\n"))?,
    }
    data.check_masks()
}

/// The summary as a table, and images with their tags and masks.
fn page(name: &str, data: &Data, found: &Inspection) -> Result<Report> {
    let fact = |line: &String| {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        (name.to_owned(), value.to_owned())
    };
    let notes = data.check_masks().err().map(|error| error.to_string());
    let mut rows = Vec::new();
    for index in shown(data) {
        let image = data.train.image(index)?;
        let image = report::to_height(&image, HEIGHT);
        let mask = data.train.mask(index)?;
        let painted = mask.map(|mask| report::mask(&image, &report::mask_to_height(&mask, HEIGHT), 0.6));
        let tags = data.train.tags(index).iter();
        rows.push(PictureRow {
            name: data.train.name(index).to_owned(),
            tags: tags.filter_map(|t| data.classes.get(*t).cloned()).collect(),
            cells: vec![Some(image), painted],
        });
    }
    Ok(Report {
        title: format!("Data set {name}"),
        summary: found.lines().iter().map(fact).collect(),
        classes: data.classes.clone(),
        columns: vec!["image".into(), "mask".into()],
        rows,
        notes: notes.into_iter().collect(),
        ..Report::default()
    })
}

/// Training images to show: of every class some, in their order.
fn shown(data: &Data) -> Vec<usize> {
    let classes = data.classes.len().max(1);
    let mut chosen = std::collections::BTreeSet::new();
    for round in 0..SHOWN.div_ceil(classes) {
        for class in 0..classes {
            let mut tagged = data.train.indices().filter(|i| data.train.tags(*i).contains(&class));
            if chosen.len() < SHOWN {
                chosen.extend(tagged.nth(round));
            }
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn the_contact_sheet_shows_every_class() {
        let shapes = ShapesOptions {
            size: 48,
            train: 12,
            val: 2,
            ..Default::default()
        };
        let data = data::open(&DataOptions::built_in(3, shapes)).unwrap();
        let page = page("shapes", &data, &data.inspect().unwrap()).unwrap();
        assert!(!page.rows.is_empty() && page.rows.len() <= SHOWN);
        let black = |image: &RgbImage| image.pixels().all(|p| *p == Rgb([0; 3]));
        for row in &page.rows {
            assert!(row.cells.iter().flatten().all(|cell| !black(cell)));
            assert_eq!(row.cells.iter().flatten().count(), 2);
        }
        let shown: std::collections::BTreeSet<_> = page.rows.iter().flat_map(|r| &r.tags).collect();
        let tagged = data.train.indices().flat_map(|i| data.train.tags(i));
        let tagged: std::collections::BTreeSet<_> = tagged.map(|t| &data.classes[*t]).collect();
        assert_eq!(shown, tagged);
    }
}
