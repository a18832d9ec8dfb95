//! The table of the stages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::pipeline::{Load, Product, Purpose, Task};
use crate::recipe::{Part, Recipe};
use crate::run::{Mode, RunDir};
use crate::train;

fn load() -> Load {
    Load {
        images: 40,
        pixels: 160.0 * 120.0,
    }
}

#[test]
fn names_folders_and_salts_differ() {
    let count = |of: fn(&Stage) -> &'static str| ALL.iter().map(of).collect::<BTreeSet<_>>().len();
    assert_eq!(count(|s| s.name()), ALL.len());
    assert_eq!(count(|s| s.files().folder), ALL.len());
    let networks = || ALL.iter().filter_map(|s| s.trains());
    let salts: BTreeSet<u64> = networks().map(|t| t.salt).collect();
    assert_eq!(salts.len(), networks().count());
    for stage in ALL {
        assert_eq!(named(stage.name()), Some(stage));
    }
    assert_eq!(named("paint"), None);
}

#[test]
fn every_part_of_a_recipe_has_the_stage_that_trains_it() {
    let recipe = Recipe::load("nano", &[]).unwrap();
    let task = Task {
        recipe: &recipe,
        classes: 3,
        has_extra: false,
    };
    for part in Part::ALL {
        let mut trained = ALL.iter().filter_map(|s| s.trains()).filter(|t| t.part == part);
        let trains = trained.next().unwrap();
        assert!(trained.next().is_none(), "{part:?}");
        let network = recipe.network(part, (trains.head)(&task)).unwrap();
        assert!(!network.declare().0.is_empty());
    }
}

#[test]
fn costs_are_told_in_the_classifiers_images() {
    let recipe = Recipe::load("nano", &[]).unwrap();
    for stage in ALL {
        let cost = stage.cost(&recipe, load());
        assert!(cost.is_finite() && cost > 0.0, "{stage:?}: {cost}");
    }
    let classifier = ALL[0].cost(&recipe, load());
    let steps = train::steps(&recipe.classify, load().images);
    assert_eq!(classifier, (steps * recipe.classify.batch) as f64);
}

/// A file of every kind that a stage leaves, in its folder and in one within, and one of the user's.
fn leave_files(run: &Path, stage: Stage) -> [Vec<PathBuf>; 2] {
    let folder = run.join(stage.files().folder);
    let kinds = stage.files().extensions.iter();
    let own: Vec<PathBuf> = kinds
        .flat_map(|kind| [format!("a.{kind}"), format!("within/a.{kind}")])
        .map(|name| folder.join(name))
        .collect();
    let foreign = vec![folder.join("notes.txt")];
    for path in own.iter().chain(&foreign) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    [own, foreign]
}

#[test]
fn fresh_removes_the_files_of_every_stage_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let open = |mode| RunDir::open(dir.path(), &toml::Table::new(), mode, &files()).unwrap();
    drop(open(Mode::Resume));
    let left = ALL.map(|stage| leave_files(dir.path(), stage));
    drop(open(Mode::Fresh));
    for [own, foreign] in left {
        assert!(!own.is_empty());
        for path in own {
            assert!(!path.exists(), "{}", path.display());
        }
        assert!(foreign.iter().all(|path| path.exists()));
    }
}

#[test]
fn checkpoints_and_curves_are_of_the_kinds_that_networks_leave() {
    for stage in ALL.iter().filter(|s| s.trains().is_some()) {
        for file in [train::CHECKPOINT, train::METRICS] {
            let extension = Path::new(file).extension().unwrap().to_str().unwrap();
            assert!(stage.files().extensions.contains(&extension), "{stage:?}");
        }
    }
}

#[test]
fn every_product_is_made_and_every_purpose_has_a_network() {
    for purpose in [Purpose::ClassMaps, Purpose::Affinities, Purpose::Masks] {
        assert!(ALL.iter().any(|s| s.trains_for(purpose)), "{purpose:?}");
    }
    let made = |is_it: fn(&Product) -> bool| ALL.iter().any(|s| is_it(&s.product()));
    assert!(made(|p| matches!(p, Product::ClassMaps)));
    assert!(made(|p| matches!(p, Product::Scores)));
    assert!(made(|p| matches!(p, Product::Labels)));
    assert!(made(|p| matches!(p, Product::Masks)));
}

#[test]
fn the_architecture_shows_the_folder_of_every_stage() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md");
    let text = fs::read_to_string(path).unwrap();
    for stage in ALL {
        let folder = format!("\n      {}/ ", stage.files().folder);
        assert!(text.contains(&folder), "{stage:?}: no line {folder:?} in {path}");
    }
}

/// Every source file, by its path in `src/`.
fn sources() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&source).unwrap().to_string_lossy();
            let name = name.replace('\\', "/");
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// Nobody but the table and the methods' lists asks which stage something is, only what it leaves.
#[test]
fn a_stage_is_named_in_its_own_file_and_the_table_alone() {
    for (file, text) in sources() {
        if ["stages/mod.rs", "methods/mod.rs"].contains(&file.as_str()) {
            continue;
        }
        for stage in ALL {
            let entry = format!("{}::STAGE", stage.name());
            assert!(!text.contains(&entry), "{file} names the stage {stage:?}");
        }
    }
}

#[test]
fn stages_do_not_import_each_other() {
    for (file, text) in sources() {
        let is_stage = file.starts_with("stages/") && file != "stages/tests.rs";
        assert!(!is_stage || !text.contains("crate::stages::"), "{file}");
        for stage in ALL {
            let sibling = format!("use super::{}", stage.name());
            assert!(!is_stage || !text.contains(&sibling), "{file}: {stage:?}");
        }
    }
}
