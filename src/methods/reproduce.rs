//! `docs/reproduce.md` against the recipes, the methods and the papers' tables.

use std::path::Path;

use toml::{Table, Value};

use super::{Method, named};
use crate::models::Network;
use crate::pipeline::{Purpose, Task, last_network};
use crate::recipe::Recipe;

/// The recipes of the papers, and their files.
const RECIPES: [(&str, &str); 13] = [
    ("resnet38", "affinitynet-resnet38"),
    ("vgg16", "affinitynet-vgg16"),
    ("rrm-resnet38", "rrm-resnet38"),
    ("rrm-largefov-vgg16", "rrm-largefov-vgg16"),
    ("rrm-deeplabv2-vgg16", "rrm-deeplabv2-vgg16"),
    ("rrm-deeplabv2-resnet101", "rrm-deeplabv2-resnet101"),
    ("aalr-resnet38", "aalr-resnet38"),
    ("cian-resnet50", "cian-resnet50"),
    ("cian-resnet101", "cian-resnet101"),
    ("mcis-vgg16", "mcis-vgg16"),
    ("mcis-resnet101", "mcis-resnet101"),
    ("mcis-largefov-vgg16", "mcis-largefov-vgg16"),
    ("mcis-lid-resnet38", "mcis-lid-resnet38"),
];

/// The papers' own rows of their tables of results: on VOC 2012, last the LID challenge; and the network that the figure
/// is of, which predicts.
const RESULTS: [(&str, &str); 16] = [
    ("48.0, 58.1 and 59.7 train", "resnet38/1+segmentation/20"),
    ("61.7 val", "resnet38/1+segmentation/20"),
    ("58.4 val", "vgg16/1+segmentation/20"),
    ("62.6 val", "resnet38/1+joint/20"),
    ("60.7 val", "vgg16/1+segmentation/20"),
    ("66.3 val", "resnet101/1+deeplab-v2-msc/20"),
    ("63.9 val", "resnet38/1+joint/20"),
    ("62.4 val", "preact_resnet50/1+cross-affinity/20"),
    ("64.3 val", "preact_resnet101/1+cross-affinity/20"),
    ("63.5 val", "vgg16/1+segmentation/20"),
    ("66.2 val", "resnet101/1+deeplab-largefov/20"),
    ("64.6 val", "vgg16/1+segmentation/20"),
    ("67.1 val", "resnet101/1+deeplab-largefov/20"),
    ("65.0 val", "vgg16/1+segmentation/20"),
    ("67.7 val", "resnet101/1+deeplab-largefov/20"),
    ("46.2 val", "resnet101/1+deeplab-v3/20"),
];

/// The papers' tables of ablation: method, table, and the figures of its rows in any order.
const ABLATIONS: [(&str, &str, &[f64]); 13] = [
    ("rrm", "1", &[42.8, 62.3, 62.6, 62.6, 60.9, 59.4, 58.2]),
    ("rrm", "2", &[46.1, 55.7, 48.5, 62.6]),
    ("aalr", "1", &[60.0, 63.2, 63.9, 65.8]),
    ("aalr", "2", &[61.6, 62.3, 61.9, 62.0, 63.2, 62.4]),
    ("aalr", "3", &[62.5, 62.7, 63.2]),
    ("aalr", "4", &[63.5, 63.6, 63.7, 63.9, 63.4]),
    ("cian", "2", &[58.3, 59.1, 62.5, 64.3]),
    ("cian", "3", &[59.1, 62.5, 58.5, 59.7]),
    ("cian", "4", &[58.3, 62.5, 61.4, 65.8, 62.2, 67.3]),
    ("mcis", "1", &[66.2, 67.1, 67.7]),
    ("mcis", "2", &[61.7, 64.7, 66.2, 66.2]),
    ("mcis", "4", &[61.7, 65.5, 66.2]),
    ("mcis", "5", &[64.7, 65.9, 66.0, 66.2, 66.1, 66.0]),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The cells of the table behind `header`, without its own lines.
fn table<'a>(page: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(header));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`')).collect()
    })
    .collect()
}

