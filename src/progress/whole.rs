//! Progress of work that has bars of its own, such as the rows of a table: a bar above theirs, and its time left behind
//! their lines.

use std::sync::Mutex;
use std::time::Instant;

use indicatif::ProgressBar;

use super::{BARS, clock, drawn, guard};

static WHOLE: Mutex<Option<Drawn>> = Mutex::new(None);
/// Steps of its bar.
const STEPS: f64 = 1000.0;
/// Least share of the work that time left is told from; before, the estimate counts.
const TELLING: f64 = 0.02;

/// The whole of some work, until it is dropped; there is one at a time.
pub struct Whole(());

struct Drawn {
    state: State,
    /// `None` where there is no terminal to draw on.
    bar: Option<ProgressBar>,
}

/// Starts the progress of work of a total `cost`, in any unit, which is expected to take some `seconds`.
pub fn whole(label: &str, cost: f64, seconds: f64) -> Whole {
    let bar = drawn(STEPS as u64, label).map(|bar| BARS.insert(0, bar));
    let state = State::new(label, cost, seconds, Instant::now());
    *guard(&WHOLE) = Some(Drawn { state, bar });
    Whole(())
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(bar) = guard(&WHOLE).take().and_then(|whole| whole.bar) {
            bar.finish_and_clear();
        }
    }
}

/// A part of the whole begins, where there is one: the bars whose label is `name` are about it.
pub fn part(name: &str, cost: f64) {
    update(|state, _| state.begin(name, cost));
}

/// The part that has begun is done.
pub fn part_done() {
    update(|state, _| state.begin("", 0.0));
}

/// A bar is at `share` of its work; what to say of the whole behind it.
pub(super) fn advance(label: &str, share: f64) -> Option<String> {
    update(|state, now| {
        state.advance(label, share);
        state.numbers(now)
    })
}

/// A bar starts at `share` of its work, which an earlier run has done: it does not count for the time left.
pub(super) fn skip(label: &str, share: f64) {
    update(|state, _| state.skip(label, share));
}

fn update<T>(change: impl FnOnce(&mut State, Instant) -> T) -> Option<T> {
    let mut whole = guard(&WHOLE);
    let whole = whole.as_mut()?;
    let now = Instant::now();
    let result = change(&mut whole.state, now);
    if let Some(bar) = &whole.bar {
        bar.set_position((STEPS * whole.state.share()) as u64);
        bar.set_message(whole.state.left(now));
    }
    Some(result)
}

/// What is known of the whole. It is given the time, so that it can be tested without waiting.
struct State {
    label: String,
    cost: f64,
    /// That of the parts that are done.
    done: f64,
    part: (String, f64),
    /// Of the part.
    share: f64,
    /// Cost of what earlier runs had done of the parts.
    skipped: f64,
    start: Instant,
    expected: f64,
}

impl State {
    fn new(label: &str, cost: f64, expected: f64, now: Instant) -> State {
        State {
            label: label.to_owned(),
            cost: cost.max(f64::MIN_POSITIVE),
            done: 0.0,
            part: (String::new(), 0.0),
            share: 0.0,
            skipped: 0.0,
            start: now,
            expected,
        }
    }

    fn begin(&mut self, name: &str, cost: f64) {
        self.done += self.part.1;
        self.part = (name.to_owned(), cost);
        self.share = 0.0;
    }

    fn advance(&mut self, label: &str, share: f64) {
        if label == self.part.0 {
            self.share = self.share.max(share.clamp(0.0, 1.0));
        }
    }

    fn skip(&mut self, label: &str, share: f64) {
        let before = self.share;
        self.advance(label, share);
        self.skipped += (self.share - before) * self.part.1;
    }

    fn share(&self) -> f64 {
        ((self.done + self.share * self.part.1) / self.cost).min(1.0)
    }

    fn left(&self, now: Instant) -> String {
        let elapsed = now.duration_since(self.start).as_secs_f64();
        let share = self.share();
        let worked = share - self.skipped / self.cost;
        let left = match worked > TELLING {
            true => elapsed * (1.0 - share) / worked,
            false => (self.expected * (1.0 - share) - elapsed).max(0.0),
        };
        format!("{:.0} %, {} left", 100.0 * share, clock(left))
    }

    fn numbers(&self, now: Instant) -> String {
        format!("; {} {}", self.label, self.left(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_done_before_does_not_make_the_rest_look_fast() {
        let start = Instant::now();
        let mut state = State::new("ablate rrm", 40.0, 100.0, start);
        state.begin("classify", 20.0);
        state.skip("classify", 0.5);
        assert_eq!(state.left(start), "25 %, 1:15 left");
        state.advance("classify", 1.0);
        let after = start + Duration::from_secs(30);
        assert_eq!(state.left(after), "50 %, 1:00 left");
    }

    #[test]
    fn parts_add_up_and_bars_of_others_do_not_count() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::new("ablate rrm", 40.0, 90.0, start);
        assert_eq!(state.numbers(after(30)), "; ablate rrm 0 %, 1:00 left");
        state.begin("classify", 10.0);
        state.advance("classify", 0.4);
        assert_eq!(state.numbers(after(30)), "; ablate rrm 10 %, 4:30 left");
        state.advance("image", 1.0);
        assert_eq!(state.share(), 0.1);
        state.begin("joint", 30.0);
        state.advance("joint", 0.5);
        // A second bar of the same part.
        state.advance("joint", 0.0);
        assert_eq!(state.numbers(after(100)), "; ablate rrm 62 %, 1:00 left");
        state.begin("", 0.0);
        assert_eq!(state.numbers(after(160)), "; ablate rrm 100 %, 0:00 left");
    }
}
