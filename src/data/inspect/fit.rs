//! Whether the values of masks can be those of the classes: by what images are tagged with.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::data::{Data, MaskValue};

/// A tagged image, and the classes in its mask.
pub(super) struct Tagged {
    tags: BTreeSet<usize>,
    classes: BTreeSet<usize>,
}

impl Tagged {
    /// Whether the mask holds no class that the image is not tagged with.
    pub(super) fn fits(&self) -> bool {
        self.classes.is_subset(&self.tags)
    }
}

/// The tagged images in whose masks a class occurs.
pub(super) fn tagged(data: &Data) -> Vec<Tagged> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for split in [&data.train, &data.val] {
        for i in split.indices() {
            let Some((image, Some(_))) = split.files(i) else {
                continue;
            };
            let Some(values) = data.seen.values.get(image) else {
                continue;
            };
            let classes: BTreeSet<usize> = values
                .iter()
                .filter_map(|&value| MaskValue::from(value).class())
                .collect();
            let tags: BTreeSet<usize> = split.tags(i).iter().copied().collect();
            if !classes.is_empty() && !tags.is_empty() && seen.insert(image.to_owned()) {
                found.push(Tagged { tags, classes });
            }
        }
    }
    found
}

/// As [`Data::check_masks`].
pub(super) fn check(data: &Data) -> Result<()> {
    ignored_alone(data)?;
    contradicted(data)
}

/// Masks that hold 0 and 255 alone: 255 is what nobody knows, not a class.
fn ignored_alone(data: &Data) -> Result<()> {
    if data.train.map.as_ref().is_some_and(|map| map.ignores()) {
        return Ok(());
    }
    let values: BTreeSet<u8> = data.seen.values.values().flatten().copied().collect();
    let is_class = |value: &u8| MaskValue::from(*value).class().is_some();
    if values.iter().any(is_class) || !values.contains(&MaskValue::IGNORED.get()) {
        return Ok(());
    }
    let Some(first) = data.seen.values.keys().next() else {
        return Ok(());
    };
    let place = first.display();
    match data.classes.as_slice() {
        [class] => bail!(
            "the masks hold 0 and 255 alone, as that of {place}, and 255 is ignored: where it stands for {class:?}, which should be 1, say so with --mask-values 255={class}; where nobody knows it, with --mask-values 255=ignore"
        ),
        classes => {
            let values: Vec<String> = (1..).zip(classes).map(|(v, c)| format!("{v} = {c}")).collect();
            let first = classes.first().map_or("CLASS", String::as_str);
            bail!(
                "the masks hold 0 and 255 alone, as that of {place}, and 255 is ignored: a mask needs the values of its classes ({}); where 255 stands for one class everywhere, say so as in --mask-values 255={first}, and where it is meant, --mask-values 255=ignore",
                values.join(", ")
            )
        }
    }
}

/// Masks whose classes are not those that most images are tagged with.
fn contradicted(data: &Data) -> Result<()> {
    let images = tagged(data);
    let disjoint = images
        .iter()
        .filter(|image| image.classes.is_disjoint(&image.tags))
        .count();
    let wrong = images.iter().filter(|image| !image.fits()).count();
    let mostly = |count: usize| 2 * count > images.len();
    one_value(data, &images, disjoint)?;
    // Images whose classes are not among their tags do not fit either.
    if !mostly(wrong) {
        return Ok(());
    }
    let order = likely_order(&images, data.classes.len());
    let fitting = |order: &[usize]| {
        let meant = |image: &&Tagged| image.classes.iter().all(|v| image.tags.contains(&order[*v]));
        images.iter().filter(meant).count()
    };
    let better = fitting(&order);
    // Tags that name the main object alone miss classes of the masks too, but no other order mends that.
    let is_order = 10 * better >= 9 * images.len();
    if !mostly(disjoint) && !is_order {
        return Ok(());
    }
    // One image may have the wrong tag, or the wrong mask.
    if let [_] = images.as_slice() {
        log::warn!(
            "the only mask of a tagged image holds a class that the image is not tagged with: see that 1 is {}, and so on",
            data.classes.first().map_or("the first class", String::as_str)
        );
        return Ok(());
    }
    let names = |order: &[usize]| -> Vec<String> {
        let name = |class: &usize| data.classes.get(*class).cloned().unwrap_or_default();
        order.iter().map(name).collect()
    };
    let listed: Vec<String> = (1..)
        .zip(names(&order))
        .map(|(value, class)| format!("{value} = {class}"))
        .collect();
    let own: Vec<String> = (1..)
        .zip(&data.classes)
        .map(|(value, class)| format!("{value} = {class}"))
        .collect();
    let remedy = match better > images.len() - wrong {
        _ if count_from_zero(data, &images) => {
            "they seem to count the classes from 0: 0 is the background, so that the first class is 1".to_owned()
        }
        true => format!(
            "the order {} would fit {better} of them: write classes.txt with a name a line in that order",
            listed.join(", ")
        ),
        false => "no other order fits them better: mend the masks or the tags".to_owned(),
    };
    bail!(
        "the classes in the masks contradict the tags of {wrong} of {} images, with the values {}; {remedy}",
        images.len(),
        own.join(", ")
    )
}

