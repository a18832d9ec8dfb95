//! Images with labelme's JSON files beside them, or in another folder of the data set. Folders that are called as parts
//! are parts.
//!
//! Classes are those of `classes.txt`, or the sorted labels. Where no file has a shape, the flags that are set are tags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use rayon::prelude::*;

use super::{Entry, Found, by_stem, part_of, relative, stem_in};
use crate::annotations::labelme::{self, BACKGROUND, Labelled};
use crate::annotations::path::inside;
use crate::data::truth::Truth;
use crate::data::{Skips, class_names, files};

pub(super) fn read(dir: &Path, known: Option<&[String]>, skips: &mut Skips) -> Result<Found> {
    let mut jsons = Vec::new();
    files::walk_for(dir, &mut jsons, &mut skips.left_out, &|path, _| {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
    })?;
    let of_labelme = |path: &PathBuf| labelme::is_labelled(path);
    let read = |path: PathBuf| -> Result<_> { Ok((labelme::read(&path)?, path)) };
    let labelled: Vec<(Labelled, PathBuf)> = jsons
        .into_par_iter()
        .filter(of_labelme)
        .map(read)
        .collect::<Result<_>>()?;
    let flagged = labelled.iter().all(|(labelled, _)| labelled.drawn.is_empty());
    let labels = |labelled: &Labelled| -> Vec<String> {
        match flagged {
            true => labelled.flags.clone(),
            false => labelled.labels().map(str::to_owned).collect(),
        }
    };
    let classes = match (known, files::read_classes(&dir.join("classes.txt"))?) {
        (Some(known), _) => known.to_vec(),
        (None, Some(listed)) => listed,
        (None, None) => {
            let names: BTreeSet<String> = labelled.iter().flat_map(|(labelled, _)| labels(labelled)).collect();
            let mut names: Vec<String> = names.into_iter().collect();
            class_names::sort_numbers(&mut names);
            names
        }
    };
    let shared: Arc<[String]> = classes.as_slice().into();
    let (mut images, doubles) = by_stem(dir, skips)?;
    let mut about: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut found = Found {
        classes,
        because: format!("it has {} JSON files with shapes", labelled.len()),
        rule: "shapes of the JSON files".to_owned(),
        ..Found::default()
    };
    let (mut without, mut background) = (0, 0);
    for (labelled, json) in &labelled {
        let path = image_of(dir, json, &labelled.image, &images)?;
        if let Some(other) = about.insert(path.clone(), json.clone()) {
            bail!(
                "{} and {} are both about {}; keep one of them",
                other.display(),
                json.display(),
                path.display()
            );
        }
        let mut tags = Vec::new();
        for label in labels(labelled) {
            match found.classes.iter().position(|class| *class == label) {
                Some(class) => tags.push(class),
                None => bail!(
                    "{} has the label {label:?}, which is no class; known are {}",
                    json.display(),
                    found.classes.join(", ")
                ),
            }
        }
        tags.sort_unstable();
        tags.dedup();
        let whole = labelled.is_whole();
        without += usize::from(!whole);
        background += usize::from(labelled.drawn.iter().any(|drawn| drawn.label == BACKGROUND));
        let truth = (whole && !flagged).then(|| Truth::Labelme(json.clone(), shared.clone()));
        found.images.push(Entry {
            part: part_of(&relative(dir, json)),
            path,
            tags,
            truth,
        });
    }
    // Images without a file of their own have no tags, and are told.
    images.retain(|_, path| !about.contains_key(path));
    let unnamed = doubles.into_iter().filter(|path| !about.contains_key(path));
    let untagged = images.into_values().chain(unnamed).map(|path| Entry {
        part: part_of(&relative(dir, &path)),
        path,
        tags: Vec::new(),
        truth: None,
    });
    found.images.extend(untagged);
    if without > 0 {
        found.notes.push(format!(
            "{without} images have points or lines, which give tags but no mask"
        ));
    }
    if background > 0 {
        found.notes.push(format!(
            "shapes called {BACKGROUND} are ignored in the masks, in {background} images"
        ));
    }
    Ok(found)
}

/// The image that a file is about: the one that it names, or the one beside it that is called as it is.
fn image_of(dir: &Path, json: &Path, name: &str, images: &BTreeMap<String, PathBuf>) -> Result<PathBuf> {
    let base = json.parent().map(|folder| relative(dir, folder)).unwrap_or_default();
    let named = inside(&base, name).map(|path| dir.join(path));
    if let Some(path) = named.as_ref().ok().filter(|path| path.is_file()) {
        return Ok(path.clone());
    }
    let stem = stem_in(dir, json);
    if let Some(path) = images.get(&stem) {
        return Ok(path.clone());
    }
    named.map_err(|error| {
        anyhow!(
            "{}: {error}; give the folder that holds both as the data set",
            json.display()
        )
    })
}
