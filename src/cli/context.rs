//! The arguments that all stages share, and the [`Context`] made of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use toml::{Table, Value};

use super::inputs;
use crate::crf::Preset;
use crate::data::{self, Data, DataOptions, ExtraKind, Kind};
use crate::device::{self, Choice};
use crate::methods::{self, Method};
use crate::pipeline::Context;
use crate::progress;
use crate::recipe::Recipe;
use crate::run::{Mode, RunDir};
use crate::stages;

/// What to work on and how. A run directory remembers all of it: with the same --out, the rest may be left out.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Run directory; made where it does not exist, continued where it does [default: runs/METHOD-DATA]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// `shapes` (built in), or a folder: images with tags.csv, one sub-folder per class, a VOCdevkit year folder, or what
    /// COCO, YOLO, labelme, CVAT or mmsegmentation have [default: shapes]
    #[arg(long)]
    pub data: Option<String>,
    /// What --data is, where it cannot be told from its content: shapes, folder, voc, coco, yolo, labelme, labelme2voc,
    /// cvat or mmseg
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub data_kind: Option<Kind>,
    /// voc: list of training images, a name in ImageSets/Segmentation such as train_aug, or a file [default: train]; coco:
    /// the JSON of the training images, such as train2017, where there are several
    #[arg(long, value_name = "LIST")]
    pub train_list: Option<String>,
    /// voc: list of validation images, such as test, whose images need neither tags nor masks [default: val]; coco: the
    /// JSON of the validation images
    #[arg(long, value_name = "LIST")]
    pub val_list: Option<String>,
    /// Another folder of the same form with images to validate on (not of voc)
    #[arg(long, value_name = "DIR")]
    pub val: Option<PathBuf>,
    /// What values in masks mean, where it is not the number of a class, as in 255=dog; background and ignore are
    /// known too
    #[arg(long, value_name = "VALUE=CLASS", value_delimiter = ',')]
    pub mask_values: Vec<String>,
    /// Hyper-parameters: photos, photos-released, nano, rrm-nano, demo, smoke, resnet50, resnet38, vgg16, rrm-resnet38,
    /// rrm-largefov-vgg16, rrm-deeplabv2-vgg16, rrm-deeplabv2-resnet101, aalr-resnet38, cian-resnet50, cian-resnet101,
    /// mcis-vgg16, mcis-resnet101, mcis-largefov-vgg16, mcis-lid-resnet38, or a TOML file [default: photos, or nano for
    /// the built-in data set]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Override one hyper-parameter, as in --set classify.epochs=20; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Dense CRF on affinity labels, reliable labels, labels and predictions, in place of the recipe's presets; --set
    /// label.crf.KEY and the like change single values
    #[arg(long, value_name = "PRESET")]
    pub crf: Option<Preset>,
    /// Leave classes out of predictions that an image is not tagged with, as --set predict.use_tags=true
    #[arg(long)]
    pub use_tags: bool,
    /// Folder of saliency maps, NAME.png per training image, greyscale, bright where objects are: where the labels of
    /// cian and mcis get their background from, as --set seeds.saliency=DIR
    #[arg(long, value_name = "DIR")]
    pub saliency: Option<PathBuf>,
    /// cian: trainings, each but the first on the predictions of the one before, as --set cian.rounds=N
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// More training images, with --extra-kind: a data set as --data takes it, whose tags are matched by name
    #[arg(long, value_name = "DATA", requires = "extra_kind")]
    pub extra: Option<String>,
    /// What --extra is: single (images with one tag) or web (noisy tags)
    #[arg(long, value_name = "KIND", value_parser = extra_kind)]
    pub extra_kind: Option<ExtraKind>,
    /// Share of the extra images that get a wrong tag, for experiments [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub extra_noise: Option<f32>,
    /// Decides everything that is random, the built-in data set included [default: 0]
    #[arg(long, value_parser = seed())]
    pub seed: Option<u64>,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    pub device: Choice,
    /// Remove what an earlier run wrote into --out, and start over
    #[arg(long)]
    pub fresh: bool,
}

/// The data set that is generated.
pub const BUILT_IN: &str = "shapes";

/// The recipe for a data set when none is asked for.
pub fn usual_recipe(data: &str) -> &'static str {
    if data == BUILT_IN { "nano" } else { "photos" }
}

/// Seeds that a run's files can hold.
pub fn seed() -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// Reads the name of a kind of data sets.
pub fn kind(text: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::name);
    Kind::named(text).ok_or_else(|| format!("use one of {}", names.join(", ")))
}