/// Masks that hold one value for whatever class their image is tagged with: those of a foreground.
fn one_value(data: &Data, images: &[Tagged], disjoint: usize) -> Result<()> {
    let held: BTreeSet<usize> = images.iter().flat_map(|image| &image.classes).copied().collect();
    let [class] = held.iter().copied().collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    let tagged: BTreeSet<usize> = images.iter().flat_map(|image| &image.tags).copied().collect();
    if tagged.len() < 2 || disjoint < 2 {
        return Ok(());
    }
    let told = format!(
        "the masks hold the value {} alone, which is {:?}, also those of {disjoint} images without that tag: they seem to be of the foreground, whatever its class; a mask needs the values of its classes",
        class + 1,
        data.classes.get(class).map_or("", String::as_str),
    );
    match data.train.map {
        // Somebody has said what it means.
        Some(_) => log::warn!("{told}"),
        None => bail!("{told}, or move the masks away"),
    }
    Ok(())
}

/// Whether the masks' values count from 0: all tagged images of the first class have nothing in theirs, and every value
/// is one less than that of its class.
fn count_from_zero(data: &Data, images: &[Tagged]) -> bool {
    let shifted = |image: &Tagged| image.classes.iter().all(|class| image.tags.contains(&(class + 1)));
    let mut seen = BTreeSet::new();
    let mut blank = 0;
    for split in [&data.train, &data.val] {
        for i in split.indices() {
            let Some((image, Some(_))) = split.files(i) else {
                continue;
            };
            let values = data.seen.values.get(image);
            let is_blank = values.is_some_and(|v| v.iter().all(|v| MaskValue::from(*v).class().is_none()));
            if is_blank && !split.tags(i).is_empty() && seen.insert(image.to_owned()) {
                if !split.tags(i).contains(&0) {
                    return false;
                }
                blank += 1;
            }
        }
    }
    blank > 0 && images.iter().all(shifted)
}

/// The class that each value's images are tagged with most: for every value the class whose tag agrees with it in most
/// images, each class once, the surest first.
fn likely_order(images: &[Tagged], classes: usize) -> Vec<usize> {
    // Images with a value, with a tag, and with both.
    let (mut values, mut tags) = (vec![0; classes], vec![0; classes]);
    let mut both = vec![vec![0; classes]; classes];
    for image in images {
        image.tags.iter().for_each(|&class| tags[class] += 1);
        for &value in &image.classes {
            values[value] += 1;
            image.tags.iter().for_each(|&class| both[value][class] += 1);
        }
    }
    let mut agreement = Vec::new();
    for value in 0..classes {
        let occurs = values[value] > 0;
        for class in 0..classes {
            // Those with both and those with neither.
            let count: usize = images.len() + 2 * both[value][class] - values[value] - tags[class];
            // Values that do not occur take what the others leave, their own class if that is free.
            agreement.push((!occurs, usize::MAX - count, value != class, value, class));
        }
    }
    agreement.sort_unstable();
    let mut order = vec![None; classes];
    let mut taken = vec![false; classes];
    for (.., value, class) in agreement {
        if order[value].is_none() && !taken[class] {
            order[value] = Some(class);
            taken[class] = true;
        }
    }
    let order = order.into_iter().enumerate();
    order.map(|(value, class)| class.unwrap_or(value)).collect()
}
