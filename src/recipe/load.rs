//! Reading recipes: the embedded ones, files of the user's, and what is overridden in them.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::{Table, Value};

use super::{Recipe, overrides};

/// Embedded recipes by name; `affinitynet-` before it may be written too.
pub(super) const EMBEDDED: [(&str, &str); 20] = [
    ("nano", include_str!("../../assets/recipes/affinitynet-nano.toml")),
    ("demo", include_str!("../../assets/recipes/affinitynet-demo.toml")),
    ("smoke", include_str!("../../assets/recipes/affinitynet-smoke.toml")),
    (
        "resnet38",
        include_str!("../../assets/recipes/affinitynet-resnet38.toml"),
    ),
    ("vgg16", include_str!("../../assets/recipes/affinitynet-vgg16.toml")),
    ("photos", include_str!("../../assets/recipes/photos.toml")),
    ("resnet50", include_str!("../../assets/recipes/resnet50.toml")),
    ("rrm-nano", include_str!("../../assets/recipes/rrm-nano.toml")),
    ("rrm-resnet38", include_str!("../../assets/recipes/rrm-resnet38.toml")),
    (
        "rrm-largefov-vgg16",
        include_str!("../../assets/recipes/rrm-largefov-vgg16.toml"),
    ),
    (
        "rrm-deeplabv2-vgg16",
        include_str!("../../assets/recipes/rrm-deeplabv2-vgg16.toml"),
    ),
    (
        "rrm-deeplabv2-resnet101",
        include_str!("../../assets/recipes/rrm-deeplabv2-resnet101.toml"),
    ),
    ("aalr-resnet38", include_str!("../../assets/recipes/aalr-resnet38.toml")),
    (
        "cian-resnet101",
        include_str!("../../assets/recipes/cian-resnet101.toml"),
    ),
    ("cian-resnet50", include_str!("../../assets/recipes/cian-resnet50.toml")),
    ("mcis-vgg16", include_str!("../../assets/recipes/mcis-vgg16.toml")),
    (
        "mcis-resnet101",
        include_str!("../../assets/recipes/mcis-resnet101.toml"),
    ),
    (
        "mcis-largefov-vgg16",
        include_str!("../../assets/recipes/mcis-largefov-vgg16.toml"),
    ),
    (
        "mcis-lid-resnet38",
        include_str!("../../assets/recipes/mcis-lid-resnet38.toml"),
    ),
    (
        "photos-released",
        include_str!("../../assets/recipes/photos-released.toml"),
    ),
];

impl Recipe {
    /// Reads the embedded recipe of this name (`nano`, `rrm-resnet38`, ...), or the file at a path that ends in
    /// `.toml`, and applies `overrides` of the form `key=value`, with dotted keys and TOML values (strings may be bare;
    /// `none` unsets an optional one), in order. Changing `optimizer.name` brings that optimizer's usual values.
    ///
    /// # Errors
    /// One line for an unknown recipe, a file that cannot be read, an unknown key (with the nearest known ones), a
    /// value of the wrong type, and one out of range.
    pub fn load(name_or_path: &str, overrides: &[String]) -> Result<Self> {
        let path = Path::new(name_or_path);
        let mut recipe = if path.extension().is_some_and(|e| e == "toml") {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read the recipe {name_or_path}"))?;
            parse(&text, name_or_path)?
        } else {
            parse(embedded(name_or_path)?, name_or_path)?
        };
        recipe = recipe
            .with(overrides)
            .with_context(|| format!("recipe {name_or_path}"))?;
        Ok(recipe)
    }

    /// This recipe with `overrides`, each a `key=value`.
    ///
    /// # Errors
    /// Where a key is unknown or a value does not fit.
    pub fn with(mut self, overrides: &[String]) -> Result<Self> {
        for text in overrides {
            self = overrides::apply(&self, text)?;
        }
        self.check()?;
        Ok(self)
    }
}

/// The text of the embedded recipe called `name`.
fn embedded(name: &str) -> Result<&'static str> {
    let short = name.strip_prefix("affinitynet-").unwrap_or(name);
    let found = EMBEDDED.iter().find(|(known, _)| *known == short);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = EMBEDDED.iter().map(|(known, _)| *known).collect();
        anyhow!(
            "there is no recipe \"{name}\": use one of {}, or a path that ends in .toml",
            known.join(", ")
        )
    })
}

/// Reads a recipe. One that begins with `base = "NAME"` needs to hold only what differs from that embedded recipe.
fn parse(text: &str, name: &str) -> Result<Recipe> {
    let at_line = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        let what = error.message().replace('\n', " ");
        anyhow!("recipe {name}, line {line}: {what}: compare it with assets/recipes")
    };
    let mut own: Table = toml::from_str(text).map_err(at_line)?;
    let Some(base) = own.remove("base") else {
        return toml::from_str(text).map_err(at_line);
    };
    let Some(base) = base.as_str() else {
        bail!("recipe {name}: base is {base}: write the name of a recipe, such as \"resnet38\"");
    };
    let base = embedded(base).with_context(|| format!("recipe {name}, base"))?;
    let mut table = parse(base, name)?.to_table();
    merge(&mut table, own);
    table.try_into().map_err(|error: toml::de::Error| {
        let what = error.message().replace('\n', " ");
        anyhow!("recipe {name}: {what}: compare it with assets/recipes")
    })
}

/// Puts the values of `own` into `table`. A table with another `name`, such as another optimizer, replaces the old one.
pub(super) fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new))
                if !new.contains_key("name") || new.get("name") == old.get("name") =>
            {
                merge(old, new);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
