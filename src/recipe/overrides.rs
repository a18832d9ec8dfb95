//! `--set key=value`: changing one value of a recipe.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use toml::{Table, Value};

use super::table::shorten;
use super::{
    AffinityTotal, Average, CompletionClasses, Crf, LabelRule, Optimizer, Part, Queries, Reach, Recipe, Retraining,
    SegmentHead, Training,
};
use crate::weights::keys::Order;

/// The recipe with `text`, `key=value`, applied.
pub(super) fn apply(recipe: &Recipe, text: &str) -> Result<Recipe> {
    let Some((key, value)) = text.split_once('=') else {
        bail!("--set {text}: write it as key=value, such as classify.epochs=20");
    };
    let (key, value) = (key.trim(), value.trim());
    let mut table = recipe.to_table();
    let known = with_options(recipe).to_table();
    let Some(example) = get(&known, key) else {
        bail!(
            "--set {key}: there is no such key: did you mean {}?",
            nearest(&known, key)
        );
    };
    let optional = get(&table, key).is_none() || OPTIONAL.iter().chain(&Crf::OPTIONAL).any(|o| key.ends_with(o));
    if optional && value == "none" {
        set(&mut table, key, None);
    } else if let Some(optimizer) = key.strip_suffix(".name").filter(|k| k.ends_with("optimizer")) {
        let name = value.trim_matches('"');
        let usual = Optimizer::usual(name).ok_or_else(|| anyhow!("--set {text}: use {key}=adamw or {key}=sgd"))?;
        if get(&table, key).and_then(Value::as_str) != Some(name) {
            let mut usual = Value::try_from(usual)?;
            shorten(&mut usual);
            set(&mut table, optimizer, Some(usual));
        }
    } else {
        let value =
            fit(read(value, example), example).ok_or_else(|| anyhow!("--set {text}: {key} takes {}", kind(example)))?;
        set(&mut table, key, Some(value));
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| anyhow!("--set {text}: {}", error.message().replace('\n', " ")))
}

/// Keys that may be absent, by their ends.
const OPTIONAL: [&str; 11] = [
    "backbone.weights",
    "backbone.output_stride",
    "augment.long_side",
    "optimizer.tenth_every",
    "input.order",
    "input.range",
    "input.mean",
    "input.std",
    "propagate.threshold",
    "label.foreground_within",
    "seeds.saliency",
];

/// The recipe with every optional value present, so that its table has every key that there is.
fn with_options(recipe: &Recipe) -> Recipe {
    let fill = |training: &mut Training| {
        training.augment.long_side.get_or_insert([1, 1]);
        training.augment.squash = true;
        training.checkpointing = true;
        training.head_alone = true;
        training.head_alone_below = 1;
        training.least_steps = 1;
        training.whole = true;
        training.from_weights = true;
        if let Optimizer::Sgd {
            tenth_every, nesterov, ..
        } = &mut training.optimizer
        {
            tenth_every.get_or_insert(1.0);
            *nesterov = true;
        }
    };
    let mut full = recipe.clone();
    let own = full.backbone.clone();
    for part in Part::ALL {
        full.own_mut(part)
            .get_or_insert_with(|| own.clone())
            .fill_in(PathBuf::from("x"));
    }
    full.backbone.fill_in(PathBuf::from("x"));
    full.propagate.scale = 2.0;
    full.affinity.loss = AffinityTotal::Released;
    full.affinity.cell = 2;
    full.predict.average = Average::Logits;
    full.joint.affinity.reach = Reach::Further;
    full.cross.completion_classes = CompletionClasses::Seeds;
    full.cross.retrain = Retraining::Released;
    full.cross.queries = Queries::Once;
    full.coattend.empty_sets = true;
    full.coattend.self_pairs = true;
    full.coattend.queries = Queries::Once;
    full.label.rule = LabelRule::Released;
    "x".clone_into(&mut full.needs);
    full.input.order.get_or_insert(Order::Rgb);
    full.input.range.get_or_insert(1.0);
    full.input.mean.get_or_insert([0.5; 3]);
    full.input.std.get_or_insert([0.5; 3]);
    fill(&mut full.classify);
    fill(&mut full.affinity.training);
    fill(&mut full.segment);
    full.segment.head = SegmentHead::DeeplabV2;
    for crf in [
        &mut full.affinity.crf,
        &mut full.label.crf,
        &mut full.predict.crf,
        &mut full.joint.crf,
        &mut full.cross.crf,
    ] {
        crf.iterations.get_or_insert(1);
        for value in [
            &mut crf.reference_side,
            &mut crf.gaussian_sxy,
            &mut crf.gaussian_compat,
            &mut crf.bilateral_sxy,
            &mut crf.bilateral_srgb,
            &mut crf.bilateral_compat,
        ] {
            value.get_or_insert(1.0);
        }
    }
    fill(&mut full.joint.training);
    fill(&mut full.cross.training);
    fill(&mut full.coattend.training);
    full.propagate.threshold.get_or_insert(0.5);
    full.label.foreground_within.get_or_insert(0.5);
    full.seeds.saliency.get_or_insert_with(|| PathBuf::from("x"));
    full
}

