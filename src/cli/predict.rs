//! `weakseg predict`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use burn::tensor::Device;
use image::RgbImage;
use serde::Serialize;

use super::checkpoint::{self, Loaded};
use super::context::Common;
use super::finished_run::FinishedRun;
use super::output::{print, print_json};
use super::run;
use super::shard::ShardArg;
use crate::crf::Preset;
use crate::data::decode::write_mask;
use crate::data::decode::{collect_images, read_rgb};
use crate::data::{VocList, is_voc, voc_list};
use crate::device::{self, Choice};
use crate::files::replace;
use crate::inference::{Predictor, Trained, batches, passes};
use crate::pipeline::{Product, Stage};
use crate::progress;
use crate::recipe::Recipe;
use crate::report;
use crate::run::RunDir;

/// Arguments of `weakseg predict`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Image files or folders; none: the validation images of the run, as its last stage
    images: Vec<PathBuf>,
    /// Run directory with the trained network
    #[arg(long, value_name = "DIR", required_unless_present = "weights")]
    out: Option<PathBuf>,
    /// In place of a run: weights of a trained network, by this program or published by a paper's authors
    #[arg(long, value_name = "FILE", requires_all = ["network", "images", "to"], conflicts_with = "out")]
    weights: Option<PathBuf>,
    /// The network that --weights are of, one of those that `weakseg models` lists
    #[arg(long, value_name = "NAME", requires = "weights")]
    network: Option<String>,
    /// The classes that --weights tell apart: a file with one name a line, in the order of mask values from 1 on
    /// [default: PASCAL VOC's twenty]
    #[arg(long, value_name = "FILE", requires = "weights")]
    classes: Option<PathBuf>,
    /// Where the masks go [default: OUT/predicted, or OUT/submission]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Predict a list of the run's VOC data set into the folders that PASCAL VOC's evaluation server takes
    #[arg(
        long,
        value_name = "LIST",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "test",
        conflicts_with_all = ["images", "overlay", "weights"]
    )]
    voc_submission: Option<String>,
    /// Also write NAME_overlay.png: the mask painted over the image
    #[arg(long)]
    overlay: bool,
    /// Dense CRF on the predictions, in place of the run's preset; of the images given
    #[arg(long, value_name = "PRESET", requires = "images")]
    crf: Option<Preset>,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
    #[command(flatten)]
    shard: ShardArg,
}

#[derive(Serialize)]
struct Predicted {
    image: PathBuf,
    mask: PathBuf,
    /// Pixels of every class that occurs.
    pixels: BTreeMap<String, usize>,
}

