//! Prefixes that training programs put before a network's own names.

use std::collections::{BTreeMap, HashSet};

/// What compiling (`torch.compile`), training on several GPUs, trainers and segmentors put before the names of what
/// they hold.
const KNOWN: [&str; 7] = [
    "_orig_mod.",
    "module.",
    "state_dict.",
    "model.",
    "net.",
    "network.",
    "backbone.",
];

/// Where averages of the weights (EMA) are kept.
const AVERAGES: [&str; 5] = ["ema_model.", "model_ema.", "ema.", "averaged.", "shadow."];

/// Most prefixes that are taken off, one after another. No program puts on more than a few, but a name that was made to
/// do harm may be millions of them.
const MAX_ROUNDS: usize = 32;

/// Takes the known prefixes off the names of `entries`, wherever this leaves all names different, and says so in
/// `notes`. Averages of weights keep their prefix where there are the weights themselves, and so do copies of a network
/// under several prefixes.
pub fn take_off<T>(mut entries: BTreeMap<String, T>, notes: &mut Vec<String>) -> BTreeMap<String, T> {
    for _ in 0..MAX_ROUNDS {
        let mut prefixes = KNOWN.into_iter().chain(AVERAGES);
        let Some(prefix) = prefixes.find(|prefix| can_go(&entries, prefix)) else {
            break;
        };
        let total = entries.len();
        let mut renamed = 0;
        entries = entries
            .into_iter()
            .map(|(name, entry)| match inner(&name, prefix) {
                Some(inner) => {
                    renamed += 1;
                    (inner.to_owned(), entry)
                }
                None => (name, entry),
            })
            .collect();
        notes.push(match renamed == total {
            true => format!("took {prefix} off the names"),
            false => format!("took {prefix} off {renamed} of {total} names"),
        });
    }
    for prefix in KNOWN.into_iter().chain(AVERAGES) {
        if can_go(&entries, prefix) {
            continue; // One too many.
        }
        let left = entries.keys().filter(|name| inner(name, prefix).is_some());
        match left.count() {
            0 => {}
            n => notes.push(format!(
                "left {n} names with {prefix} as they are: the file has the same ones without it, or with another"
            )),
        }
    }
    entries
}

/// What follows `prefix` in `name`.
fn inner<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| !rest.is_empty())
}

/// The name without any prefix that is known.
fn bare(mut name: &str) -> &str {
    while let Some(rest) = KNOWN.into_iter().find_map(|prefix| inner(name, prefix)) {
        name = rest;
    }
    name
}

/// Whether some names have `prefix`, and none of these is another's, whatever known prefixes that one has: of two copies
/// neither is the one to be taken without a word.
fn can_go<T>(entries: &BTreeMap<String, T>, prefix: &str) -> bool {
    let mut with = entries.keys().filter_map(|name| inner(name, prefix)).peekable();
    if with.peek().is_none() {
        return false;
    }
    let others = entries.keys().filter(|name| inner(name, prefix).is_none());
    let others: HashSet<&str> = others.map(|name| bare(name)).collect();
    with.all(|inner| !entries.contains_key(inner) && !others.contains(bare(inner)))
}

/// The prefixes, each with its last dot, under which `names` have all of `keys`, which are not empty. Where some are of
/// averaged weights (EMA, or the teacher of a student) and others are not, these others alone.
pub fn of_keys<'a>(names: &[&'a str], keys: &[String]) -> Vec<&'a str> {
    let Some((first, rest)) = keys.split_first() else {
        return Vec::new();
    };
    let known: HashSet<&str> = names.iter().copied().collect();
    let found: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(first.as_str()))
        .filter(|prefix| prefix.ends_with('.'))
        .filter(|prefix| {
            let mut others = rest.iter();
            others.all(|key| known.contains(format!("{prefix}{key}").as_str()))
        })
        .collect();
    let is_average = |prefix: &&str| {
        let prefix = prefix.to_ascii_lowercase();
        // As a word of its own: "semantic" has it too.
        let mut words = prefix.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word == "ema")
            || ["teacher", "momentum", "average", "shadow"]
                .iter()
                .any(|part| prefix.contains(part))
    };
    let plain: Vec<&str> = found.iter().copied().filter(|p| !is_average(p)).collect();
    match plain.is_empty() {
        true => found,
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let entries = names.iter().map(|name| (name.to_string(), ())).collect();
        let mut notes = Vec::new();
        let left = take_off(entries, &mut notes).into_keys().collect();
        (left, notes)
    }

    #[test]
    fn prefixes_go_whole_in_part_and_one_after_another() {
        let (left, notes) = after(&["module._orig_mod.model.a", "module._orig_mod.model.b"]);
        assert_eq!(left, ["a", "b"]);
        assert_eq!(notes.len(), 3);
        assert!(notes.iter().all(|note| note.ends_with("off the names")), "{notes:?}");
        let (left, notes) = after(&["module.a", "module.b", "n_averaged"]);
        assert_eq!(left, ["a", "b", "n_averaged"]);
        assert_eq!(notes, ["took module. off 2 of 3 names"]);
        assert_eq!(after(&["modules.a", "module."]).0, ["module.", "modules.a"]);
    }

    #[test]
    fn a_name_of_nothing_but_prefixes_takes_a_few_rounds() {
        let name = "module.".repeat(MAX_ROUNDS + 1) + "a";
        let (left, notes) = after(&[&name]);
        assert_eq!(left, ["module.a"]);
        assert_eq!(notes.len(), MAX_ROUNDS);
    }

    #[test]
    fn names_stay_different() {
        let (left, notes) = after(&["a", "b", "module.a"]);
        assert_eq!(left, ["a", "b", "module.a"]);
        assert!(notes[0].contains("left 1 names with module."), "{notes:?}");
        for copies in [
            ["model.a", "net.a"],
            ["backbone.a", "model.backbone.a"],
            ["model.a", "model.model.a"],
        ] {
            let (left, notes) = after(&copies);
            assert_eq!(left, copies);
            assert!(notes.iter().all(|note| note.contains("left")), "{notes:?}");
        }
    }

    #[test]
    fn averages_count_where_they_are_alone() {
        assert_eq!(after(&["ema_model.module.a", "ema_model.module.b"]).0, ["a", "b"]);
        let (left, notes) = after(&["ema.backbone.a", "backbone.a", "ema.backbone.b"]);
        assert_eq!(left, ["a", "ema.backbone.a", "ema.backbone.b"]);
        assert!(notes.iter().any(|note| note.contains("with ema.")), "{notes:?}");
    }

    #[test]
    fn any_prefix_is_found_by_the_keys_behind_it() {
        let found = |names: &[&'static str], keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
            of_keys(names, &keys)
        };
        assert_eq!(found(&["encoder.a", "encoder.b.c", "a"], &["a", "b.c"]), ["encoder."]);
        assert!(found(&["encoder.a", "xa", "b"], &["a", "b"]).is_empty());
        assert_eq!(found(&["student.a", "teacher.a"], &["a"]), ["student."]);
        assert_eq!(found(&["teacher.a"], &["a"]), ["teacher."]);
        assert_eq!(found(&["left.a", "right.a"], &["a"]), ["left.", "right."]);
        assert_eq!(found(&["net2.a", "net2_ema.a"], &["a"]), ["net2."]);
        // Not the average of anything.
        let both = ["instance_net.a", "semantic_net.a"];
        assert_eq!(found(&both, &["a"]), ["instance_net.", "semantic_net."]);
    }
}
