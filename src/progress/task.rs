//! What the program works on, in words that can be had where nothing can be allocated any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

/// Most bytes of the words.
pub const ROOM: usize = 256;

/// The words, with zeros behind them. Two threads that name something at one time may mix their words, but no more.
static TASK: [AtomicU8; ROOM] = [const { AtomicU8::new(0) }; ROOM];

thread_local! {
    static HERE: Cell<[u8; ROOM]> = const { Cell::new([0; ROOM]) };
}

/// From here on the program works on `what`, such as a stage or a file.
pub fn task(what: &str) {
    for (place, byte) in TASK.iter().zip(padded(what)) {
        place.store(byte, Ordering::Relaxed);
    }
}

/// From here on this thread works on `what`, whatever the others do.
pub fn task_here(what: &str) {
    // A thread that is ending has no place for it.
    let _ = HERE.try_with(|here| here.set(padded(what)));
}

/// What this thread, or else the program, works on, with zeros behind it. Allocates nothing.
pub fn current_task() -> [u8; ROOM] {
    let here = HERE.try_with(Cell::get).unwrap_or([0; ROOM]);
    match here[0] {
        0 => std::array::from_fn(|i| TASK[i].load(Ordering::Relaxed)),
        _ => here,
    }
}

/// The last bytes of `what` that there is room for, which of a path say most, with zeros behind them.
fn padded(what: &str) -> [u8; ROOM] {
    let mut start = what.len().saturating_sub(ROOM);
    while !what.is_char_boundary(start) {
        start += 1;
    }
    let mut bytes = [0; ROOM];
    let end = &what.as_bytes()[start..];
    bytes[..end.len()].copy_from_slice(end);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: [u8; ROOM]) -> String {
        let bytes = bytes.into_iter().take_while(|byte| *byte != 0).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_thread_has_its_own_task_or_the_programs() {
        task_here("a.png");
        assert_eq!(text(current_task()), "a.png");
        let others = std::thread::spawn(|| {
            task("stage cam");
            text(current_task())
        });
        assert_eq!(others.join().unwrap(), "stage cam");
        assert_eq!(text(current_task()), "a.png");
        task_here("");
        assert_eq!(text(current_task()), "stage cam");
    }

    #[test]
    fn long_names_lose_their_start() {
        let long = format!("{}/name.png", "ä".repeat(300));
        let kept = text(padded(&long));
        assert!(long.ends_with(&kept) && kept.len() >= ROOM - 1);
    }
}
