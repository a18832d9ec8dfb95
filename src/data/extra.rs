//! Training images of another data set that join those of the target (MCIS Sec. 3.2).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Data;
use super::split::{Item, Pixels};

/// What extra images are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraKind {
    /// Simple images with one tag each; those with more are left out.
    Single,
    /// Images with whatever tags a search gave them.
    Web,
}

impl Data {
    /// Adds the training images of `extra` behind the own ones, under names of their own. Their tags are matched by the
    /// names of the classes; tags that are unknown here are dropped, and images that are left without one, or have
    /// several where `kind` allows one, are left out, counted and warned of. Their masks are never looked at.
    ///
    /// With `noise` above 0, that share of the images gets a wrong tag in place of its own, as `seed` says.
    ///
    /// # Errors
    /// Where no image is left.
    pub fn join(&mut self, extra: &Data, kind: ExtraKind, noise: f32, seed: u64) -> Result<()> {
        let known: Vec<Option<usize>> = extra
            .classes
            .iter()
            .map(|name| self.classes.iter().position(|c| c == name))
            .collect();
        let mut prefix = "extra_".to_owned();
        while self.train.items.iter().any(|i| i.name.starts_with(&prefix)) {
            prefix.push('_');
        }
        let mut unknown = BTreeSet::new();
        let (mut without, mut several) = (0, 0);
        let mut items: Vec<Item> = self.train.items.to_vec();
        let own = items.len();
        for (number, item) in extra.train.items.iter().enumerate() {
            let mut tags: Vec<usize> = Vec::new();
            for tag in &item.tags {
                match known.get(*tag).copied().flatten() {
                    Some(class) => tags.push(class),
                    None => {
                        unknown.extend(extra.classes.get(*tag).map(String::as_str));
                    }
                }
            }
            if kind == ExtraKind::Single && item.tags.len() > 1 {
                several += 1;
                continue;
            }
            if tags.is_empty() {
                without += 1;
                continue;
            }
            tags.sort_unstable();
            wrong(&mut tags, self.classes.len(), noise, seed, number);
            items.push(Item {
                name: format!("{prefix}{}", item.name),
                tags,
                pixels: Pixels::Extra(Box::new(item.pixels.clone())),
            });
        }
        let total = extra.train.len();
        let names: Vec<&str> = unknown.into_iter().collect();
        ensure!(
            items.len() > own,
            "none of the {total} extra images can be used ({without} have no tag that the data set knows, {several} have several): its classes are {}",
            self.classes.join(", ")
        );
        if without + several > 0 {
            log::warn!(
                "{} of {total} extra images left out: {without} have no tag that the data set knows, {several} have several",
                without + several
            );
        }
        if !names.is_empty() {
            log::warn!(
                "tags of extra images that the data set does not know, dropped: {}",
                names.join(", ")
            );
        }
        log::info!("{} extra images join {own}", items.len() - own);
        self.skipped += without + several;
        self.train = self.train.with(items);
        Ok(())
    }
}

/// Replaces one of the tags of a share `noise` of the images by a class that the image is not tagged with.
fn wrong(tags: &mut [usize], classes: usize, noise: f32, seed: u64, number: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number as u64);
    if rng.random::<f32>() >= noise {
        return;
    }
    let others: Vec<usize> = (0..classes).filter(|c| !tags.contains(c)).collect();
    if others.is_empty() || tags.is_empty() {
        return;
    }
    let place = rng.random_range(0..tags.len());
    tags[place] = others[rng.random_range(0..others.len())];
    tags.sort_unstable();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use image::{GrayImage, RgbImage};

    use super::*;
    use crate::data::{Kind, Split};

    fn data(classes: &[&str], tags: &[&[usize]]) -> Data {
        let item = |(i, tags): (usize, &&[usize])| Item {
            name: format!("{i}"),
            tags: tags.to_vec(),
            pixels: Pixels::Memory {
                image: Arc::new(RgbImage::new(2, 2)),
                mask: Arc::new(GrayImage::new(2, 2)),
                source: format!("picture {i}"),
            },
        };
        Data {
            kind: Kind::Shapes,
            classes: classes.iter().map(|c| c.to_string()).collect(),
            train: Split::new(tags.iter().enumerate().map(item).collect(), classes.len()),
            val: Split::new(Vec::new(), classes.len()),
            val_is_train: false,
            skipped: 0,
            seen: Default::default(),
        }
    }

    #[test]
    fn extra_images_join_by_the_names_of_their_classes() {
        let extra = data(&["cow", "dog", "cat"], &[&[1], &[0], &[1, 2], &[0, 2]]);
        let mut all = data(&["cat", "dog"], &[&[0], &[1]]);
        all.join(&extra, ExtraKind::Web, 0.0, 0).unwrap();
        let tags: Vec<&[usize]> = all.train.indices().map(|i| all.train.tags(i)).collect();
        assert_eq!(tags, [&[0][..], &[1], &[1], &[0, 1], &[0]]);
        assert_eq!(all.skipped, 1);
        let is_extra: Vec<bool> = all.train.indices().map(|i| all.train.is_extra(i)).collect();
        assert_eq!(is_extra, [false, false, true, true, true]);
        assert!(all.train.has_mask(0) && !all.train.has_mask(2));
        assert!(all.train.mask(3).unwrap().is_none());
        assert_eq!(all.train.name(4), "extra_3");
        assert_eq!(all.train.source(4), "picture 3");

        let mut all = data(&["cat", "dog"], &[&[0], &[1]]);
        all.join(&extra, ExtraKind::Single, 0.0, 0).unwrap();
        assert_eq!((all.train.len(), all.skipped), (3, 3));
        let mut none = data(&["horse"], &[&[0]]);
        let error = none.join(&extra, ExtraKind::Web, 0.0, 0).unwrap_err();
        assert!(error.to_string().contains("none of the 4 extra images"), "{error}");
    }

    #[test]
    fn noise_gives_wrong_tags_to_its_share() {
        let tags: Vec<&[usize]> = vec![&[0]; 1000];
        let extra = data(&["a", "b", "c"], &tags);
        let mut all = data(&["a", "b", "c"], &[&[0]]);
        all.join(&extra, ExtraKind::Web, 0.2, 9).unwrap();
        let wrong = all.train.indices().filter(|i| all.train.tags(*i) != [0]);
        let wrong = wrong.count();
        assert!((150..250).contains(&wrong), "{wrong}");
    }
}