fn extra_kind(text: &str) -> Result<ExtraKind, String> {
    match text {
        "single" => Ok(ExtraKind::Single),
        "web" => Ok(ExtraKind::Web),
        _ => Err("use single or web".into()),
    }
}

/// Extra training images: where from, and what they are like.
struct Extra {
    data: String,
    kind: ExtraKind,
    noise: f32,
}

/// A path without the slashes behind it: `photos/` and `photos` are one data set.
pub fn trimmed(path: &str) -> String {
    match path.trim_end_matches(['/', std::path::MAIN_SEPARATOR]) {
        "" => path.into(),
        trimmed => trimmed.into(),
    }
}

/// A context with the names that its run directory records.
pub struct Opened {
    /// For the stages.
    pub context: Context,
    /// Its method.
    pub method: &'static Method,
    /// Data set, as given.
    pub data: String,
}

impl Common {
    /// Opens data set, device and run directory. `method` and `recipe` are what holds unless the arguments or the run
    /// directory say otherwise; without a `recipe`, [`usual_recipe`].
    ///
    /// # Errors
    /// One line for whatever does not exist, does not fit or is in use.
    pub fn open(&self, method: Option<&str>, recipe: Option<&str>) -> Result<Opened> {
        let named = match &self.out {
            Some(out) if !self.fresh => begun(out)?,
            _ => None,
        };
        let stored = named.as_ref().map(|named| &named.config);
        let text = |key: &str| -> Option<String> { Some(stored?.get(key)?.as_str()?.to_string()) };
        let method = match method.map(String::from).or_else(|| text("method")) {
            Some(name) => methods::named(&name)?,
            None => methods::USUAL,
        };
        let data = self.data.as_deref().map(trimmed).or_else(|| text("data"));
        let data = data.unwrap_or_else(|| BUILT_IN.into());
        let data = match (&self.data, &self.out) {
            (None, Some(out)) => {
                let last = named.as_ref().and_then(|named| named.place.clone());
                found_again(data, out, last)
            }
            _ => data,
        };
        // What the run was told of other folders, seen from here.
        let folder = |key: &str| -> Option<String> {
            let out = self.out.as_deref()?;
            Some(found_again(text(key)?, out, None))
        };
        let recipe = recipe.unwrap_or(usual_recipe(&data));
        let recipe = self.recipe(stored, recipe, method)?;
        if let Some(warning) = recipe.foreign_input() {
            log::warn!("{warning}");
        }
        let seed = self
            .seed
            .or_else(|| stored?.get("seed")?.as_integer()?.try_into().ok())
            .unwrap_or(0);
        let out = self.out.clone().unwrap_or_else(|| {
            let name = Path::new(&data).file_name().unwrap_or_default();
            Path::new("runs").join(format!("{}-{}", method.name, name.to_string_lossy()))
        });
        // What a run has begun with goes on, also where its directory was not named.
        let unnamed = match self.out {
            None if !self.fresh => begun(&out)?,
            _ => None,
        };
        let begun = named.as_ref().or(unnamed.as_ref());
        let options = DataOptions {
            data,
            kind: self.data_kind.or_else(|| kind(&text("data_kind")?).ok()),
            seed,
            train_list: self.train_list.clone().or_else(|| text("train_list")),
            val_list: self.val_list.clone().or_else(|| text("val_list")),
            val: self.val.clone().or_else(|| folder("val").map(PathBuf::from)),
            mask_values: match (&self.mask_values[..], text("mask_values")) {
                ([], Some(rules)) => rules.split(',').map(String::from).collect(),
                (rules, _) => rules.to_vec(),
            },
            begun_with: begun.map(Begun::classes).unwrap_or_default(),
            shapes: recipe.shapes.clone(),
        };
        let mut data = data::open(&options)?;
        verify(&mut data)?;
        let extra = self.extra(stored, folder("extra"))?;
        if let Some(extra) = &extra {
            join(&mut data, extra, &options).with_context(|| format!("--extra {}", extra.data))?;
        }
        check(&data)?;
        match (data.check_masks(), begun) {
            (Err(error), None) => return Err(error),
            (Err(error), Some(_)) => log::warn!("{error}"),
            (Ok(()), _) => {}
        }
        let mut config = config(method.name, &options, extra.as_ref(), seed, &data, &recipe);
        if let Some(begun) = begun {
            begun.keep_places(&mut config);
            if config.get("images") != begun.config.get("images") {
                inputs::tell(&out, &data)?;
            }
        }
        let mode = if self.fresh { Mode::Fresh } else { Mode::Resume };
        let run = RunDir::open(&out, &config, mode, &stages::files())?;
        progress::attach_log(&run.log_path())?;
        inputs::check(&run, &data, &options.data, method)?;
        let chosen = device::choose(self.device)?;
        log::info!("{chosen}");
        Ok(Opened {
            context: Context {
                recipe,
                data,
                run,
                device: chosen.device,
                pipeline: method.stages,
                seed,
                objective: method.objective,
                device_line: chosen.reason,
            },
            method,
            data: options.data,
        })
    }

