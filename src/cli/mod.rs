//! The commands: arguments in, a library call out.

mod ablate;
mod advice;
mod bench;
mod checkpoint;
mod compare;
mod context;
mod crf;
mod demo;
mod devices;
mod doctor;
mod eval;
mod every_run;
mod fetching;
mod finished_run;
mod inputs;
mod inspect;
mod method;
mod models;
mod output;
mod predict;
mod remaining;
mod run;
mod shapes;
mod shard;
mod show;
mod stage;
mod weights;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::device::fault;
use crate::progress;
use crate::weights::fetch;

/// Image tags in, pixel masks out: weakly supervised semantic segmentation on any GPU.
#[derive(Parser, Debug)]
#[command(name = "weakseg", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON on standard output, for machines; no progress bars.
    #[arg(long, global = true)]
    json: bool,
    /// Say more (-v) or much more (-vv) on standard error.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but warnings and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Generate the built-in data set, run AffinityNet on it and write a report: the whole program in minutes.
    Demo(demo::Args),
    /// Run all stages of a method: images and tags in, masks, a segmentation network and a report out.
    Run(run::Args),
    #[command(flatten)]
    Stage(stage::StageCommand),
    /// Look at a data set before training: what it is taken for, its classes, images and masks, what is left out.
    /// Decodes every image and mask once, as every run does at its start.
    Inspect(inspect::Args),
    /// Masks for any images with a run's segmentation network, or with any trained one's weights; stage 7, the
    /// validation images, where none are given.
    Predict(predict::Args),
    /// Score what a run has written against the truth, and write its metrics and report again.
    Eval(eval::Args),
    /// Refine scores that anyone made, for any images, with a dense CRF.
    Crf(crf::Args),
    /// Train the rows of a paper's tables on one data set with masks, and print them beside the paper's numbers.
    Ablate(ablate::Args),
    /// Run every method on one data set and seed, and write one table and one page of pictures.
    Compare(compare::Args),
    /// Draw what a trained network looks at.
    Show(show::Args),
    /// List the adapters that --device can choose from, and whether they have what the kernels need.
    Devices,
    /// Run every kernel and a small network of every kind on an adapter, and compare with the CPU.
    Doctor(doctor::Args),
    /// List the networks of the papers with their parameters and multiply-adds, measured on a device where asked for.
    Models(models::Args),
    /// Write the built-in data set as a VOC-style folder, or check that it is a fair stand-in for real data.
    Shapes(shapes::Args),
    /// List, fetch and find published weights by name; show what a weight file holds, or convert it for a network.
    Weights(weights::Args),
    /// Time the kernels against their plain formulations; see `cargo xtask bench`.
    #[command(hide = true)]
    Bench(bench::Args),
}

/// Runs the program. Results go to standard output, everything else to standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let verbosity = if cli.quiet { -1 } else { cli.verbose as i8 };
    progress::init_logging(cli.json, verbosity);
    one_line_panics();
    fetch::on_progress(|total, unit, label| Box::new(progress::bar(total, unit, label)));
    match dispatch(cli.command, cli.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody listens, the exit status still tells.
            let _ = writeln!(std::io::stderr(), "error: {}", advice::told(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(args, json),
        Command::Run(args) => run::run(args, json),
        Command::Stage(command) => run::stage(command.args, command.stage, json),
        Command::Inspect(args) => inspect::run(args, json),
        Command::Predict(args) => predict::run(args, json),
        Command::Eval(args) => eval::run(args, json),
        Command::Crf(args) => crf::run(args, json),
        Command::Ablate(args) => ablate::run(args, json),
        Command::Compare(args) => compare::run(args, json),
        Command::Show(args) => show::run(args, json),
        Command::Devices => devices::run(json),
        Command::Doctor(args) => doctor::run(args, json),
        Command::Models(args) => models::run(args, json),
        Command::Shapes(args) => shapes::run(args, json),
        Command::Weights(args) => weights::run(args, json),
        Command::Bench(args) => bench::run(args, json),
    }
}

/// A panic is a mistake of ours or a lost device: one line as well, and a way to see more.
fn one_line_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_some() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        if let Some(line) = fault::panic_line(panic) {
            eprintln!("error: {line}");
        }
    }));
}
