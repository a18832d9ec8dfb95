//! `weakseg export`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::context::{Common, Opened};
use super::output::{print, print_json};
use crate::annotations::contour::Regions;
use crate::annotations::format::Format;
use crate::annotations::write::Drawn;
use crate::data::Split;
use crate::data::decode::{header, read_mask};
use crate::device::Choice;
use crate::export::{Folder, Images, Item, Layout, Settings, Source, is_within};
use crate::maps::read_maps;
use crate::pipeline::{Context, LabelSource, Product, Purpose, Stage};
use crate::progress;

/// Images whose files are written side by side, between two additions to what is about all of them.
const TOGETHER: usize = 64;

/// Arguments of `weakseg export`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to write: coco, yolo, labelme, cvat (segmentation mask 1.1), voc or hf (Hugging Face image folder)
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Format,
    /// Folder to write to, new or empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which masks: labels (of the training images) or predictions (of the images that the run predicts) [default:
    /// labels, or predictions where the method makes none]
    #[arg(long, value_name = "MASKS", value_parser = ["labels", "predictions"])]
    masks: Option<String>,
    /// coco, labelme: regions as polygons (in coco those with holes as RLE) or masks (RLE, labelme's masks) [default:
    /// polygons]
    #[arg(long, value_name = "SHAPES", value_parser = ["polygons", "masks"])]
    shapes: Option<String>,
    /// Images: copy, link (hard links) or none [default: copy, or none for coco and cvat, which do without]
    #[arg(long, value_name = "HOW", value_parser = ["copy", "link", "none"])]
    images: Option<String>,
    /// Leave out parts of fewer pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    min_area: u64,
    /// Where the run's data set is now, if it was moved
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Replace files of the same names in a folder that is not empty
    #[arg(long)]
    force: bool,
}

/// Reads the name of a format.
pub fn format(text: &str) -> Result<Format, String> {
    let names = Format::ALL.map(Format::name).join(", ");
    Format::named(text).ok_or_else(|| format!("use one of {names}"))
}

/// What was counted meanwhile.
#[derive(Default, Serialize)]
struct Counts {
    images: usize,
    parts: usize,
    small: usize,
    without_ignored: usize,
    ignored_of_none: usize,
    turned: usize,
}

impl Counts {
    fn merge(&mut self, other: &Counts) {
        self.images += other.images;
        self.parts += other.parts;
        self.small += other.small;
        self.without_ignored += other.without_ignored;
        self.ignored_of_none += other.ignored_of_none;
        self.turned += other.turned;
    }
}

/// Opens a run on its data set, on the CPU.
///
/// # Errors
/// Where it is none, or its data set is not there.
pub fn open(run: &Path, data: Option<String>) -> Result<Opened> {
    ensure!(
        run.join("config.toml").exists(),
        "{} is not a run directory: give the --out of an earlier run",
        run.display()
    );
    let common = Common {
        out: Some(run.to_owned()),
        data,
        device: Choice::Cpu,
        ..Common::default()
    };
    common.open(None, None)
}

/// Errors where a run has not finished `stage`.
///
/// # Errors
/// So.
pub fn need(context: &Context, stage: Stage, method: &str) -> Result<()> {
    let run = context.run.path().display();
    ensure!(
        context.is_current(stage),
        "the run {run} has not finished its stage {}: run `weakseg run --method {method} --out {run}` first",
        stage.name()
    );
    Ok(())
}

