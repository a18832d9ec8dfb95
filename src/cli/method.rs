//! `--method`: the table of the methods as clap shows it.

use clap::Arg;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use crate::methods::METHODS;

/// Takes any name, and shows those that there are. What is wrong with another one is said where the method is looked
/// up, which a run directory may name too.
#[derive(Clone)]
pub struct MethodParser;

impl TypedValueParser for MethodParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = METHODS.iter().map(|method| {
            let help = format!("{}: {}", method.title, method.summary);
            PossibleValue::new(method.name).help(help)
        });
        Some(Box::new(values))
    }
}
