//! The examples run, and show what they are meant to show.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/cross_attention.rs"]
mod cross_attention;
#[path = "../examples/dense_crf.rs"]
mod dense_crf;
#[path = "../examples/load_checkpoint.rs"]
mod load_checkpoint;
#[path = "../examples/random_walk.rs"]
mod random_walk;

#[test]
fn the_crf_puts_most_mistakes_right() {
    dense_crf::main().unwrap();
    let [before, after] = dense_crf::before_and_after().unwrap();
    assert!(before > 1000, "{before} mistakes to begin with");
    assert!(after * 20 < before, "{before} before, {after} after");
}

#[test]
fn the_walk_fills_each_region_from_its_seed() {
    random_walk::main().unwrap();
    let [seeds, spread] = random_walk::walk().unwrap();
    assert_eq!(random_walk::right(&seeds), 18);
    assert_eq!(random_walk::right(&spread), spread.len());
}

#[test]
fn attention_is_the_plain_formulation() {
    cross_attention::main().unwrap();
    let [value, gradient] = cross_attention::differences().unwrap();
    assert!(value < 1e-5, "{value}");
    assert!(gradient < 1e-5, "{gradient}");
}

#[test]
fn a_checkpoint_of_other_classes_gives_all_but_the_classifier() {
    load_checkpoint::main().unwrap();
    let (plan, [trained, loaded]) = load_checkpoint::exchange().unwrap();
    assert!(plan.surprises().is_empty(), "{:?}", plan.surprises());
    let skipped: Vec<&str> = plan.skipped.iter().map(|e| e.key.as_str()).collect();
    assert_eq!(skipped, ["fc8.weight"]);
    assert_eq!(plan.loaded.len() + 1, loaded.0.len());
    for entry in &plan.loaded {
        let [a, b] = [&trained, &loaded].map(|p| p.0[&entry.name].value.to_vec().unwrap());
        assert_eq!(a, b, "{}", entry.name);
    }
}