/// Writes masks of a run in another program's format.
pub fn run(args: Args, json: bool) -> Result<()> {
    let format = args.format;
    ensure!(
        args.shapes.is_none() || matches!(format, Format::Coco | Format::Labelme),
        "--shapes is for coco and labelme: {} has one form alone",
        format.name()
    );
    ensure!(
        !is_within(&args.to, &args.run),
        "{} lies in the run directory {}, whose files weakseg replaces: choose another --to",
        args.to.display(),
        args.run.display()
    );
    let opened = open(&args.run, args.data.clone())?;
    let context = &opened.context;
    ensure!(
        !is_within(&args.to, Path::new(&opened.data)),
        "{} lies in the data set {}, which would take it for more data: choose another --to",
        args.to.display(),
        opened.data
    );
    if let Some((name, meaning)) = format.taken(&context.data.classes) {
        bail!(
            "the class {name:?} would be {meaning} in {}: choose another format, or rename the class",
            format.name()
        );
    }
    let (stage, split, training) = masks(&opened, args.masks.as_deref())?;
    need(context, stage, opened.method.name)?;
    let settings = Settings {
        format,
        drawn: match args.shapes.as_deref() {
            Some("masks") => Drawn::Masks,
            _ => Drawn::Polygons,
        },
        images: match args.images.as_deref() {
            Some("copy") => Images::Copy,
            Some("link") => Images::Link,
            None if format.wants_images() => Images::Copy,
            _ => Images::None,
        },
        training,
    };
    let there: Vec<usize> = split
        .indices()
        .filter(|i| context.file(stage, split.name(*i)).exists())
        .collect();
    ensure!(
        !there.is_empty(),
        "the stage {} has left no masks in {}",
        stage.name(),
        args.run.display()
    );
    let folder = Folder::open(&args.to, args.force)?;
    let written = write(context, (stage, split), &there, &folder, settings, args.min_area);
    let (counts, notes) = written.map_err(|error| {
        folder.undo();
        anyhow!("{error:#}; what this export had written was removed")
    })?;
    let left_out = split.len() - there.len();
    let notes = told(&counts, left_out, &args, notes);
    for note in &notes {
        log::warn!("{note}");
    }
    let what = if training { "labels" } else { "predictions" };
    if json {
        return print_json(&serde_json::json!({
            "folder": args.to, "format": format.name(), "masks": what, "counts": counts, "left_out": left_out,
            "notes": notes,
        }));
    }
    print(format_args!(
        "{} {what} with {} parts in {}, as {}",
        counts.images,
        counts.parts,
        args.to.display(),
        format.name()
    ))
}

/// The stage whose masks are wanted, the images that they are of, and whether these are to train on.
fn masks<'a>(opened: &'a Opened, wanted: Option<&str>) -> Result<(Stage, &'a Split, bool)> {
    let context = &opened.context;
    let gives_labels = |product: Product| match product {
        Product::Labels => true,
        Product::Network(trains) => trains.keeps_labels && trains.purpose == Purpose::Masks,
        _ => false,
    };
    let labels = context.last(gives_labels);
    let predictions = context.last(|product| matches!(product, Product::Masks));
    let method = opened.method.name;
    let found = match (wanted, labels) {
        (Some("labels"), None) => bail!("the method {method} makes no labels: say --masks predictions"),
        (Some("predictions"), _) | (None, None) => predictions.map(|stage| (stage, context.predicted_split(), false)),
        (_, Some(stage)) => Some((stage, &context.data.train, true)),
        (Some(_), None) => None,
    };
    found.with_context(|| format!("the method {method} predicts no masks"))
}

fn write(
    context: &Context,
    (stage, split): (Stage, &Split),
    images: &[usize],
    folder: &Folder,
    settings: Settings,
    min_area: u64,
) -> Result<(Counts, Vec<String>)> {
    let mut layout = Layout::begin(folder, settings, &context.data.classes)?;
    let mut counts = Counts::default();
    let bar = progress::bar(images.len() as u64, "image", "export");
    for together in images.chunks(TOGETHER) {
        let written: Vec<_> = together
            .par_iter()
            .map(|&i| -> Result<_> {
                progress::task_here(&format!("export: {}", split.source(i)));
                let (item, counts) = item(context, (stage, split), i, settings, min_area)?;
                let rows = layout.image(&item)?;
                bar.inc(1);
                Ok((rows, counts))
            })
            .collect::<Result<_>>()?;
        for (rows, own) in written {
            layout.add(rows)?;
            counts.merge(&own);
        }
    }
    let notes = layout.finish()?;
    bar.finish();
    Ok((counts, notes))
}