/// Predicts the images given, or runs the stage.
pub fn run(args: Args, json: bool) -> Result<()> {
    if args.images.is_empty() && args.voc_submission.is_none() {
        let shard = args.shard.choose()?;
        let common = Common {
            out: args.out,
            device: args.device,
            shard,
            ..Common::default()
        };
        let opened = common.open(None, None)?;
        let predicts = |product| matches!(product, Product::Masks);
        let stage = opened
            .context
            .last(predicts)
            .with_context(|| format!("the method {} predicts no masks", opened.method.name))?;
        opened.context.run_stage(stage, false)?;
        return match shard {
            Some(shard) => run::part_done(&opened, stage, shard),
            None => run::finish(&opened, json),
        };
    }
    let Plan {
        mut recipe,
        source,
        images,
        to,
    } = plan(&args)?;
    if let Some(preset) = args.crf {
        recipe.predict.crf.preset = preset;
    }
    ensure!(!images.is_empty(), "no images in {}", list(&args.images));
    let outputs = outputs(&images, &to, args.overlay)?;
    let own = match args.shard.choose()? {
        Some(shard) => shard.range(images.len()),
        None => 0..images.len(),
    };
    let chosen = device::choose(args.device)?;
    log::info!("{chosen}");
    let (trained, classes) = source.load(&recipe, &chosen.device)?;
    let predictor = Predictor {
        trained,
        settings: &recipe.predict,
    };
    std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let bar = progress::bar(own.len() as u64, "image", "predict");
    let indices: Vec<usize> = own.collect();
    let mut results = Vec::new();
    let mut skipped = 0;
    batches(
        &indices,
        recipe.predict.batch,
        passes(&recipe.predict.scales, recipe.predict.flip),
        &chosen.device,
        |i| {
            progress::task_here(&format!("predict: {}", images[i].display()));
            read_rgb(&images[i])
        },
        |batch| {
            if let Some((first, _)) = batch.first() {
                progress::task(&format!("predict: {}", images[*first].display()));
            }
            let pictures: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
            for ((i, image), prediction) in batch.iter().zip(predictor.masks(&pictures, None, &recipe.predict.crf)?) {
                let mask = prediction.mask;
                write_mask(&outputs[*i], &mask)?;
                if args.overlay {
                    let painted = report::mask(image, &mask, 0.6);
                    replace(&overlay(&outputs[*i]), |file| {
                        painted.write_to(&mut std::io::BufWriter::new(file), image::ImageFormat::Png)?;
                        Ok(())
                    })?;
                }
                let mut pixels = BTreeMap::new();
                for value in mask.iter() {
                    let name = match *value {
                        0 => "background",
                        c => classes.get(usize::from(c) - 1).map_or("unknown", String::as_str),
                    };
                    *pixels.entry(name.to_string()).or_insert(0) += 1;
                }
                results.push(Predicted {
                    image: images[*i].clone(),
                    mask: outputs[*i].clone(),
                    pixels,
                });
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| {
            skipped += 1;
            log::warn!("{}: skipped: {error:#}", images[i].display());
        },
    )?;
    bar.finish();
    ensure!(
        !results.is_empty() || indices.is_empty(),
        "none of the {skipped} images could be read: see the warnings above"
    );
    ensure!(
        skipped == 0 || args.voc_submission.is_none(),
        "{skipped} images could not be read (see the warnings above), and the evaluation server wants all of them: repair the data set"
    );
    if json {
        return print_json(&results);
    }
    let rest = match skipped {
        0 => String::new(),
        n => format!(", {n} images skipped"),
    };
    print(format_args!("{} masks in {}{rest}", results.len(), to.display()))
}

/// What to predict with what, and where to.
struct Plan {
    recipe: Recipe,
    source: Source,
    images: Vec<PathBuf>,
    to: PathBuf,
}

/// Where the network comes from.
enum Source {
    /// What a stage of a run has trained.
    Run { run: Box<FinishedRun>, stage: Stage },
    /// A weight file.
    Weights {
        file: PathBuf,
        network: String,
        classes: Option<PathBuf>,
    },
}

impl Source {
    /// The network, and the classes that it tells apart.
    fn load(self, recipe: &Recipe, device: &Device) -> Result<(Trained, Vec<String>)> {
        match self {
            Source::Run { run, stage } => Ok((run.trained(stage, device)?, run.classes)),
            Source::Weights { file, network, classes } => {
                let Loaded {
                    network,
                    parameters,
                    classes,
                } = checkpoint::load(&file, &network, classes.as_deref(), device)?;
                let trained = Trained::new(network, parameters, recipe, device)?;
                Ok((trained, classes))
            }
        }
    }
}

fn plan(args: &Args) -> Result<Plan> {
    let Some(out) = &args.out else {
        let (Some(file), Some(network), Some(to)) = (&args.weights, &args.network, &args.to) else {
            bail!("give a run with --out, or --weights FILE with --network NAME and --to DIR");
        };
        return Ok(Plan {
            // Its [predict] is what published networks are tested with: one scale, no CRF.
            recipe: Recipe::load("resnet38", &[])?,
            source: Source::Weights {
                file: file.clone(),
                network: network.clone(),
                classes: args.classes.clone(),
            },
            images: collect_images(&args.images)?,
            to: to.clone(),
        });
    };
    let run = FinishedRun::read(out)?;
    let to = |folder: &str| args.to.clone().unwrap_or_else(|| out.join(folder));
    let (images, to) = match &args.voc_submission {
        None => (collect_images(&args.images)?, to("predicted")),
        Some(list) => {
            let list = submission(&run.directory, &run.classes, list)?;
            let to = to("submission").join(results(&list));
            (list.images, to)
        }
    };
    let stage = run.method.segmenter()?;
    run.need(stage, "")?;
    Ok(Plan {
        recipe: run.recipe.clone(),
        source: Source::Run {
            run: Box::new(run),
            stage,
        },
        images,
        to,
    })
}

/// The images of `list` in the run's data set.
///
/// # Errors
/// Where the run is of other classes than VOC's, or its data set of another kind.
fn submission(run: &RunDir, classes: &[String], list: &str) -> Result<VocList> {
    let data = run.config().get("data").and_then(|d| d.as_str());
    ensure!(
        is_voc(classes),
        "--voc-submission is for the twenty classes of PASCAL VOC, but {} has others",
        run.path().display()
    );
    let data = data.unwrap_or_default();
    // Where the data set was last, if it was moved.
    let moved = run.inputs().filter(|_| !Path::new(data).is_dir());
    let moved = moved.map(|inputs| inputs.place.display().to_string());
    voc_list(moved.as_deref().unwrap_or(data), list).context("--voc-submission")
}

/// Where the evaluation server looks for the masks of a list: comp6 is segmentation with training data of one's own
/// choice, which ImageNet weights are.
fn results(list: &VocList) -> PathBuf {
    Path::new("results")
        .join(&list.year)
        .join("Segmentation")
        .join(format!("comp6_{}_cls", list.name))
}

/// The mask's path for every image.
///
/// # Errors
/// Where a mask or overlay would replace an image, or two of them have one path.
fn outputs(images: &[PathBuf], to: &Path, overlays: bool) -> Result<Vec<PathBuf>> {
    // One file has many paths; those of files that do not exist yet are nobody's.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let sources: BTreeSet<PathBuf> = images.iter().map(|image| real(image)).collect();
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    let mut outputs = Vec::new();
    for image in images {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let output = to.join(format!("{stem}.png"));
        let painted = overlays.then(|| overlay(&output));
        for path in std::iter::once(output.clone()).chain(painted) {
            if sources.contains(&real(&path)) {
                bail!(
                    "{} would overwrite an image: name another folder with --to",
                    path.display()
                );
            }
            // Some file systems do not tell upper from lower case.
            let name = path.to_string_lossy().to_lowercase();
            if let Some(other) = seen.insert(name, image) {
                bail!(
                    "{} and {} would both become {}: predict them into two folders with --to",
                    other.display(),
                    image.display(),
                    path.display()
                );
            }
        }
        outputs.push(output);
    }
    Ok(outputs)
}

/// Where the image with a mask painted over it goes.
fn overlay(mask: &Path) -> PathBuf {
    let stem = mask.file_stem().unwrap_or_default().to_string_lossy();
    mask.with_file_name(format!("{stem}_overlay.png"))
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}
