//! `metrics.csv` of a training stage: one row per step, appended as training goes on.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::files;

/// An open `metrics.csv`. Columns: `step`, then the names given at creation.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    columns: usize,
}

impl MetricsLog {
    /// Opens the log of a training that (re)starts at `step`: rows of this and later steps are dropped, so that a
    /// training that was killed after its last checkpoint and went on from it ends with each step once.
    ///
    /// # Errors
    /// Where the file is not readable as a log, was written with other columns, or cannot be written.
    pub fn open(path: &Path, columns: &[&str], step: u64) -> Result<Self> {
        let header = line(std::iter::once("step").chain(columns.iter().copied()))?;
        let mut text = header.clone();
        if step > 0 && path.exists() {
            let old = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(
                old.starts_with(&header),
                "{} has other columns than this training writes: delete the file, or start over with --fresh",
                path.display()
            );
            for row in old[header.len()..].split_inclusive(|&b| b == b'\n') {
                if step_of(row).is_some_and(|s| s < step) {
                    text.extend(row);
                }
            }
        }
        files::write_bytes(path, &text)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| files::write_error(path, &e.into()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            columns: columns.len(),
        })
    }

    /// Appends the row of one step. Numbers are written with the fewest digits that read back to the same f32.
    ///
    /// # Errors
    /// Where the row cannot be written, or has another number of values than the log has columns.
    pub fn append(&mut self, step: u64, values: &[f32]) -> Result<()> {
        ensure!(
            values.len() == self.columns,
            "{}: {} values for {} columns: this is a bug in weakseg, please report it",
            self.path.display(),
            values.len(),
            self.columns
        );
        let fields = values.iter().map(f32::to_string);
        let row = line(std::iter::once(step.to_string()).chain(fields))?;
        // One write per row: what is on disk after a kill ends with a whole row.
        self.file
            .write_all(&row)
            .map_err(|e| files::write_error(&self.path, &e.into()))
    }
}

fn line<T: AsRef<[u8]>>(fields: impl Iterator<Item = T>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

/// The step of a whole row; `None` for one that was cut off.
fn step_of(row: &[u8]) -> Option<u64> {
    let row = std::str::from_utf8(row).ok()?.strip_suffix('\n')?;
    row.split(',').next()?.parse().ok()
}

/// A column's name and its (step, value) points.
pub type Series = (String, Vec<(f64, f64)>);

/// Reads a `metrics.csv`: every column but `step`, in order. Fields that are no finite numbers are left out.
///
/// # Errors
/// One line where the file is missing or not CSV.
pub fn read(path: &Path) -> Result<Vec<Series>> {
    let context = || format!("cannot read the training curves {}", path.display());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(path)
        .with_context(context)?;
    let mut series: Vec<Series> = Vec::new();
    for name in reader.headers().with_context(context)?.iter().skip(1) {
        series.push((name.to_owned(), Vec::new()));
    }
    for record in reader.records() {
        let record = record.with_context(context)?;
        let mut numbers = record.iter().map(str::parse::<f64>);
        let Some(Ok(step)) = numbers.next() else {
            continue;
        };
        for ((_, points), value) in series.iter_mut().zip(numbers) {
            let value = value.ok().filter(|value| value.is_finite());
            points.extend(value.map(|value| (step, value)));
        }
    }
    Ok(series)
}

/// The last value of a column of a `metrics.csv`; `None` where there is no such file or column.
///
/// # Errors
/// One line where the file is not CSV.
pub fn last(path: &Path, column: &str) -> Result<Option<f64>> {
    if !path.exists() {
        return Ok(None);
    }
    let series = read(path)?;
    let found = series.iter().find(|(name, _)| name == column);
    Ok(found.and_then(|(_, points)| points.last()).map(|(_, value)| *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 2] = ["loss, total", "lr"];

    fn row(step: u64) -> [f32; 2] {
        [1.0 / (step as f32 + 0.3), 0.7 / (step * step + 7) as f32]
    }

    #[test]
    fn a_killed_run_ends_with_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, killed) = (dir.path().join("whole.csv"), dir.path().join("killed.csv"));
        let mut log = MetricsLog::open(&whole, &COLUMNS, 0).unwrap();
        (0..30).for_each(|s| log.append(s, &row(s)).unwrap());

        let mut log = MetricsLog::open(&killed, &COLUMNS, 0).unwrap();
        (0..17).for_each(|s| log.append(s, &row(s)).unwrap());
        drop(log);
        let mut torn = std::fs::read(&killed).unwrap();
        torn.extend(b"1"); // the start of step 17, which would read as step 1
        std::fs::write(&killed, torn).unwrap();
        let mut log = MetricsLog::open(&killed, &COLUMNS, 12).unwrap();
        (12..30).for_each(|s| log.append(s, &row(s)).unwrap());
        assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&killed).unwrap());

        let series = read(&killed).unwrap();
        assert_eq!(series[0].0, "loss, total");
        for (column, (_, points)) in series.iter().enumerate() {
            assert_eq!(points.len(), 30);
            for &(step, value) in points {
                assert_eq!(value as f32, row(step as u64)[column]);
            }
        }
        assert_eq!(last(&killed, "lr").unwrap().map(|v| v as f32), Some(row(29)[1]));
        assert_eq!(last(&killed, "gamma").unwrap(), None);
        assert_eq!(last(&dir.path().join("none.csv"), "lr").unwrap(), None);
        MetricsLog::open(&killed, &COLUMNS, 0).unwrap();
        assert!(read(&killed).unwrap().iter().all(|(_, p)| p.is_empty()));
    }

    #[test]
    fn other_columns_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        MetricsLog::open(&path, &["a"], 0).unwrap();
        let error = MetricsLog::open(&path, &["b"], 5).err().unwrap().to_string();
        assert!(error.contains("metrics.csv has other columns"), "{error}");
    }
}
