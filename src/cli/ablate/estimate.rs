//! How long the rows will take.

use std::path::Path;

use anyhow::Result;

use super::args::Args;
use super::rows::{Row, known};
use crate::cli::context::Opened;
use crate::cli::remaining::{RemainingWork, finished};
use crate::methods::{self, Method};
use crate::pipeline::Stage;
use crate::progress::Whole;

/// Says how long all that is left to do will take, and starts its progress. `all` rows there are, `rows` are to be
/// trained, after the stages up to `shared` in `base`.
///
/// # Errors
/// Where the classifier cannot be trained for a moment to see how fast it is.
pub fn begin(args: &Args, out: &Path, base: &Opened, shared: Stage, rows: &[Row], all: &[Row]) -> Result<Whole> {
    let mut remaining = RemainingWork::new(base.context.load()?);
    let done = |name: &str| finished(&out.join(name));
    let recipe = &base.context.recipe;
    remaining.add(("", &done("classifier")), base.method, recipe, Some(shared));
    for row in rows {
        let recipe = args.runs.recipe(&row.set)?;
        let method = methods::named(&row.method)?;
        let mut kept = done(&row.name);
        // Extra images change the classifier.
        if row.extra.is_none() {
            kept.extend(up_to(method, shared));
        }
        if let Some(from) = &row.from {
            let until = known(&from.until)?;
            kept.extend(up_to(method, until));
            if let Some(other) = all.iter().find(|other| other.name == from.row) {
                let recipe = args.runs.recipe(&other.set)?;
                let mut kept = done(&other.name);
                let method = methods::named(&other.method)?;
                kept.extend(up_to(method, shared));
                remaining.add((&other.name, &kept), method, &recipe, Some(until));
            }
        }
        remaining.add((&row.name, &kept), method, &recipe, args.until);
    }
    let what = format!("{} rows", rows.len());
    remaining.begin(&what, &format!("ablate {}", args.method), base)
}

/// The first stages of a method, up to `last`; none where it does not have that one.
fn up_to(method: &Method, last: Stage) -> &'static [Stage] {
    let place = method.stages.iter().position(|stage| *stage == last);
    &method.stages[..place.map_or(0, |place| place + 1)]
}
