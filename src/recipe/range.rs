//! Checking that a value of a recipe lies where it makes sense.

use anyhow::{Result, ensure};

/// Rejects a `value` outside of `low` to `high`; `key` is where it stands in the recipe.
pub(super) fn range(key: &str, value: f32, low: f32, high: f32) -> Result<()> {
    ensure!(
        (low..=high).contains(&value),
        "{key} is {value}: use a number from {low} to {high}"
    );
    Ok(())
}