/// An image with its mask and the regions of it.
fn item(
    context: &Context,
    (stage, split): (Stage, &Split),
    i: usize,
    settings: Settings,
    min_area: u64,
) -> Result<(Item, Counts)> {
    let name = split.name(i);
    let (width, height) = split.size(i)?;
    let mut mask = read_mask(context.file(stage, name), context.classes(), (width, height))?;
    let mut regions = Regions::of(&mask, width, height);
    let small = regions.drop_small(min_area, &mut mask);
    if matches!(stage.product(), Product::Labels) && !context.run.corrected(name).exists() {
        score(context, stage, name, &mut regions)?;
    }
    let source = match split.files(i) {
        Some((path, _)) => Source::File(path.to_owned()),
        None => Source::Made(Box::new(split.image(i)?)),
    };
    let turned = match &source {
        Source::File(path) => header(path)?.orientation != 1,
        Source::Made(_) => false,
    };
    let tags = split.tags(i).to_vec();
    let parts = regions.list.iter().filter(|r| r.value != 255).count();
    let has_ignored = parts < regions.list.len();
    let of_none = settings.format == Format::Coco && tags.is_empty() && parts == 0;
    let counts = Counts {
        images: 1,
        parts,
        small,
        without_ignored: usize::from(has_ignored && !settings.format.keeps_ignored()),
        ignored_of_none: usize::from(has_ignored && of_none),
        turned: usize::from(turned),
    };
    let item = Item {
        name: name.to_owned(),
        number: i,
        source,
        tags,
        mask,
        regions,
    };
    Ok((item, counts))
}

/// Gives each region of a class the mean over its pixels of the map that labels were made of, where there are maps.
fn score(context: &Context, stage: Stage, name: &str, regions: &mut Regions) -> Result<()> {
    let path = match context.label_source(stage)? {
        LabelSource::ClassMaps(maps) | LabelSource::Scores(maps) => context.file(maps, name),
        LabelSource::Network(..) => return Ok(()),
    };
    if !path.exists() {
        return Ok(());
    }
    let maps = read_maps(&path)?;
    let size = (regions.height as usize, regions.width as usize);
    for number in 0..regions.list.len() {
        let region = &regions.list[number];
        let map = maps
            .classes
            .iter()
            .position(|class| *class == usize::from(region.value));
        let Some(map) = map.map(|k| maps.maps.index_axis(ndarray::Axis(0), k)) else {
            continue;
        };
        if map.dim() != size {
            continue;
        }
        let mut sum = 0.0;
        regions.each_pixel(region, |at| sum += f64::from(map[[at / size.1, at % size.1]]));
        regions.list[number].score = Some((sum / region.area as f64) as f32);
    }
    Ok(())
}

/// What was left out, a line each.
fn told(counts: &Counts, left_out: usize, args: &Args, mut notes: Vec<String>) -> Vec<String> {
    let name = args.format.name();
    let mut tell = |count: usize, text: String| {
        if count > 0 {
            notes.push(format!("{count} {text}"));
        }
    };
    tell(left_out, "images have no mask in the run: left out".into());
    tell(
        counts.small,
        format!("parts of fewer than {} pixels were left out", args.min_area),
    );
    tell(
        counts.without_ignored,
        format!("images have pixels to ignore, which {name} cannot hold: they count as background there"),
    );
    tell(
        counts.ignored_of_none,
        "images have pixels to ignore but no class, and COCO ignores for a class: they count as background there"
            .into(),
    );
    tell(
        counts.turned,
        "images are turned by their EXIF orientation: sizes and parts are those of the upright image".into(),
    );
    notes
}
