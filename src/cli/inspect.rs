//! `weakseg inspect`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::context::{self, BUILT_IN, usual_recipe};
use super::method::MethodParser;
use super::output::{print, print_json};
use super::remaining::RemainingWork;
use crate::data::inspect::Inspection;
use crate::data::{self, Data, DataOptions, Kind};
use crate::device::{self, Choice, fault};
use crate::methods::{self, Method};
use crate::pipeline::Context;
use crate::recipe::{Part, Recipe};
use crate::report::{self, PictureRow, Report};
use crate::run::{Mode, RunDir};
use crate::stages;
use crate::weights::fetch;

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
    /// Method whose time is told, as in `weakseg run` [default: affinitynet]
    #[arg(long, value_parser = MethodParser)]
    method: Option<String>,
    /// Recipe whose time is told, as in `weakseg run` [default: photos, or nano for the built-in data set]
    #[arg(long)]
    recipe: Option<String>,
    /// Override one hyper-parameter of it; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where it would compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// Looks at a data set, and fails where `weakseg run` would stop.
pub fn run(args: Args, json: bool) -> Result<()> {
    let name = context::trimmed(&args.data);
    let method = args.method.as_deref().map(methods::named).transpose()?;
    let method = method.unwrap_or(methods::USUAL);
    let recipe_name = args.recipe.unwrap_or_else(|| usual_recipe(&name).to_owned());
    let own = method.overrides.iter().map(|change| change.set.to_string());
    let asked = Asked {
        method,
        recipe: Recipe::load(&recipe_name, &own.chain(args.set).collect::<Vec<_>>())?,
        recipe_name,
        device: args.device,
    };
    let mut data = data::open(&DataOptions {
        data: name.clone(),
        kind: args.data_kind.or((name == BUILT_IN).then_some(Kind::Shapes)),
        seed: 0,
        train_list: args.train_list,
        val_list: args.val_list,
        val: args.val,
        mask_values: args.mask_values,
        begun_with: Vec::new(),
        shapes: asked.recipe.shapes.clone(),
    })?;
    context::verify(&mut data)?;
    let found = data.inspect()?;
    if let Some(out) = &args.out {
        let path = out.join("inspect.html");
        report::write(&page(&name, &data, &found)?, &path)?;
        log::info!("page: {}", path.display());
    }
    if !json {
        print(found.lines().join("\n"))?;
    }
    let fits = data.check_masks();
    let time = match &fits {
        Ok(()) => Some(time(&asked, &name, data)),
        // Nothing would be trained.
        Err(_) => None,
    };
    match (json, time) {
        (true, time) => {
            let mut found = serde_json::to_value(&found)?;
            found["minutes"] = time.and_then(|time| time.minutes).into();
            print_json(&found)?;
        }
        (false, Some(time)) => print(time.line)?,
        (false, None) => {}
    }
    fits
}

/// What would be run.
struct Asked {
    method: &'static Method,
    recipe: Recipe,
    recipe_name: String,
    device: Choice,
}

/// How long a run would take.
struct Time {
    /// In words.
    line: String,
    /// `None` where it is not known.
    minutes: Option<f64>,
}

/// How long a run would take, from a few steps of its classifier; a line says why where that is not known.
fn time(asked: &Asked, name: &str, data: Data) -> Time {
    let what = format!("{} with the recipe {}", asked.method.name, asked.recipe_name);
    // A device that is full or lost says so in a panic; what was seen of the data set is worth the same.
    match fault::caught(|| minutes(asked, data)) {
        Ok((minutes, device)) => Time {
            line: format!(
                "time: {what} will take about {:.0} minutes on this {}, by a few steps of its classifier: `weakseg run --data {name}`",
                minutes.ceil(),
                device
            ),
            minutes: Some(minutes),
        },
        Err(error) => Time {
            line: format!("time: not known for {what}: {error:#}"),
            minutes: None,
        },
    }
}

fn minutes(asked: &Asked, data: Data) -> Result<(f64, &'static str)> {
    for part in Part::ALL {
        if let Some(weights) = &asked.recipe.backbone(part).weights {
            let name = weights.display().to_string();
            let is_here = weights.exists() || fetch::path(&name).ok().flatten().is_some();
            ensure!(
                is_here,
                "its weights {name} are not here yet, which `weakseg weights fetch {name}` gets, and so does `weakseg run`"
            );
        }
    }
    let chosen = device::choose(asked.device)?;
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let context = Context {
        recipe: asked.recipe.clone(),
        data,
        run: RunDir::open(folder.path(), &toml::Table::new(), Mode::Fresh, &stages::files())?,
        device: chosen.device,
        pipeline: asked.method.stages,
        seed: 0,
        objective: asked.method.objective,
        device_line: chosen.reason,
    };
    let mut work = RemainingWork::new(context.load()?);
    work.add(("", &[]), asked.method, &asked.recipe, None);
    let device = if chosen.adapter.is_some() { "device" } else { "CPU" };
    Ok((work.seconds(&context)? / 60.0, device))
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
    use crate::data::ShapesOptions;

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