/// The value at a dotted key; tables are no values.
fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
        None => table.get(key).filter(|value| !value.is_table()),
    }
}

/// Sets or removes the value or table at a dotted key. What is set may be the first of an optional table.
fn set(table: &mut Table, key: &str, value: Option<Value>) {
    match (key.split_once('.'), value) {
        (Some((first, rest)), value) => {
            if value.is_some() && !table.contains_key(first) {
                table.insert(first.to_owned(), Value::Table(Table::new()));
            }
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                set(inner, rest, value);
            }
        }
        (None, Some(value)) => {
            table.insert(key.to_owned(), value);
        }
        (None, None) => {
            table.remove(key);
        }
    }
}

/// `text` as a TOML value, or as a string where a string is wanted and it is none in TOML.
fn read(text: &str, example: &Value) -> Option<Value> {
    let parsed = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"));
    match (example, parsed) {
        (Value::String(_), Some(Value::String(string))) => Some(Value::String(string)),
        (Value::String(_), _) if !text.is_empty() => Some(Value::String(text.to_owned())),
        (_, parsed) => parsed,
    }
}

/// `value` as the type of `example`: whole numbers serve as floats, fixed arrays keep their length, whole numbers
/// are never negative. `None` where it does not fit.
fn fit(value: Option<Value>, example: &Value) -> Option<Value> {
    match (value?, example) {
        (Value::Integer(i), Value::Float(_)) => Some(Value::Float(i as f64)),
        (Value::Integer(i), Value::Integer(_)) => (i >= 0).then_some(Value::Integer(i)),
        (Value::Array(values), Value::Array(examples)) => {
            let first = examples.first()?;
            let fitted = values.into_iter().map(|value| fit(Some(value), first));
            fitted.collect::<Option<_>>().map(Value::Array)
        }
        (value, example) => value.same_type(example).then_some(value),
    }
}

fn kind(example: &Value) -> String {
    match example {
        Value::String(_) => "a string".to_owned(),
        Value::Integer(_) => "a whole number, 0 or more".to_owned(),
        Value::Float(_) => "a number".to_owned(),
        Value::Boolean(_) => "true or false".to_owned(),
        Value::Array(values) => {
            let element = match values.first() {
                Some(Value::Integer(_)) => "whole numbers, 0 or more",
                _ => "numbers",
            };
            format!("an array of {element}, such as {example}")
        }
        _ => "another type".to_owned(),
    }
}

/// The three known keys nearest to `key`. That the last part is the same counts most, then the first.
fn nearest(known: &Table, key: &str) -> String {
    let mut keys = Vec::new();
    collect(known, "", &mut keys);
    keys.sort_by_cached_key(|k| {
        let first = u32::from(k.split('.').next() == key.split('.').next());
        let last = u32::from(k.rsplit('.').next() == key.rsplit('.').next());
        ((16 * edit_distance(k, key)) >> (first + 3 * last), k.clone())
    });
    keys.truncate(3);
    keys.join(", ")
}

fn collect(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => collect(inner, &format!("{prefix}{key}."), keys),
            _ => keys.push(format!("{prefix}{key}")),
        }
    }
}

