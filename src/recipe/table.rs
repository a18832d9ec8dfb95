//! A recipe as TOML.

use toml::{Table, Value};

use super::Recipe;

impl Recipe {
    /// The recipe as a TOML table, each f32 as the shortest decimal that reads back to it.
    pub fn to_table(&self) -> Table {
        let mut table = Table::try_from(self).unwrap_or_default();
        table.iter_mut().for_each(|(_, value)| shorten(value));
        table
    }
}

/// Widening f32 to TOML's f64 turns 0.1 into 0.10000000149011612; this goes by way of the shortest decimal instead.
pub(super) fn shorten(value: &mut Value) {
    match value {
        Value::Float(float) => {
            if let Ok(short) = (*float as f32).to_string().parse() {
                *float = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten(value)),
        _ => {}
    }
}
