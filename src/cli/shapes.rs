//! `weakseg shapes`.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::context::Common;
use super::output::{print, print_json};
use crate::data::shapes::write_voc;
use crate::data::{self, DataOptions, ShapesOptions};
use crate::device::Choice;
use crate::methods;
use crate::metrics::StageScore;
use crate::pipeline::{Product, Stage};
use crate::progress;
use crate::results::{self, NETWORK};

/// Arguments of `weakseg shapes`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder to write to [default: shapes-SEED, or runs/shapes-check with --check]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Decides the images
    #[arg(long, default_value_t = 0, value_parser = super::context::seed())]
    seed: u64,
    /// Number of training images
    #[arg(long)]
    train: Option<usize>,
    /// Number of validation images
    #[arg(long)]
    val: Option<usize>,
    /// Train a fully supervised network and a classifier on it instead, and show that the set is a fair stand-in: the
    /// former reaches 85 mIoU, the latter's class activation maps stay 20 below that
    #[arg(long)]
    check: bool,
    /// With --check: where to compute
    #[arg(long, default_value = "auto")]
    device: Choice,
}

#[derive(Serialize)]
struct Check {
    supervised: Option<StageScore>,
    cam: Option<StageScore>,
    is_fair: bool,
}

/// Writes the data set, or checks it.
pub fn run(args: Args, json: bool) -> Result<()> {
    if args.check {
        return check(args, json);
    }
    let defaults = ShapesOptions::default();
    let shapes = ShapesOptions {
        train: args.train.unwrap_or(defaults.train),
        val: args.val.unwrap_or(defaults.val),
        ..defaults
    };
    let options = DataOptions::built_in(args.seed, shapes);
    let out = args.out.unwrap_or_else(|| format!("shapes-{}", args.seed).into());
    let data = data::open(&options)?;
    let bar = progress::bar((data.train.len() + data.val.len()) as u64, "image", "shapes");
    write_voc(&data, &out, &|_, _| bar.inc(1))?;
    bar.finish();
    if json {
        return print_json(&serde_json::json!({
            "folder": out, "train": data.train.len(), "val": data.val.len(), "classes": data.classes,
        }));
    }
    print(format_args!(
        "{} training and {} validation images in {}",
        data.train.len(),
        data.val.len(),
        out.display()
    ))
}

fn check(args: Args, json: bool) -> Result<()> {
    let out = args.out.unwrap_or_else(|| "runs/shapes-check".into());
    // A bound is a network trained to the end: after 20 epochs it still gains.
    let mut set = vec!["segment.epochs=30".to_string()];
    set.extend(args.train.map(|n| format!("shapes.train={n}")));
    set.extend(args.val.map(|n| format!("shapes.val={n}")));
    let open = |method: &str| {
        Common {
            out: Some(out.join(method)),
            data: Some("shapes".into()),
            seed: Some(args.seed),
            set: set.clone(),
            device: args.device,
            ..Common::default()
        }
        .open(Some(method), None)
    };
    let supervised = open("supervised")?;
    methods::run(&supervised.context, None)?;
    let weak = open("affinitynet")?;
    let maps = weak.context.last(|product| matches!(product, Product::ClassMaps));
    methods::run(&weak.context, maps)?;
    let score =
        |scores: Vec<(String, StageScore)>, name: &str| scores.into_iter().find(|(n, _)| n == name).map(|(_, s)| s);
    let supervised = score(results::scores(&supervised.context)?, NETWORK);
    let cam = score(results::scores(&weak.context)?, maps.map_or("", Stage::name));
    let mean = |s: &Option<StageScore>| s.as_ref().map_or(f64::NAN, |s| s.mean_iou);
    let (bound, start) = (mean(&supervised), mean(&cam));
    let is_fair = bound >= 85.0 && start <= bound - 20.0;
    if json {
        return print_json(&Check {
            supervised,
            cam,
            is_fair,
        });
    }
    print(format_args!(
        "fully supervised network, validation images: {bound:.1} mIoU (wanted: at least 85)"
    ))?;
    print(format_args!(
        "CAM at its best threshold, training images:  {start:.1} mIoU (wanted: at most {:.1})",
        bound - 20.0
    ))?;
    print(format_args!("a fair stand-in: {}", if is_fair { "yes" } else { "no" }))
}