    /// What `--extra` and its like say, or the run directory, whose extra data are at `place`.
    fn extra(&self, stored: Option<&Table>, place: Option<String>) -> Result<Option<Extra>> {
        let text = |key: &str| Some(stored?.get(key)?.as_str()?.to_string());
        let Some(data) = self.extra.as_deref().map(trimmed).or(place) else {
            return Ok(None);
        };
        let kind = self
            .extra_kind
            .or_else(|| extra_kind(&text("extra_kind")?).ok())
            .context("--extra needs --extra-kind: single or web")?;
        let noise = self
            .extra_noise
            .or_else(|| Some(stored?.get("extra_noise")?.as_float()? as f32))
            .unwrap_or(0.0);
        ensure!(
            (0.0..=1.0).contains(&noise),
            "--extra-noise is {noise}: use a number from 0 to 1"
        );
        Ok(Some(Extra { data, kind, noise }))
    }

    fn recipe(&self, stored: Option<&Table>, default: &str, method: &Method) -> Result<Recipe> {
        let mut overrides = Vec::new();
        if let Some(name) = self.crf.and_then(|crf| crf.to_possible_value()) {
            for part in ["affinity", "joint", "cian", "label", "predict"] {
                overrides.push(format!("{part}.crf.preset={}", name.get_name()));
            }
        }
        if self.use_tags {
            overrides.push("predict.use_tags=true".into());
        }
        if let Some(folder) = &self.saliency {
            overrides.push(format!("seeds.saliency={}", folder.display()));
        }
        if let Some(rounds) = self.rounds {
            overrides.push(format!("cian.rounds={rounds}"));
        }
        overrides.extend(self.set.iter().cloned());
        match (&self.recipe, stored.and_then(|s| s.get("recipe"))) {
            (None, Some(table)) => {
                let recipe: Recipe = table.clone().try_into().context(
                    "the recipe in the run directory's config.toml cannot be read: use another --out, or --fresh",
                )?;
                recipe.with(&overrides)
            }
            (recipe, _) => {
                let own = method.overrides.iter().map(|change| change.set.to_string());
                let overrides: Vec<String> = own.chain(overrides).collect();
                Recipe::load(recipe.as_deref().unwrap_or(default), &overrides)
            }
        }
    }
}

/// A run that was begun.
struct Begun {
    config: Table,
    /// Where its data were last; `None` where it does not know what it read.
    place: Option<PathBuf>,
}

/// The run in `out`, if there is one.
fn begun(out: &Path) -> Result<Option<Begun>> {
    if !out.join("config.toml").exists() {
        return Ok(None);
    }
    let run = RunDir::read(out)?;
    Ok(Some(Begun {
        config: run.config().clone(),
        place: run.inputs().map(|inputs| inputs.place),
    }))
}

impl Begun {
    fn classes(&self) -> Vec<String> {
        let classes = self.config.get("classes").and_then(Value::as_array);
        let names = classes.into_iter().flatten().filter_map(Value::as_str);
        names.map(String::from).collect()
    }

    /// Leaves the places of data in `config` as the run knows them where the images are the same: data may be moved.
    /// Where the run does not know what it read and its data are where they were, other data with the same names are not
    /// taken for them.
    fn keep_places(&self, config: &mut Table) {
        if config.get("images") != self.config.get("images") {
            return;
        }
        for key in ["data", "val", "extra"] {
            let (Some(old), Some(new)) = (self.config.get(key), config.get_mut(key)) else {
                continue;
            };
            let folder = |place: &Value| Some(place.as_str()?.to_owned()).filter(|place| place != BUILT_IN);
            let (Some(from), Some(to)) = (folder(old), folder(new)) else {
                continue;
            };
            let is_moved = self.place.is_some() || !Path::new(&from).is_dir() || is_same_folder(&from, &to);
            if old != new && is_moved {
                log::info!("the images of {old} are in {new} by their names and tags: the run goes on");
                new.clone_from(old);
            }
        }
    }
}

