//! Inference of ResNet38 at full width, the papers' largest network: the CPU device against PyTorch on the same cores,
//! and the GPU, or software Vulkan where there is none.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::{NOT_INSTALLED, Outcome, PAIRS, Say, failed, memory, python, seconds};
use crate::device::{Choice, Chosen, choose};
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::progress;

/// AffinityNet's classifier, whose class activation maps are computed.
const NETWORK: &str = "resnet38_cls";
/// Those of VOC.
const CLASSES: usize = 20;
/// A photograph of VOC.
const HEIGHT: usize = 375;
const WIDTH: usize = 500;

/// One image, the passes of either side in turn.
pub fn run(chosen: &Chosen, say: Say) -> Result<()> {
    say(against_pytorch()?)?;
    // The one that was asked for, else what the kernels run on without a GPU.
    let other = match &chosen.adapter {
        Some(_) => Some(chosen.clone()),
        None => choose(Choice::Vulkan).ok(),
    };
    match other {
        Some(other) => say(alone(&other)?),
        None => Ok(()),
    }
}

struct Ours {
    network: Network,
    parameters: Parameters,
    image: Tensor<4>,
}

impl Ours {
    fn new(device: &Device) -> Result<Ours> {
        let network = Network::named(NETWORK, 1, CLASSES)?;
        Ok(Ours {
            network,
            parameters: network.init(0, device)?,
            image: Tensor::zeros([1, 3, HEIGHT, WIDTH], device),
        })
    }

    fn pass(&self) -> Result<()> {
        let f = Forward::new(&self.parameters, Mode::Inference);
        self.network.infer(&f, self.image.clone())
    }
}

fn against_pytorch() -> Result<Outcome> {
    let device = Device::flex();
    let name = format!("inference {NETWORK} {WIDTH} x {HEIGHT}, CPU");
    let bar = progress::bar(2 + 2 * PAIRS as u64, "run", &name);
    let ours = Ours::new(&device)?;
    let ours_bytes = memory::peak(&device, &|| ours.pass())?;
    bar.inc(1);
    let mut python = PyTorch::start(ours.network.declare().count())?;
    bar.inc(1);
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        times.push(seconds(&|| ours.pass())?);
        bar.inc(1);
        if let Some(python) = &mut python {
            theirs.push(python.pass()?);
        }
        bar.inc(1);
    }
    bar.finish();
    let note = match python {
        Some(python) => format!("plain: PyTorch {}, {} threads", python.version, threads()),
        None => "plain: none; Python has no PyTorch (pip install torch; WEAKSEG_PYTHON names another Python)".into(),
    };
    Ok(Outcome::of(name, times, theirs, ours_bytes, note))
}

/// One pass to compile and tune the kernels, then those that count, one in software, where a pass takes minutes.
fn alone(chosen: &Chosen) -> Result<Outcome> {
    let what = chosen.adapter.as_ref().map_or("", |adapter| &adapter.name);
    let name = format!("inference {NETWORK} {WIDTH} x {HEIGHT}");
    let runs = if chosen.adapter.as_ref().is_some_and(|a| a.is_gpu()) {
        PAIRS
    } else {
        1
    };
    let bar = progress::bar(1 + runs as u64, "run", &format!("{name}, {what}"));
    let ours = Ours::new(&chosen.device)?;
    ours.pass()?;
    bar.inc(1);
    let times = RefCell::new(Vec::new());
    let ours_bytes = memory::peak(&chosen.device, &|| {
        for _ in 0..runs {
            times.borrow_mut().push(seconds(&|| ours.pass())?);
            bar.inc(1);
        }
        Ok(())
    })?;
    bar.finish();
    let note = format!("on {what}");
    Ok(Outcome::of(
        name,
        times.into_inner(),
        Vec::new(),
        ours_bytes,
        note,
    ))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// The same network in a Python that waits for its turns.
struct PyTorch {
    child: Child,
    turns: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl PyTorch {
    /// `None` where there is no Python or it has no PyTorch. `parameters`: how many trainable values it has to have.
    fn start(parameters: usize) -> Result<Option<PyTorch>> {
        #[derive(Deserialize)]
        struct Ready {
            torch: String,
            parameters: usize,
        }
        let started = python()
            .args(["-c", include_str!("resnet38.py")])
            .args([HEIGHT, WIDTH, CLASSES, threads()].map(|n| n.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            return Ok(None);
        };
        let (Some(turns), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("Python: its input and output are not there");
        };
        let mut answers = BufReader::new(answers);
        let mut line = String::new();
        answers
            .read_line(&mut line)
            .context("waiting for resnet38.py")?;
        if line.is_empty() {
            let status = child.wait().context("waiting for resnet38.py")?;
            if status.code() == Some(NOT_INSTALLED) {
                return Ok(None);
            }
            return Err(failed("resnet38.py", status));
        }
        let ready: Ready =
            serde_json::from_str(&line).context("reading what resnet38.py prints")?;
        // From here on it ends with us, whatever happens.
        let python = PyTorch {
            child,
            turns,
            answers,
            version: ready.torch,
        };
        ensure!(
            ready.parameters == parameters,
            "resnet38.py has {} parameters, {NETWORK} {parameters}: they are not the same network",
            ready.parameters
        );
        Ok(Some(python))
    }

    /// Seconds of one pass.
    fn pass(&mut self) -> Result<f64> {
        self.turns
            .write_all(b"\n")
            .context("giving resnet38.py its turn")?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("waiting for resnet38.py")?;
        line.trim()
            .parse()
            .with_context(|| format!("resnet38.py answered {line:?}"))
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // It may be in the middle of a pass that nobody waits for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
