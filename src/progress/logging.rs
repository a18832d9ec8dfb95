//! Log lines: one line each on stderr, and with their time in the run's `log.txt`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use log::{Level, LevelFilter};

use super::{BARS, JSON, SILENT, guard, print};

static WARNINGS: AtomicU64 = AtomicU64::new(0);
static LOG_FILE: Mutex<Option<File>> = Mutex::new(None);
/// Lines from before there is a file, such as those about the data set.
static EARLY: Mutex<String> = Mutex::new(String::new());

/// Starts logging: our own messages to stderr, libraries' only where they are errors.
///
/// `json`: stdout belongs to the results and no bars are drawn. `verbosity`: 0 = info, 1 = debug, 2 or more = trace,
/// negative = warnings only, and no progress; `log.txt` gets the same lines. A second call has no effect.
pub fn init_logging(json: bool, verbosity: i8) {
    JSON.store(json, Ordering::Relaxed);
    SILENT.store(verbosity < 0, Ordering::Relaxed);
    let level = match verbosity {
        ..0 => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let stderr = fern::Output::call(|record| {
        let prefix = match record.level() {
            Level::Info => "",
            Level::Warn => "warning: ",
            Level::Error => "error: ",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        let line = format!("{prefix}{}", one_line(record));
        BARS.suspend(|| print(Some(line)));
    });
    let log_file = fern::Output::call(|record| {
        if record.level() == Level::Warn {
            WARNINGS.fetch_add(1, Ordering::Relaxed);
        }
        let time = timestamp(SystemTime::now());
        let line = format!("{time} {:5} {}\n", record.level(), one_line(record));
        match guard(&LOG_FILE).as_mut() {
            // What cannot be logged, for a full disk say, has been on stderr.
            Some(file) => drop(file.write_all(line.as_bytes())),
            None => guard(&EARLY).push_str(&line),
        }
    });
    let logger = fern::Dispatch::new()
        .level(LevelFilter::Error)
        .level_for("weakseg", level)
        .chain(stderr)
        .chain(log_file);
    // It only fails where a logger is set already, as by an earlier test in the same process.
    let _ = logger.apply();
}

fn one_line(record: &log::Record) -> String {
    record.args().to_string().replace('\n', " ")
}

/// Appends every log line, with the time, to the file at `path`: those so far, where this is the first file, and those
/// from now on.
///
/// # Errors
/// One line where the file cannot be opened.
pub fn attach_log(path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(|error| {
        anyhow!(
            "cannot open the log {}: {error}: make its folder writable or choose another one with --out",
            path.display()
        )
    })?;
    let mut current = guard(&LOG_FILE);
    let early = std::mem::take(&mut *guard(&EARLY));
    let _ = file.write_all(early.as_bytes());
    *current = Some(file);
    Ok(())
}

/// The number of warnings logged by this process so far.
pub fn warning_count() -> u64 {
    WARNINGS.load(Ordering::Relaxed)
}

/// `time` in UTC to the second, as `2024-02-29T12:00:00Z` (RFC 3339).
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar in eras of 400 years that begin on 1 March, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times() {
        let at = |s| timestamp(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_600), "2025-01-01T00:00:00Z");
    }

    #[test]
    fn the_run_log_gets_every_line_with_its_time() {
        init_logging(true, 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        attach_log(file.path()).unwrap();
        let before = warning_count();
        log::warn!(target: "weakseg::data", "a.png: not an\nimage");
        log::warn!(target: "wgpu_core", "an adapter grumbles");
        assert_eq!(warning_count(), before + 1);
        let text = std::fs::read_to_string(file.path()).unwrap();
        *guard(&LOG_FILE) = None;
        let line = text.lines().find(|l| l.contains("a.png")).unwrap();
        assert!(line.ends_with("WARN  a.png: not an image"), "{line}");
        assert!(!text.contains("grumbles"));
    }
}