fn is_same_folder(a: &str, b: &str) -> bool {
    let real = |place: &str| Path::new(place).canonicalize().ok();
    real(a).is_some() && real(a) == real(b)
}

/// Where a folder of data of the run in `out` is: as the run was told, seen from here; else where it was `last`; else
/// the same path from a folder above the run.
fn found_again(data: String, out: &Path, last: Option<PathBuf>) -> String {
    if data == BUILT_IN || Path::new(&data).is_dir() {
        return data;
    }
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let above = out.ancestors().map(|folder| folder.join(&data));
    let mut places = last.into_iter().chain(above);
    match places.find(|place| place.is_dir()) {
        Some(place) => place.display().to_string(),
        None => data,
    }
}

/// Everything that decides a run's results.
fn config(
    method: &str,
    options: &DataOptions,
    extra: Option<&Extra>,
    seed: u64,
    data: &Data,
    recipe: &Recipe,
) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            table.insert(key.into(), Value::String(value));
        }
    };
    put("method", Some(method.into()));
    put("data", Some(options.data.clone()));
    put("data_kind", options.kind.map(|k| k.name().to_owned()));
    put("train_list", options.train_list.clone());
    put("val_list", options.val_list.clone());
    put("val", options.val.as_ref().map(|p| p.display().to_string()));
    let rules = &options.mask_values;
    put("mask_values", (!rules.is_empty()).then(|| rules.join(",")));
    if let Some(extra) = extra {
        put("extra", Some(extra.data.clone()));
        put("extra_kind", Some(format!("{:?}", extra.kind).to_lowercase()));
        // By way of the shortest decimal, as in the recipe.
        let noise = extra.noise.to_string().parse::<f64>().unwrap_or_default();
        table.insert("extra_noise".into(), Value::Float(noise));
    }
    table.insert("seed".into(), Value::Integer(seed as i64));
    table.insert("images".into(), Value::String(images(data)));
    let classes = data.classes.iter().cloned().map(Value::String).collect();
    table.insert("classes".into(), Value::Array(classes));
    table.insert("recipe".into(), Value::Table(recipe.to_table()));
    table
}

/// Adds the extra training images to the data set's.
fn join(data: &mut Data, extra: &Extra, options: &DataOptions) -> Result<()> {
    // Of the generated data set, which the seed decides, other pictures.
    let seed = options.seed.wrapping_add(0x6578_7472);
    let mut other = data::open(&DataOptions {
        data: extra.data.clone(),
        kind: None,
        seed,
        train_list: None,
        val_list: None,
        val: None,
        mask_values: Vec::new(),
        begun_with: Vec::new(),
        shapes: options.shapes.clone(),
    })?;
    verify(&mut other)?;
    data.skipped += other.skipped;
    data.join(&other, extra.kind, extra.noise, seed)
}

/// Numbers of images, and a digest of their names and tags, so that a run is not continued on other images.
fn images(data: &Data) -> String {
    // FNV-1a: the same in every version of Rust.
    let mut digest = 0xcbf2_9ce4_8422_2325u64;
    for split in [&data.train, &data.val] {
        for i in split.indices() {
            let line = format!("{} {:?}\n", split.name(i), split.tags(i));
            for byte in line.bytes() {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    format!(
        "{} training, {} validation, digest {:016x}",
        data.train.len(),
        data.val.len(),
        digest
    )
}

/// Looks at every image before hours are spent on them.
pub fn verify(data: &mut Data) -> Result<()> {
    if data.kind == Kind::Shapes {
        return Ok(());
    }
    let bar = progress::bar((data.train.len() + data.val.len()) as u64, "image", "checking");
    data.verify(&|_, _| bar.inc(1))?;
    bar.finish();
    Ok(())
}

fn check(data: &Data) -> Result<()> {
    ensure!(!data.classes.is_empty(), "the data set has no classes: tag its images");
    if data.skipped > 0 {
        log::warn!(
            "{} images left out, {} left to train on",
            data.skipped,
            data.train.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_embedded_recipe() {
        let command = Common::augment_args(clap::Command::new("run"));
        let argument = command.get_arguments().find(|a| a.get_id() == "recipe").unwrap();
        let help = argument.get_help().unwrap().to_string();
        let listed: Vec<&str> = help.split([' ', ',', ':']).collect();
        let error = Recipe::load("unknown", &[]).unwrap_err().to_string();
        let names = error.split("use one of ").nth(1).unwrap();
        for name in names.split(", ").filter(|name| !name.starts_with("or ")) {
            assert!(listed.contains(&name), "{name} is not in {help:?}");
        }
    }
}
