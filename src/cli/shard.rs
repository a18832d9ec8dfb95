//! `--shard`, and what a cluster's scheduler says in its place.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::Shard;

/// The option.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ShardArg {
    /// Do a part of the images: K of N, K from 1; N alone takes K from JOB_COMPLETION_INDEX or RANK; none does all
    /// [default: as SLURM_ARRAY_TASK_ID and _COUNT, or RANK and WORLD_SIZE say]
    #[arg(long, value_name = "K/N")]
    shard: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Of(usize),
    Part(Shard),
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Wanted> {
        match text.parse::<usize>() {
            _ if text == "none" => Ok(Wanted::All),
            Ok(0) => bail!("0 shards are none: write none for all images"),
            Ok(count) => Ok(Wanted::Of(count)),
            Err(_) => Ok(Wanted::Part(text.parse()?)),
        }
    }
}

impl ShardArg {
    /// Whether a part was asked for on the command line.
    pub fn is_given(&self) -> bool {
        matches!(self.shard, Some(Wanted::Of(_) | Wanted::Part(_)))
    }

    /// The part to do, from the command line or else the environment, which is then told; `None` is all.
    ///
    /// # Errors
    /// One line where the environment does not say which part.
    pub fn choose(&self) -> Result<Option<Shard>> {
        let variable = |name: &str| std::env::var(name).ok();
        let (shard, from) = match self.shard {
            Some(Wanted::All) => return Ok(None),
            Some(Wanted::Part(shard)) => (shard, None),
            Some(Wanted::Of(count)) => {
                let (shard, from) = of(count, variable)?;
                (shard, Some(from))
            }
            None => match told(variable)? {
                Some((shard, from)) => (shard, Some(from)),
                None => return Ok(None),
            },
        };
        match from {
            Some(from) => log::info!("shard {shard}, as {from} says; --shard none does all images"),
            None => log::info!("shard {shard}"),
        }
        Ok(Some(shard))
    }
}

const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
const RANK: &str = "RANK";
const RANKS: &str = "WORLD_SIZE";
const SLURM: &str = "SLURM_ARRAY_TASK_ID";

/// The part that the environment names of `count`.
fn of(count: usize, variable: impl Fn(&str) -> Option<String>) -> Result<(Shard, &'static str)> {
    for name in [KUBERNETES, RANK] {
        if let Some(index) = number(&variable, name)? {
            return Ok((part(index, count, name)?, name));
        }
    }
    match told(&variable)? {
        Some((shard, from)) if shard.count() == count => Ok((shard, from)),
        Some((shard, from)) => bail!("--shard is of {count}, but {from} says {shard}: write K/N"),
        None => bail!("--shard {count} does not say which of them: write K/N, or set {KUBERNETES} or {RANK}"),
    }
}

/// The part that the environment names, if it names one.
fn told(variable: impl Fn(&str) -> Option<String>) -> Result<Option<(Shard, &'static str)>> {
    if let Some(id) = number(&variable, SLURM)? {
        let count = number(&variable, "SLURM_ARRAY_TASK_COUNT")?;
        let count =
            count.with_context(|| format!("{SLURM} is set without SLURM_ARRAY_TASK_COUNT: write --shard K/N"))?;
        let first = number(&variable, "SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
        let step = number(&variable, "SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
        let place = id.checked_sub(first).filter(|place| place.is_multiple_of(step));
        let place =
            place.with_context(|| format!("{SLURM} is {id}, which no array from {first} in steps of {step} has"))?;
        let shard = part(place / step, count, SLURM);
        let shard = shard.context("an array with gaps does not say which part is whose: write --shard K/N")?;
        return Ok(Some((shard, SLURM)));
    }
    let ranks = number(&variable, RANKS)?.filter(|ranks| *ranks > 1);
    match (number(&variable, RANK)?, ranks) {
        (Some(rank), Some(ranks)) => Ok(Some((part(rank, ranks, RANK)?, RANK))),
        _ => Ok(None),
    }
}

/// The part with this index, from 0 on.
fn part(index: usize, count: usize, from: &str) -> Result<Shard> {
    ensure!(
        index < count,
        "{from} counts to {index}, but there are {count} shards, from 0 to {}",
        count.saturating_sub(1)
    );
    Shard::new(index + 1, count)
}

fn number(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<usize>> {
    let Some(text) = variable(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.trim().parse();
    let number = number.with_context(|| format!("{name} is {text:?}, no number: write --shard K/N, or none"))?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        move |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        }
    }

    fn said(pairs: &[(&str, &str)]) -> Option<String> {
        told(environment(pairs)).unwrap().map(|(shard, _)| shard.to_string())
    }

    #[test]
    fn schedulers_say_which_part() {
        let slurm = |id, first, step| {
            let pairs = [
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", "4"),
                ("SLURM_ARRAY_TASK_MIN", first),
                ("SLURM_ARRAY_TASK_STEP", step),
            ];
            told(environment(&pairs)).map(|found| found.unwrap().0.to_string())
        };
        assert_eq!(slurm("0", "0", "1").unwrap(), "1/4");
        assert_eq!(slurm("4", "1", "1").unwrap(), "4/4");
        assert_eq!(slurm("12", "4", "4").unwrap(), "3/4");
        for bad in [slurm("9", "0", "1"), slurm("5", "0", "2"), slurm("x", "0", "1")] {
            assert!(format!("{:#}", bad.unwrap_err()).contains("SLURM_ARRAY_TASK_ID"));
        }
        assert_eq!(said(&[("RANK", "1"), ("WORLD_SIZE", "2")]).unwrap(), "2/2");
        assert_eq!(said(&[("RANK", "0"), ("WORLD_SIZE", "1")]), None);
        assert_eq!(said(&[("JOB_COMPLETION_INDEX", "1")]), None, "the count is not there");
        assert_eq!(said(&[]), None);
        let kubernetes = environment(&[("JOB_COMPLETION_INDEX", "1")]);
        assert_eq!(of(3, kubernetes).unwrap().0.to_string(), "2/3");
        for (count, pairs) in [(3, vec![]), (1, vec![("JOB_COMPLETION_INDEX", "1")])] {
            assert!(of(count, environment(&pairs)).is_err());
        }
    }

    #[test]
    fn the_option_takes_a_part_a_number_or_none() {
        let wanted = |text: &str| text.parse::<Wanted>();
        assert_eq!(wanted("none").unwrap(), Wanted::All);
        assert_eq!(wanted("4").unwrap(), Wanted::Of(4));
        assert_eq!(wanted("2/4").unwrap(), Wanted::Part(Shard::new(2, 4).unwrap()));
        for text in ["0", "5/4", "all", "-1"] {
            assert!(wanted(text).is_err(), "{text}");
        }
    }
}