/// Key, value and comment of every line of a recipe's own file.
fn lines(file: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in read(&format!("assets/recipes/{file}.toml")).lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            name.clone_into(&mut section);
        } else if !line.starts_with('#')
            && let Some((value, comment)) = line.split_once(" # ")
            && let Some((key, value)) = value.split_once(" = ")
        {
            lines.push((format!("{section}.{key}"), value.into(), comment.into()));
        }
    }
    lines
}

/// Whose value a comment says that this is, and the other source that it names.
fn source(comment: &str) -> (&'static str, Option<&str>) {
    let other = ["; paper", "; released"]
        .iter()
        .filter_map(|mark| comment.find(mark))
        .min();
    let first = &comment[..other.unwrap_or(comment.len())];
    let of = if first.starts_with("ours") {
        "ours"
    } else if first.starts_with("author") {
        "author"
    } else if first.contains("released") {
        "released"
    } else {
        "paper"
    };
    (of, other.map(|at| &comment[at + 2..]))
}

/// What the table contradicts or lacks in a recipe's lines, one line each.
fn contradictions(name: &str, lines: &[(String, String, String)], rows: &[Vec<&str>]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value, comment) in lines {
        let row = rows.iter().find(|row| row[0] == name && row[1] == key);
        let claim = source(comment);
        match (row, claim.1) {
            (Some(row), Some(other)) if row[2] == value && row[3] == claim.0 && row[4] == other => {}
            (None, None) => {}
            _ => found.push(format!("{name} {key} = {value} # {comment}: {row:?}")),
        }
    }
    for row in rows.iter().filter(|row| row[0] == name) {
        if !lines.iter().any(|(key, ..)| key == row[1]) {
            found.push(format!("{row:?}: no such line"));
        }
    }
    found
}

#[test]
fn no_line_of_a_recipe_contradicts_the_table_of_differences() {
    let page = read("docs/reproduce.md");
    let rows = table(&page, "| recipe | key |");
    assert!(rows.len() > 10 && rows.iter().all(|row| row.len() == 5));
    for (name, file) in RECIPES {
        let lines = lines(file);
        assert!(lines.len() > 2, "{name}");
        assert_eq!(contradictions(name, &lines, &rows), [""; 0], "{name}");
        for (key, _, comment) in &lines {
            let known = ["paper", "released", "author", "ours", "RRM", "AALR", "CIAN", "MCIS"];
            let is_about_shapes = key.starts_with("shapes.") || key.starts_with("input.");
            assert!(
                is_about_shapes || known.iter().any(|k| comment.contains(k)),
                "{name} {key}: no source in {comment:?}"
            );
        }
    }
    for row in &rows {
        assert!(RECIPES.iter().any(|(name, _)| *name == row[0]), "{row:?}");
        let table = Recipe::load(row[0], &[]).unwrap().to_table();
        let mut value = Value::Table(table);
        for key in row[1].split('.') {
            value = value.get(key).cloned().unwrap();
        }
        let said = format!("v = {}", row[2]).parse::<Table>().unwrap();
        assert_eq!(value, said["v"], "{row:?}");
    }
}

#[test]
fn a_false_claim_is_found() {
    let line = |value: &str, comment: &str| ("a.lr".to_owned(), value.to_owned(), comment.to_owned());
    let rows = [vec!["r", "a.lr", "0.01", "released", "paper: 0.001"]];
    let found = |line| contradictions("r", &[line], &rows).len();
    assert_eq!(found(line("0.01", "released, x.py; paper: 0.001")), 0);
    assert_eq!(found(line("0.01", "paper, 3.1; released, x.py: 0.001")), 1);
    assert_eq!(found(line("0.01", "released, x.py")), 1);
    assert_eq!(found(line("0.001", "released, x.py; paper: 0.001")), 1);
    let untold = line("0.01", "released, x.py; paper: 0.001");
    assert_eq!(contradictions("r", &[untold], &[]).len(), 1);
}