/// The least number of letters to insert, remove or replace (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;

    fn load(overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        Recipe::load("nano", &overrides)
    }

    #[test]
    fn values_of_every_type() {
        let recipe = load(&[
            "classify.epochs=20",
            "cam.scales = [1, 1.5]",
            "cam.flip=false",
            "affinity.distance=sum",
            "backbone.name=\"resnet38\"",
            "backbone.weights=/data/w 1.pth",
            "shapes.size=128",
            "segment.augment.long_side=[64, 96]",
            "segment.optimizer.lr=1e-3",
        ])
        .unwrap();
        assert_eq!(recipe.classify.epochs, 20.0);
        assert_eq!(recipe.cam.scales, [1.0, 1.5]);
        assert!(!recipe.cam.flip);
        assert_eq!(recipe.affinity.distance, super::super::Distance::Sum);
        assert_eq!(recipe.backbone.name, "resnet38");
        assert_eq!(recipe.backbone.weights, Some("/data/w 1.pth".into()));
        assert_eq!(recipe.shapes.size, 128);
        assert_eq!(recipe.segment.augment.long_side, Some([64, 96]));
        assert!(matches!(recipe.segment.optimizer, Optimizer::Adamw { lr, .. } if lr == 1e-3));
        let unset = load(&["backbone.weights=a", "backbone.weights=none"]).unwrap();
        assert_eq!(unset, load(&[]).unwrap());
    }

    #[test]
    fn a_stage_gets_its_own_backbone_key_by_key() {
        let recipe = load(&[
            "segment.backbone.name=resnet50",
            "segment.backbone.weights=resnet50",
            "segment.backbone.output_stride=16",
        ]);
        let recipe = recipe.unwrap();
        let own = recipe.backbone(Part::Segment);
        assert_eq!((own.name.as_str(), own.output_stride), ("resnet50", Some(16)));
        assert_eq!(recipe.backbone(Part::Classify), &recipe.backbone);
        assert!(!own.is_like(&recipe.backbone));
        for (text, part) in [
            ("segment.backbone.weights=x", "missing field `name`"),
            ("cam.backbone.name=vgg", "cam.backbone.name is \"vgg\""),
            ("classify.backbone.name=nano", "classify.backbone"),
            ("backbone.output_stride=16", "nano has 4 and no other"),
        ] {
            let error = format!("{:#}", load(&[text]).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn changing_the_optimizer_brings_its_keys() {
        let recipe = load(&["classify.optimizer.name=sgd", "classify.optimizer.momentum=0.8"]);
        let optimizer = recipe.unwrap().classify.optimizer;
        assert!(matches!(optimizer, Optimizer::Sgd { momentum, .. } if momentum == 0.8));
        let same = ["classify.optimizer.lr=1", "classify.optimizer.name=adamw"];
        let optimizer = load(&same).unwrap().classify.optimizer;
        assert!(matches!(optimizer, Optimizer::Adamw { lr, .. } if lr == 1.0));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, part) in [
            ("classify.epoch=3", "did you mean classify.epochs"),
            ("epochs=3", "mean segment.epochs, classify.epochs"),
            ("affinity.lr=1", "did you mean affinity.training.optimizer.lr"),
            ("classify=3", "there is no such key"),
            ("classify.batch=-1", "classify.batch takes a whole number, 0 or more"),
            ("classify.batch=1.5", "takes a whole number"),
            ("classify.batch=", "takes a whole number"),
            ("cam.flip=1", "cam.flip takes true or false"),
            ("cam.scales=1", "takes an array of numbers, such as [0.5, 1.0"),
            ("input.mean=[1]", "--set input.mean=[1]: "),
            ("affinity.distance=max", "`mean` or `sum`"),
            ("segment.optimizer.name=lamb", "segment.optimizer.name=adamw or"),
            ("segment.optimizer.momentum=1", "did you mean"),
            ("cam.flip", "write it as key=value"),
            ("cam.scales=[]", "cam.scales is []"),
            ("affinity.cell=0", "affinity.cell is 0: use at least 1"),
            ("affinity.loss=half", "`paper` or `released`"),
            (
                "label.foreground_within=1.5",
                "label.foreground_within is 1.5: use a number from 0 to 1, or none",
            ),
            ("predict.average=median", "`probabilities`, `logits`"),
            ("cian.retrain=never", "`afresh` or `released`"),
            ("cian.completion_classes=all", "`tags` or `seeds`"),
            ("cian.queries=twice", "`balanced` or `once`"),
            ("mcis.maps=all", "`common`, `both`, `released`"),
            ("label.rule=best", "`thresholds` or `released`"),
            ("joint.affinity.reach=far", "`usual`, `nearer`, `further`"),
            ("segment.optimizer.tenth_every=3", "did you mean"),
            ("backbone.name=vgg", "use one of nano, efficientnet_lite0"),
        ] {
            let error = format!("{:#}", load(&[text]).unwrap_err());
            assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        for (set, part) in [
            (
                ["segment.whole=true", "segment.head_alone=true"],
                "segment.whole and segment.head_alone are both true",
            ),
            (
                ["joint.affinity.dilations=[4]", "joint.affinity.reach=nearer"],
                "[4] has no other: use usual, or more dilations",
            ),
            (
                ["segment.optimizer.name=sgd", "segment.optimizer.tenth_every=0"],
                "segment.optimizer.tenth_every is 0: use a positive number",
            ),
        ] {
            let error = format!("{:#}", load(&set).unwrap_err());
            assert!(error.contains(part) && !error.contains('\n'), "{set:?}: {error}");
        }
        load(&["segment.whole=true", "segment.head_alone_below=100"]).unwrap();
        load(&["joint.affinity.dilations=[4]", "joint.affinity.reach=further"]).unwrap();
    }
}
