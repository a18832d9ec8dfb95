//! How long the rows will take.

use std::path::Path;

use anyhow::Result;

use super::Args;
use super::rows::{Row, known};
use crate::cli::context::Opened;
use crate::cli::several::{Left, finished};
use crate::methods;
use crate::progress::Whole;
use crate::stages::Stage;

/// Says how long all that is left to do will take, and starts its progress. `all` rows there are, `rows` are to be
/// trained, after the stages up to `shared` in `base`.
///
/// # Errors
/// Where the classifier cannot be trained for a moment to see how fast it is.
pub fn begin(
    args: &Args,
    out: &Path,
    base: &Opened,
    shared: Stage,
    rows: &[Row],
    all: &[Row],
) -> Result<Whole> {
    let mut left = Left::new(base.context.load()?);
    let done = |name: &str| finished(&out.join(name));
    let recipe = &base.context.recipe;
    left.add(
        ("", &done("classifier")),
        &base.method,
        recipe,
        Some(shared),
    )?;
    for row in rows {
        let recipe = args.runs.recipe(&row.set)?;
        let mut kept = done(&row.name);
        // Extra images change the classifier.
        if row.extra.is_none() {
            kept.extend(up_to(&row.method, shared)?);
        }
        if let Some(from) = &row.from {
            let until = known(&from.until)?;
            kept.extend(up_to(&row.method, until)?);
            if let Some(other) = all.iter().find(|other| other.name == from.row) {
                let recipe = args.runs.recipe(&other.set)?;
                let mut kept = done(&other.name);
                kept.extend(up_to(&other.method, shared)?);
                left.add((&other.name, &kept), &other.method, &recipe, Some(until))?;
            }
        }
        left.add((&row.name, &kept), &row.method, &recipe, args.until)?;
    }
    let what = format!("{} rows", rows.len());
    left.begin(&what, &format!("ablate {}", args.method), base)
}

/// The first stages of a method.
fn up_to(method: &str, last: Stage) -> Result<Vec<Stage>> {
    let pipeline = methods::pipeline(method)?;
    let count = pipeline.iter().position(|stage| *stage == last);
    Ok(pipeline[..count.map_or(0, |last| last + 1)].to_vec())
}
