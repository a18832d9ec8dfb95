//! What the program says while it works: progress on stderr, log lines on stderr and in a run's `log.txt`.

mod logging;
mod task;
mod whole;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

pub use logging::{attach_log, init_logging, timestamp, warning_count};
pub use task::{current_task, task, task_here};
pub use whole::{Whole, part, part_done, whole};

/// All bars, so that log lines can be printed between them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
static JSON: AtomicBool = AtomicBool::new(false);
static SILENT: AtomicBool = AtomicBool::new(false);

/// Without a terminal, work shorter than this is not mentioned.
const QUIET: Duration = Duration::from_secs(2);
/// Without a terminal, the least time between two lines about the same work.
const INTERVAL: Duration = Duration::from_secs(10);

/// Progress of one piece of work. It can be shared between threads; one that is dropped before [`Bar::finish`]
/// disappears without a last line.
pub struct Bar {
    state: Mutex<State>,
    /// `None` where there is no terminal to draw on.
    drawn: Option<ProgressBar>,
}

/// Starts the progress of work with `total` items named `unit` in the plural ("images"), called `label`.
///
/// On a terminal it is a bar with rate and time left; elsewhere, and with `--json`, lines on stderr at most every
/// ten seconds, and none for work of less than two. With `-q` it is not mentioned at all.
pub fn bar(total: u64, unit: &str, label: &str) -> Bar {
    let drawn = drawn(total, label).map(|drawn| BARS.add(drawn));
    let state = Mutex::new(State::new(total, unit, label, Instant::now()));
    let bar = Bar { state, drawn };
    bar.update(|_, _| ());
    bar
}