#[test]
fn every_option_of_the_released_code_changes_the_recipe() {
    let page = read("docs/reproduce.md");
    let options = table(&page, "| method | option |");
    assert_eq!(options.len(), 4);
    let usual = Recipe::load("mcis-vgg16", &[]).unwrap();
    for row in &options {
        let quoted = row[1].split('`').filter(|part| part.contains('='));
        // An option may leave out the section, which is that of the one before it.
        let whole: Vec<&str> = quoted
            .filter(|set| set.split('=').next().is_some_and(|key| key.contains('.')))
            .collect();
        assert!(!whole.is_empty(), "{row:?}");
        for set in whole {
            let changed = Recipe::load("mcis-vgg16", &[set.to_owned()]).unwrap();
            assert_ne!(changed, usual, "{set}");
        }
    }
}

/// Options of a command by name.
fn options<'a>(command: &'a str, name: &str) -> Vec<&'a str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == name);
    pairs.map(|pair| pair[1]).collect()
}

/// Loads what a command names.
fn recipe(command: &str) -> Recipe {
    let sets: Vec<String> = options(command, "--set").into_iter().map(String::from).collect();
    Recipe::load(options(command, "--recipe")[0], &sets).unwrap()
}

/// The network of a method whose predictions are scored.
fn predicting(method: &Method, recipe: &Recipe) -> Network {
    let trains = last_network(method.stages, Purpose::Masks).unwrap().trains().unwrap();
    let task = Task {
        recipe,
        classes: 20,
        has_extra: false,
    };
    recipe.network(trains.part, (trains.head)(&task)).unwrap()
}

/// Fails where a network of a method has a backbone of its own and neither the recipe nor the command has its weights.
fn has_weights(method: &Method, command: &str) {
    let recipe = recipe(command);
    for stage in method.stages {
        if let Some(trains) = stage.trains() {
            let backbone = recipe.backbone(trains.part);
            let is_first = backbone.name == recipe.backbone.name;
            assert!(
                is_first || backbone.weights.is_some(),
                "{command}: no weights of {}",
                backbone.name
            );
        }
    }
}

#[test]
fn every_row_of_the_papers_tables_has_a_command() {
    let page = read("docs/reproduce.md");
    assert!(!page.contains("is not in the program"));
    let runs = table(&page, "| number to reach |");
    let command = |row: &[&str]| -> String { row[2].split('`').nth(1).unwrap_or_default().to_owned() };
    for row in &runs {
        let command = command(row);
        let method = named(options(&command, "--method")[0]).unwrap();
        has_weights(method, &command);
    }
    for (figure, architecture) in RESULTS {
        let row = runs.iter().find(|row| row[0].starts_with(figure));
        let command = command(row.unwrap_or_else(|| panic!("{figure}: no command")));
        let method = named(options(&command, "--method")[0]).unwrap();
        assert_eq!(
            predicting(method, &recipe(&command)).architecture(),
            architecture,
            "{figure}"
        );
    }
    for (name, _) in RECIPES {
        let uses = |row: &Vec<&str>| options(&command(row), "--recipe").contains(&name);
        let is_used = runs.iter().any(uses) || page.contains(&format!("`--recipe {name} "));
        // The classifier of MCIS is shared by its recipes.
        assert!(is_used || name == "mcis-vgg16", "{name}: no command");
    }
    let commands = table(&page, "| tables | command |");
    for row in &commands {
        let method = row[1].split_whitespace().nth(2).unwrap();
        has_weights(named(method).unwrap(), row[1]);
    }
    for (method, name, figures) in ABLATIONS {
        let asked = commands.iter().any(|row| {
            let tables = options(row[1], "--rows");
            row[1].starts_with(&format!("weakseg ablate {method} "))
                && tables.iter().any(|tables| tables.split(',').any(|t| t == name))
        });
        assert!(asked, "{method}, Table {name}");
        let ablation: Table = read(&format!("assets/ablations/{method}.toml")).parse().unwrap();
        let mut left = figures.to_vec();
        for row in ablation["row"].as_array().unwrap() {
            let is_of_table = row["table"].as_str().unwrap().split(',').any(|t| t == name);
            let paper = row.get("paper").and_then(Value::as_float);
            if let Some(at) = left.iter().position(|f| is_of_table && Some(*f) == paper) {
                left.remove(at);
            }
        }
        assert!(left.is_empty(), "{method}, Table {name}: no row for {left:?}");
    }
}
