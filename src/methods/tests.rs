//! The table of the methods, and what is made of it.

use std::collections::BTreeSet;

use super::readme::{BEGIN, END};
use super::*;
use crate::data::{self, DataOptions, ShapesOptions};
use crate::models::params::Parameters;
use crate::pipeline::{LabelSource, Product};
use crate::recipe::Recipe;
use crate::run::{Mode, RunDir};
use crate::stages;

#[test]
fn the_readme_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let start = text.find(BEGIN).unwrap_or(text.len());
    let end = text.find(END).map_or(text.len(), |end| end + END.len());
    let found = text.get(start..end).unwrap_or_default();
    let expected = readme_table();
    assert_eq!(
        found.replace("\r\n", "\n"),
        expected,
        "README.md should have, in place of what is between {BEGIN} and {END}:\n\n{expected}\n"
    );
}

#[test]
fn names_differ_and_unknown_ones_are_told() {
    let different: BTreeSet<&str> = names().collect();
    assert_eq!(different.len(), METHODS.len());
    let error = named("magic").unwrap_err().to_string();
    assert!(error.starts_with("unknown method \"magic\": "), "{error}");
    for name in names() {
        assert_eq!(named(name).unwrap().name, name);
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn every_method_can_be_run() {
    for method in METHODS {
        let name = method.name;
        assert!(method.segmenter().is_ok(), "{name}");
        let last = method.stages.last().unwrap().product();
        assert!(matches!(last, Product::Masks), "{name}");
        let different: BTreeSet<&str> = method.stages.iter().map(|s| s.name()).collect();
        assert_eq!(different.len(), method.stages.len(), "{name}");
        let sets: Vec<String> = method.overrides.iter().map(|o| o.set.into()).collect();
        let changed = Recipe::load("nano", &sets).unwrap();
        assert_eq!(changed == Recipe::load("nano", &[]).unwrap(), sets.is_empty(), "{name}");
        for change in method.overrides {
            assert!(method.stages.contains(&change.stage), "{name}");
        }
    }
    let bounds = METHODS.iter().filter(|m| m.needs_masks());
    assert_eq!(bounds.map(|m| m.name).collect::<Vec<_>>(), ["supervised"]);
}

/// A run of `method` on four images that has not begun.
fn context(method: &Method, folder: &std::path::Path) -> Context {
    let shapes = ShapesOptions {
        size: 48,
        train: 4,
        val: 2,
        ..ShapesOptions::default()
    };
    let config = toml::Table::new();
    Context {
        recipe: Recipe::load("nano", &[]).unwrap(),
        data: data::open(&DataOptions::built_in(0, shapes)).unwrap(),
        run: RunDir::open(folder, &config, Mode::Resume, &stages::files()).unwrap(),
        device: burn::tensor::Device::flex(),
        pipeline: method.stages,
        seed: 0,
        objective: method.objective,
        device_line: String::new(),
    }
}

#[test]
fn stages_are_given_what_the_method_has_before_them() {
    // Of a method: whose network maps are of, what labels are made of, and whose network predicts.
    let expected = [
        ("affinitynet", Some("classify"), Some("propagate"), "segment"),
        ("rrm", None, None, "joint"),
        ("rrm-two-step", None, Some("joint"), "segment"),
        ("aalr", None, None, "joint"),
        ("cian", Some("classify"), None, "cross"),
        ("mcis", Some("coattend"), Some("cam"), "segment"),
        ("mcis-lid", Some("coattend"), Some("propagate"), "segment"),
        ("supervised", None, None, "segment"),
    ];
    assert!(expected.iter().map(|(name, ..)| *name).eq(names()));
    for (name, maps_of, labels_of, predicts) in expected {
        let method = named(name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let context = context(method, dir.path());
        let (mut maps, mut labels, mut masks) = (None, None, None);
        for stage in method.stages.iter().copied() {
            match stage.product() {
                Product::ClassMaps => {
                    let source = context.network_before(stage, Purpose::ClassMaps);
                    maps = Some(source.unwrap().name());
                }
                Product::Scores => {
                    let walks_on = context.network_before(stage, Purpose::Affinities);
                    assert_eq!(walks_on.unwrap().name(), "affinity");
                    assert_eq!(context.class_maps(stage).unwrap().name(), "cam");
                }
                Product::Labels => {
                    let source = context.label_source(stage).unwrap();
                    let (LabelSource::ClassMaps(from) | LabelSource::Scores(from) | LabelSource::Network(from, _)) =
                        source;
                    labels = Some(from.name());
                }
                Product::Masks => {
                    let source = context.network_before(stage, Purpose::Masks);
                    masks = Some(source.unwrap().name());
                }
                Product::Network(_) => {}
            }
        }
        assert_eq!((maps, labels, masks), (maps_of, labels_of, Some(predicts)), "{name}");
    }
}

#[test]
fn segmentation_learns_from_labels_or_else_from_masks() {
    let labels = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        let method = named(name).unwrap();
        let context = context(method, dir.path());
        let labels = context.labels(method.segmenter().unwrap());
        labels.map(|(split, _)| split.len()).map_err(|e| e.to_string())
    };
    assert_eq!(labels("supervised"), Ok(4));
    assert!(labels("mcis").unwrap_err().starts_with("no labels in "));
}

#[test]
fn a_training_starts_from_the_classifier_or_from_weights_alone() {
    let dir = tempfile::tempdir().unwrap();
    let method = named("affinitynet").unwrap();
    let mut context = context(method, dir.path());
    // One step.
    let classify = &mut context.recipe.classify;
    (classify.epochs, classify.batch, classify.augment.crop) = (0.5, 2, 48);
    let classifier = method.stages[0];
    context.run_stage(classifier, false).unwrap();
    let learnt = context.trained_by(classifier).unwrap();
    let segment = method.segmenter().unwrap();
    let fresh = context.pretrained(segment).unwrap();
    let is_shared = |name: &&String| !learnt.network.is_head(name) && fresh.0.contains_key(*name);
    let shared: Vec<&String> = learnt.parameters.0.keys().filter(is_shared).collect();
    assert!(!shared.is_empty());
    let values = |parameters: &Parameters| -> Vec<Vec<f32>> {
        let of = |name: &&String| parameters.0[*name].value.to_vec().unwrap();
        shared.iter().map(of).collect()
    };
    assert_ne!(values(&fresh), values(&learnt.parameters));
    let warm = context.warm_start(segment).unwrap();
    assert_eq!(values(&warm), values(&learnt.parameters));
    context.recipe.segment.from_weights = true;
    let cold = context.warm_start(segment).unwrap();
    assert_eq!(values(&cold), values(&fresh));
}

#[test]
fn a_head_alone_is_not_trained_on_a_backbone_without_weights() {
    let dir = tempfile::tempdir().unwrap();
    let method = named("affinitynet").unwrap();
    let mut context = context(method, dir.path());
    // Of four images.
    context.recipe.classify.head_alone_below = 5;
    let error = context.run_stage(method.stages[0], false).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("head alone") && error.contains("--set backbone.weights=FILE"),
        "{error}"
    );
    assert!(!context.folder(method.stages[0]).join(crate::train::CHECKPOINT).exists());
}
