//! `weakseg crf`.

mod options;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use image::{GrayImage, RgbImage};
use ndarray::Array3;
use serde::Serialize;

use super::advice;
use super::output::{print, print_json};
use crate::crf::pairs::{Pair, check_outputs, pairs};
use crate::crf::posterior::{winners, write_posteriors};
use crate::crf::scores::{self, As};
use crate::crf::{DenseCrf, Preset};
use crate::data::decode::{collect_images, read_rgb, with_orientation, write_mask};
use crate::device::fault::{self, Fault};
use crate::device::{self, Choice};
use crate::progress;
use crate::recipe;

/// Images read ahead of the device, and results that wait to be written.
const AHEAD: usize = 4;

/// Arguments of `weakseg crf`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Image files or folders
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Scores of one image, or a folder with NAME.npz, NAME.npy or NAME.png for every image: probabilities or logits
    /// [C, H, W], labels, or psa's dictionaries {class: map}
    #[arg(long, value_name = "DIR|FILE")]
    scores: PathBuf,
    /// Where NAME.png goes, a palette image with the index of the winning channel
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also write NAME.npy, the posterior [C, H, W] as float32
    #[arg(long)]
    posteriors: bool,
    /// Parameters of the CRF
    #[arg(long, value_name = "PRESET", default_value = "default")]
    crf: Preset,
    /// Change single parameters, as in --set-crf iterations=5,bilateral_sxy=60
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    set_crf: Vec<String>,
    /// What the numbers in the scores are
    #[arg(long, default_value = "auto")]
    scores_are: As,
    /// How likely a label of a label map is right, between 0 and 1
    #[arg(long, value_name = "P", default_value_t = 0.7)]
    confidence: f32,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// Masks that are 0 everywhere, which more often come of scores that are misunderstood than of empty images.
#[derive(Default)]
struct Blank {
    masks: usize,
    first: Option<PathBuf>,
}

/// What one image is refined from.
struct Input {
    image: RgbImage,
    unary: Array3<f32>,
    /// The mask's value of each channel; `None` where a mask cannot hold so many.
    values: Option<Vec<u8>>,
}

/// What is written for one image.
struct Output {
    mask: Option<GrayImage>,
    posterior: Option<Array3<f32>>,
}

#[derive(Serialize)]
struct Refined {
    image: PathBuf,
    mask: Option<PathBuf>,
    posterior: Option<PathBuf>,
}

/// Refines every image's scores: files are read and written beside the device's work.
pub fn run(args: Args, json: bool) -> Result<()> {
    let parameters = options::with(recipe::Crf::preset(args.crf), &args.set_crf)?;
    // Without a CRF the scores' own winners are written.
    let crf = parameters.build().unwrap_or(DenseCrf {
        reference_side: None,
        pairwise: Vec::new(),
        iterations: 0,
    });
    let images = collect_images(&args.images)?;
    ensure!(!images.is_empty(), "no images among what was given");
    let pairs = pairs(&images, &args.scores)?;
    check_outputs(&pairs, &args.out, args.posteriors)?;
    let chosen = device::choose(args.device)?;
    log::info!("{chosen}");
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let bar = progress::bar(pairs.len() as u64, "image", "crf");
    let next = AtomicUsize::new(0);
    let mut failed: Vec<(usize, anyhow::Error)> = Vec::new();
    let mut done: Vec<usize> = Vec::new();
    let mut blank = Blank::default();
    thread::scope(|scope| -> Result<()> {
        let (read, inputs) = sync_channel(AHEAD);
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(AHEAD) {
            let (read, next, pairs, args) = (read.clone(), &next, &pairs, &args);
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(pair) = pairs.get(i) else { return };
                    progress::task_here(&format!("crf: {}", pair.image.display()));
                    if read.send((i, input(pair, args))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(read);
        let (finished, outputs) = sync_channel::<(usize, Output)>(AHEAD);
        let (pairs, out, bar) = (&pairs, args.out.as_path(), &bar);
        let writer = scope.spawn(move || -> Result<Vec<usize>> {
            let mut written = Vec::new();
            for (i, output) in outputs {
                if let Some(mask) = output.mask {
                    write_mask(pairs[i].mask(out), &mask)?;
                }
                if let Some(posterior) = output.posterior {
                    write_posteriors(&pairs[i].posterior(out), posterior.view())?;
                }
                written.push(i);
                bar.inc(1);
            }
            Ok(written)
        });
        for (i, input) in inputs {
            progress::task(&format!("crf: {}", pairs[i].image.display()));
            let refined = |input: Input| {
                let posterior = crf.refine(&input.image, input.unary.view(), &chosen.device)?;
                let mask = input
                    .values
                    .map(|values| winners(posterior.view(), &values))
                    .transpose()?;
                Ok(Output {
                    mask,
                    posterior: args.posteriors.then_some(posterior),
                })
            };
            // A device that is full says so in a panic: of this image, and the rest goes on.
            let output = input.and_then(|input| fault::caught(|| refined(input)));
            match output {
                Ok(output) => {
                    if output.mask.as_ref().is_some_and(|m| m.iter().all(|v| *v == 0)) {
                        blank.masks += 1;
                        blank.first.get_or_insert_with(|| pairs[i].mask(out));
                    }
                    if finished.send((i, output)).is_err() {
                        // The writer has failed, and tells why below.
                        break;
                    }
                }
                Err(error) if Fault::in_error(&error) == Some(Fault::Lost) => return Err(error),
                Err(error) => {
                    let image = pairs[i].image.display();
                    failed.push((i, error.context(format!("{image}"))));
                }
            }
        }
        drop(finished);
        done = writer
            .join()
            .map_err(|_| anyhow::anyhow!("writing results stopped unexpectedly"))??;
        Ok(())
    })?;
    bar.finish();
    if pairs.len() == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    for (_, error) in &failed {
        log::warn!("skipped: {}", advice::told(error));
    }
    ensure!(
        !done.is_empty(),
        "none of the {} images could be refined: see the warnings above",
        pairs.len()
    );
    if let Some(first) = &blank.first {
        log::warn!(
            "{} of {} masks are 0 everywhere (the first is {}): see that the scores are what --scores-are says, and which channel is the background",
            blank.masks,
            done.len(),
            first.display()
        );
    }
    done.sort_unstable();
    if json {
        let refined = |i: usize| Refined {
            image: pairs[i].image.clone(),
            mask: Some(pairs[i].mask(&args.out)).filter(|path| path.exists()),
            posterior: args.posteriors.then(|| pairs[i].posterior(&args.out)),
        };
        return print_json(&done.into_iter().map(refined).collect::<Vec<_>>());
    }
    let rest = match failed.len() {
        0 => String::new(),
        n => format!(", {n} images skipped"),
    };
    print(format_args!("{} masks in {}{rest}", done.len(), args.out.display()))
}

/// Reads one image and its scores.
fn input(pair: &Pair, args: &Args) -> Result<Input> {
    let image = read_rgb(&pair.image)?;
    let scores = scores::read(&pair.scores, args.scores_are, image.dimensions())
        .map_err(|error| with_orientation(error.into(), &pair.image))?;
    let values = match scores.png_values(&pair.scores) {
        Ok(values) => Some(values),
        Err(_) if args.posteriors => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Input {
        unary: scores.unary(args.confidence)?,
        image,
        values,
    })
}
