//! A command per stage, from the table of the stages.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args as _, Command, FromArgMatches, Subcommand};

use super::run::StageArgs;
use crate::pipeline::{Product, Stage};
use crate::stages;

/// The command of a single stage.
#[derive(Debug)]
pub struct StageCommand {
    /// Which.
    pub stage: Stage,
    /// How.
    pub args: StageArgs,
}

/// The stages that have a command of this kind: all but that which predicts, whose command takes any images.
fn stages() -> impl Iterator<Item = Stage> {
    let all = stages::ALL.into_iter();
    all.filter(|stage| !matches!(stage.product(), Product::Masks))
}

impl Subcommand for StageCommand {
    fn augment_subcommands(command: Command) -> Command {
        stages().fold(command, |command, stage| {
            let own = Command::new(stage.name());
            // After the arguments, whose struct brings its own description.
            command.subcommand(
                StageArgs::augment_args(own)
                    .about(stage.help())
                    .long_about(None),
            )
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        stages().any(|stage| stage.name() == name)
    }
}

impl FromArgMatches for StageCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<StageCommand, clap::Error> {
        let named = matches.subcommand().and_then(|(name, own)| {
            let stage = stages().find(|stage| stage.name() == name)?;
            Some((stage, own))
        });
        let Some((stage, own)) = named else {
            return Err(clap::Error::new(ErrorKind::MissingSubcommand));
        };
        Ok(StageCommand {
            stage,
            args: StageArgs::from_arg_matches(own)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = StageCommand::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_command_with_its_help() {
        let command = StageCommand::augment_subcommands(Command::new("weakseg"));
        for stage in stages() {
            let own = command.find_subcommand(stage.name()).unwrap();
            assert_eq!(own.get_about().unwrap().to_string(), stage.help());
            let args = ["weakseg", stage.name(), "--again", "--out", "run"];
            let matches = command.clone().try_get_matches_from(args).unwrap();
            let parsed = StageCommand::from_arg_matches(&matches).unwrap();
            assert_eq!(parsed.stage, stage);
        }
        assert!(!StageCommand::has_subcommand("predict"));
    }
}
