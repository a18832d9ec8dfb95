//! `weakseg show`: what a trained network looks at.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use image::{Rgb, RgbImage};
use ndarray::Array2;
use serde::Serialize;

use super::finished_run::FinishedRun;
use super::output::{print, print_json};
use crate::data::decode::read_rgb;
use crate::device::{self, Choice, download};
use crate::files::replace;
use crate::inference::Trained;
use crate::models::Head;
use crate::models::heads::cross_affinity::affinity;
use crate::report;
use crate::stages;

/// Height that pictures are scaled to, in pixels.
const HEIGHT: u32 = 256;

/// Arguments of `weakseg show`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// CIAN's Figure 3: where a pixel of one image looks in itself and in another.
    Affinity(Affinity),
}

#[derive(clap::Args, Debug)]
struct Affinity {
    /// The image that the pixel is of
    image: PathBuf,
    /// The image that it looks in, of any size
    reference: PathBuf,
    /// The pixel, from the left and from the top
    #[arg(long, value_name = "X,Y", value_parser = point)]
    at: [u32; 2],
    /// Run directory of --method cian, with its stage cross finished
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Picture to write: the image with the pixel, where it looks in itself, and in the reference
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    device: Choice,
}

fn point(text: &str) -> Result<[u32; 2], String> {
    let parts: Vec<_> = text.split(',').map(|part| part.trim().parse()).collect();
    match parts[..] {
        [Ok(x), Ok(y)] => Ok([x, y]),
        _ => Err("write it as X,Y, such as 120,64".into()),
    }
}

#[derive(Serialize)]
struct Shown {
    picture: PathBuf,
    /// The pixel of the image, and of the reference, that gets most of the attention: from the left and from the top.
    own: [u32; 2],
    reference: [u32; 2],
}

/// Draws what is asked for.
pub fn run(args: Args, json: bool) -> Result<()> {
    match args.what {
        What::Affinity(args) => show_affinity(&args, json),
    }
}

fn show_affinity(args: &Affinity, json: bool) -> Result<()> {
    let run = FinishedRun::read(&args.run)?;
    let attends = |head| matches!(head, Some(Head::CrossAffinity { .. }));
    let stage = stages::ALL
        .into_iter()
        .find(|stage| attends(run.head(*stage)))
        .context("no stage trains a network with cross-image affinity")?;
    run.need(stage, "--method cian ")?;
    let [image, reference] = [&args.image, &args.reference].map(read_rgb);
    let (image, reference) = (image?, reference?);
    let [x, y] = args.at;
    ensure!(
        x < image.width() && y < image.height(),
        "--at {x},{y} is outside of {}, which is {} x {}",
        args.image.display(),
        image.width(),
        image.height()
    );
    let chosen = device::choose(args.device)?;
    log::info!("{chosen}");
    let trained = run.trained(stage, &chosen.device)?;
    let named = |path: &PathBuf| path.display().to_string();
    let own = attention(&trained, &image, &image, args.at).with_context(|| named(&args.image))?;
    let other = attention(&trained, &image, &reference, args.at).with_context(|| named(&args.reference))?;
    let picture = report::grid(&[vec![
        report::to_height(&marked(&image, args.at), HEIGHT),
        report::heat(&report::to_height(&image, HEIGHT), &relative(&own)),
        report::heat(&report::to_height(&reference, HEIGHT), &relative(&other)),
    ]]);
    replace(&args.out, |file| {
        picture.write_to(&mut std::io::BufWriter::new(file), image::ImageFormat::Png)?;
        Ok(())
    })?;
    let shown = Shown {
        picture: args.out.clone(),
        own: peak(&own, &image),
        reference: peak(&other, &reference),
    };
    if json {
        return print_json(&shown);
    }
    print(format_args!(
        "{}: the pixel looks most at {:?} of its own image, at {:?} of the reference",
        args.out.display(),
        shown.own,
        shown.reference
    ))
}

/// The weights `[h, w]`, of sum 1, that pixel `at` of `image` gives to the cells of `reference`.
fn attention(trained: &Trained, image: &RgbImage, reference: &RgbImage, at: [u32; 2]) -> Result<Array2<f32>> {
    let forward = trained.forward();
    let [query, key] = [image, reference].map(|picture| {
        let x = trained.upload(std::iter::once(picture));
        trained.network.levels(&forward, x)
    });
    let share = |i: u32, side: u32| i as f32 / side.max(1) as f32;
    let at = [share(at[1], image.height()), share(at[0], image.width())];
    let weights = affinity(&forward, trained.network.backbone, query, key, at);
    let dims = weights.dims();
    Ok(Array2::from_shape_vec(dims, download(weights)?)?)
}

/// Weights as shares of the largest.
fn relative(weights: &Array2<f32>) -> Array2<f32> {
    let largest = weights.fold(f32::MIN_POSITIVE, |m, v| m.max(*v));
    weights / largest
}

/// The pixel of `image` in the middle of the cell with the largest weight.
fn peak(weights: &Array2<f32>, image: &RgbImage) -> [u32; 2] {
    let (h, w) = weights.dim();
    let mut best = (0, 0);
    for (at, value) in weights.indexed_iter() {
        if *value > weights[best] {
            best = at;
        }
    }
    let middle = |cell: usize, cells: usize, side: u32| {
        ((2 * cell + 1) as u64 * u64::from(side) / (2 * cells.max(1)) as u64) as u32
    };
    [middle(best.1, w, image.width()), middle(best.0, h, image.height())]
}

/// The image with a ring around the pixel, white within black.
fn marked(image: &RgbImage, [x, y]: [u32; 2]) -> RgbImage {
    let mut marked = image.clone();
    let radius = image.width().max(image.height()) as f32 / 24.0 + 1.5;
    for (px, py, pixel) in marked.enumerate_pixels_mut() {
        let distance = (px as f32 - x as f32).hypot(py as f32 - y as f32) - radius;
        let width = (radius / 3.0).max(1.0);
        if distance.abs() < width / 2.0 {
            *pixel = Rgb([255; 3]);
        } else if distance.abs() < width {
            *pixel = Rgb([0; 3]);
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn points_and_peaks() {
        assert_eq!(point("3, 14"), Ok([3, 14]));
        for bad in ["3", "3,4,5", "-1,2", "a,b", ""] {
            assert!(point(bad).is_err(), "{bad}");
        }
        let weights = array![[0.1, 0.2], [0.6, 0.1]];
        assert_eq!(peak(&weights, &RgbImage::new(40, 20)), [10, 15]);
        assert_eq!(relative(&weights)[[1, 0]], 1.0);
        let marked = marked(&RgbImage::new(48, 48), [24, 24]);
        assert_eq!(*marked.get_pixel(24, 24), Rgb([0; 3]));
        assert!(marked.pixels().any(|p| *p == Rgb([255; 3])));
    }
}