/// A bar to draw, where there is a terminal for it.
fn drawn(total: u64, label: &str) -> Option<ProgressBar> {
    let hidden = JSON.load(Ordering::Relaxed) || SILENT.load(Ordering::Relaxed);
    (std::io::stderr().is_terminal() && !hidden).then(|| {
        let style = ProgressStyle::with_template("{prefix} {bar:24} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(total).with_style(style).with_prefix(label.to_owned())
    })
}

impl Bar {
    /// `n` more items are done.
    pub fn inc(&self, n: u64) {
        self.update(|state, now| state.advance(n, now));
    }

    /// `done` items are done already, by an earlier run: they do not count for the rate.
    pub fn set(&self, done: u64) {
        {
            let state = guard(&self.state);
            whole::skip(&state.label, state.share(done));
        }
        self.update(|state, now| state.start_from(done, now));
    }

    /// A few words that follow the numbers, such as the current loss.
    pub fn message(&self, text: &str) {
        self.update(|state, _| text.clone_into(&mut state.message));
    }

    /// The work is done: the bar goes away, and where it took longer than a moment a last line stays.
    pub fn finish(&self) {
        let last = guard(&self.state).last(Instant::now());
        if let Some(drawn) = &self.drawn {
            drawn.finish_and_clear();
        }
        BARS.suspend(|| say(last));
    }

    fn update(&self, change: impl FnOnce(&mut State, Instant)) {
        let now = Instant::now();
        let mut state = guard(&self.state);
        change(&mut state, now);
        let share = state.share(state.done);
        let of_whole = whole::advance(&state.label, share).unwrap_or_default();
        match &self.drawn {
            Some(drawn) => {
                drawn.set_position(state.done);
                drawn.set_message(state.numbers(now));
            }
            None => say(state.due(now).map(|line| line + &of_whole)),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(drawn) = &self.drawn {
            drawn.finish_and_clear();
        }
    }
}

/// What a bar knows. It is given the time, so that it can be tested without waiting.
struct State {
    label: String,
    unit: String,
    message: String,
    total: u64,
    done: u64,
    start: Instant,
    /// Two earlier moments and how much was done then. The rate counts from the first, so that it follows changes,
    /// such as the end of a slow first step, within twice [`INTERVAL`].
    marks: [(Instant, u64); 2],
    printed: Option<Instant>,
}

impl State {
    fn new(total: u64, unit: &str, label: &str, now: Instant) -> Self {
        Self {
            label: label.to_owned(),
            unit: unit.to_owned(),
            message: String::new(),
            total,
            done: 0,
            start: now,
            marks: [(now, 0); 2],
            printed: None,
        }
    }

    fn share(&self, done: u64) -> f64 {
        done as f64 / self.total.max(1) as f64
    }

    fn start_from(&mut self, done: u64, now: Instant) {
        (self.done, self.start, self.marks) = (done, now, [(now, done); 2]);
    }

    fn advance(&mut self, n: u64, now: Instant) {
        self.done += n;
        if now.duration_since(self.marks[1].0) >= INTERVAL {
            self.marks = [self.marks[1], (now, self.done)];
        }
    }

    /// The line to print now, if any. The last item is left to the last line.
    fn due(&mut self, now: Instant) -> Option<String> {
        let due = match self.printed {
            Some(last) => now.duration_since(last) >= INTERVAL,
            None => self.done > 0 && now.duration_since(self.start) >= QUIET,
        };
        (due && self.done < self.total).then(|| {
            self.printed = Some(now);
            format!("{}: {}", self.label, self.numbers(now))
        })
    }

    fn last(&self, now: Instant) -> Option<String> {
        let elapsed = now.duration_since(self.start);
        (elapsed >= QUIET).then(|| {
            format!(
                "{}: {} {} in {}{}",
                self.label,
                self.done,
                self.unit,
                clock(elapsed.as_secs_f64()),
                self.suffix()
            )
        })
    }

    fn numbers(&self, now: Instant) -> String {
        let (since, before) = self.marks[0];
        let seconds = now.duration_since(since).as_secs_f64().max(1e-9);
        let per_second = self.done.saturating_sub(before) as f64 / seconds;
        let left = self.total.saturating_sub(self.done) as f64 / per_second;
        format!(
            "{}/{} {}, {}/s, {} left{}",
            self.done,
            self.total,
            self.unit,
            rate(per_second),
            clock(left),
            self.suffix()
        )
    }

    fn suffix(&self) -> String {
        match self.message.as_str() {
            "" => String::new(),
            message => format!(", {message}"),
        }
    }
}

/// A rate to three significant digits.
fn rate(per_second: f64) -> String {
    let decimals = match per_second {
        r if r >= 100.0 => 0,
        r if r >= 10.0 => 1,
        _ => 2,
    };
    format!("{per_second:.decimals$}")
}

/// Seconds as `m:ss` or `h:mm:ss`; `?` where they are not known.
fn clock(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    let s = seconds.round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// A panic elsewhere while the lock was held leaves nothing half done here.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line about progress, where such lines are wanted.
fn say(line: Option<String>) {
    if !SILENT.load(Ordering::Relaxed) {
        print(line);
    }
}

/// A closed stderr is no reason to stop, so the result of writing to it is dropped.
fn print(line: Option<String>) {
    if let Some(line) = line {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_tell_rate_and_time_left() {
        let start = Instant::now();
        let mut state = State::new(1_000, "images", "cam", start);
        state.start_from(100, start);
        let mut printed = Vec::new();
        for tenth in 1..=450 {
            let now = start + Duration::from_millis(100 * tenth);
            // Slow at first, as with autotuning.
            state.advance(if tenth <= 150 { 0 } else { 3 }, now);
            printed.extend(state.due(now));
        }
        state.message = "loss 0.25".to_owned();
        printed.extend(state.last(start + Duration::from_secs(45)));
        assert_eq!(
            printed,
            [
                "cam: 100/1000 images, 0.00/s, ? left",
                "cam: 100/1000 images, 0.00/s, ? left",
                "cam: 310/1000 images, 17.5/s, 0:39 left",
                "cam: 610/1000 images, 30.0/s, 0:13 left",
                "cam: 910/1000 images, 30.0/s, 0:03 left",
                "cam: 1000 images in 0:45, loss 0.25",
            ]
        );
    }

    #[test]
    fn short_work_is_not_mentioned() {
        let start = Instant::now();
        let mut state = State::new(3, "images", "cam", start);
        let now = start + Duration::from_millis(1900);
        state.advance(2, now);
        assert_eq!(state.due(now), None);
        assert_eq!(state.last(now), None);
    }

    #[test]
    fn durations() {
        assert_eq!(clock(3_725.4), "1:02:05");
        assert_eq!(clock(f64::INFINITY), "?");
    }
}
