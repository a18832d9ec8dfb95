//! Recipes: the embedded ones, own files, overrides.

use toml::Table;

use super::load::{EMBEDDED, merge};
use super::*;

/// A user's own recipe.
fn load(text: &str) -> Result<Recipe> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("mine.toml");
    std::fs::write(&path, text)?;
    Recipe::load(&path.to_string_lossy(), &[])
}

#[test]
fn every_embedded_recipe_is_good_and_survives_its_table() {
    for (name, text) in EMBEDDED {
        let recipe = Recipe::load(name, &[]).unwrap();
        let table = recipe.to_table();
        assert_eq!(table.clone().try_into::<Recipe>().unwrap(), recipe, "{name}");
        let mut own = toml::from_str::<Table>(text).unwrap();
        if own.remove("base").is_some() {
            // What a recipe says is what it has, though a table leaves usual values out.
            let mut merged = table.clone();
            merge(&mut merged, own);
            assert_eq!(merged.try_into::<Recipe>().unwrap(), recipe, "{name}");
        } else {
            assert_eq!(own, table, "{name}");
        }
        for line in text.lines().filter(|line| line.contains(" = ")) {
            assert!(line.contains('#'), "{name}: no comment: {line}");
        }
    }
}

#[test]
fn own_files_and_their_errors() {
    let nano = EMBEDDED[0].1;
    assert_eq!(load(nano).unwrap(), Recipe::load("nano", &[]).unwrap());
    for (text, part) in [
        (nano.replace("epochs = 14.0", "epochs = true"), "line 14: "),
        (nano.replace("beta1 = ", "beta9 = "), "beta9"),
        (nano.replace("name = \"nano\"", "name = nano"), "mine.toml, line 5"),
        (nano.replace("radius = 5", "radius = 0"), "affinity.radius is 0"),
    ] {
        let error = format!("{:#}", load(&text).unwrap_err());
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    let error = Recipe::load("nanoo", &[]).unwrap_err().to_string();
    for (name, _) in EMBEDDED {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_file_may_hold_only_what_differs_from_another_recipe() {
    let mine = load("base = \"affinitynet-nano\"\n[classify]\nbatch = 3\n").unwrap();
    let mut expected = Recipe::load("nano", &[]).unwrap();
    expected.classify.batch = 3;
    assert_eq!(mine, expected);
    let sgd = "base = \"nano\"\n[segment.optimizer]\nname = \"sgd\"\nlr = 0.1\nmomentum = 0.9\n\
            weight_decay = 0.0\npower = 0.9\nbias_lr_factor = 1.0\nfresh_lr_factor = 1.0\n";
    let optimizer = load(sgd).unwrap().segment.optimizer;
    assert!(matches!(optimizer, Optimizer::Sgd { momentum, .. } if momentum == 0.9));
    for (text, part) in [
        ("base = 1\n", "base is 1"),
        ("base = \"nanoo\"\n", "mine.toml, base: there is no recipe"),
        ("base = \"nano\"\n[clasify]\n", "clasify"),
        ("base = \"nano\"\n[cam]\nbatch = 0\n", "cam.batch is 0"),
    ] {
        let error = format!("{:#}", load(text).unwrap_err());
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_networks_weights_decide_what_it_sees() {
    let load = |name: &str, set: &[&str]| {
        let set: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        Recipe::load(name, &set).unwrap()
    };
    for (name, _) in EMBEDDED {
        assert_eq!(load(name, &[]).foreign_input(), None, "{name}");
    }
    let rgb = load("resnet38", &[]).network_input("resnet38").unwrap().scaling;
    assert!(!rgb.bgr && rgb.mean == [0.485, 0.456, 0.406]);
    // Caffe's channels come with the network, whichever recipe it is put into.
    for recipe in [load("vgg16", &[]), load("resnet38", &["backbone.name=vgg16"])] {
        let bgr = recipe.network_input(&recipe.backbone.name).unwrap().scaling;
        let seen = bgr.apply([1.0, 0.0, 0.0]);
        for (value, expected) in seen.into_iter().zip([-104.008, -116.669, 132.325]) {
            assert!((value - expected).abs() < 1e-2, "{seen:?}");
        }
    }
    for name in crate::models::backbones::NAMES {
        let set = format!("backbone.name={name}");
        assert_eq!(load("nano", &[&set]).foreign_input(), None, "{name}");
        load("nano", &[&set]).network_input(name).unwrap();
    }
    let foreign = load("vgg16", &["input.order=rgb", "input.mean=[122.7, 116.7, 104.0]"]);
    let line = foreign.foreign_input().unwrap();
    assert!(
        line.contains("weights of vgg16") && line.contains("bgr") && !line.contains('\n'),
        "{line}"
    );
    let back = foreign
        .with(&["input.order=none".into(), "input.mean=none".into()])
        .unwrap();
    assert_eq!(back, load("vgg16", &[]));
}
