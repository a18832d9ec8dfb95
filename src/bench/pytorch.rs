//! The same network in PyTorch, in a Python that waits for its turns.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{NOT_INSTALLED, failed, python};

/// A script that prints `{"torch": VERSION, "parameters": COUNT}`, and then, for every line that it reads, seconds.
pub struct Script {
    /// Its file's name, for errors.
    pub name: &'static str,
    /// What Python runs.
    pub text: &'static str,
    /// Its arguments.
    pub arguments: Vec<usize>,
}

/// A running script.
pub struct PyTorch {
    script: &'static str,
    child: Child,
    turns: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

/// Threads that both sides take.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// What an outcome says of its plain side.
pub fn note(python: Option<&PyTorch>) -> String {
    match python {
        Some(python) => format!("plain: PyTorch {}, {} threads", python.version, threads()),
        None => "plain: none; Python has no PyTorch (pip install torch; WEAKSEG_PYTHON names another Python)".into(),
    }
}

impl PyTorch {
    /// `None` where there is no Python or it has no PyTorch. `parameters`: how many trainable values its network has to
    /// have.
    pub fn start(script: &Script, parameters: usize) -> Result<Option<PyTorch>> {
        #[derive(Deserialize)]
        struct Ready {
            torch: String,
            parameters: usize,
        }
        let name = script.name;
        let started = python()
            .args(["-c", script.text])
            .args(script.arguments.iter().map(|n| n.to_string()))
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
        let waiting = || format!("waiting for {name}");
        answers.read_line(&mut line).with_context(waiting)?;
        if line.is_empty() {
            let status = child.wait().with_context(waiting)?;
            if status.code() == Some(NOT_INSTALLED) {
                return Ok(None);
            }
            return Err(failed(name, status));
        }
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("reading what {name} prints"))?;
        // From here on it ends with us, whatever happens.
        let python = PyTorch {
            script: name,
            child,
            turns,
            answers,
            version: ready.torch,
        };
        ensure!(
            ready.parameters == parameters,
            "{name} has {} parameters, our network {parameters}: they are not the same network",
            ready.parameters
        );
        Ok(Some(python))
    }

    /// Seconds of what the script does for the line `what`.
    pub fn turn(&mut self, what: &str) -> Result<f64> {
        let script = self.script;
        writeln!(self.turns, "{what}").with_context(|| format!("giving {script} its turn"))?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .with_context(|| format!("waiting for {script}"))?;
        line.trim()
            .parse()
            .with_context(|| format!("{script} answered {line:?}"))
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // It may be in the middle of a pass that nobody waits for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
