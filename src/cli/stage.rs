//! A command per stage, from the table of the stages.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args as _, Command, FromArgMatches, Subcommand};

use super::run::StageArgs;
use crate::pipeline::Stage;
use crate::stages;

/// The command of a single stage.
#[derive(Debug)]
pub struct StageCommand {
    /// Which.
    pub stage: Stage,
    /// How.
    pub args: StageArgs,
}

impl Subcommand for StageCommand {
    fn augment_subcommands(command: Command) -> Command {
        stages::ALL.into_iter().fold(command, |command, stage| {
            let Some(about) = stage.command() else {
                return command;
            };
            let own = StageArgs::augment_args(Command::new(stage.name()));
            // After the arguments, whose struct brings a description of its own.
            command.subcommand(own.about(about).long_about(None))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        stages::named(name).is_some_and(|stage| stage.command().is_some())
    }
}

impl FromArgMatches for StageCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<StageCommand, clap::Error> {
        let named = matches
            .subcommand()
            .and_then(|(name, own)| Some((stages::named(name)?, own)));
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
        for stage in stages::ALL {
            let Some(about) = stage.command() else {
                assert!(command.find_subcommand(stage.name()).is_none());
                assert!(!StageCommand::has_subcommand(stage.name()));
                continue;
            };
            let own = command.find_subcommand(stage.name()).unwrap();
            assert_eq!(own.get_about().unwrap().to_string(), about);
            let args = ["weakseg", stage.name(), "--again", "--out", "run"];
            let matches = command.clone().try_get_matches_from(args).unwrap();
            let parsed = StageCommand::from_arg_matches(&matches).unwrap();
            assert_eq!(parsed.stage, stage);
        }
        assert!(!StageCommand::has_subcommand("paint"));
    }
}
