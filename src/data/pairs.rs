//! Which images learn from each other: groups of related images, drawn from an index of the images by class.

use std::ops::Range;

use anyhow::{Result, ensure};
use rand::seq::index::sample;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Keeps the draws independent of the augmentation under one seed.
const PAIRS_KEY: u64 = 0x7061_6972_7300_0001;

/// What makes images partners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// A class that they share.
    #[default]
    Common,
    /// Nothing: any two images (CIAN Table 3).
    Random,
}

/// Which image comes first in a group, and how often an image does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Draw {
    /// First a class, every class alike, then one of its images and its partners, every image alike. So a rare class is
    /// seen as often as a frequent one.
    #[default]
    Balanced,
    /// Epochs of as many groups as images with a tag: each is the first of one, and its partners are drawn from one of
    /// its classes (MCIS, released `LoadData.py`).
    First,
    /// Epochs in which an image is in one group: its partners are the next images of a shuffled list that share a class
    /// with each of the group (CIAN, released `voc_seg_group_loader.py`). Images that nobody is left for are the first
    /// of the last groups, with partners that are seen twice; those that the epoch has no room for wait for the next.
    Member,
}

/// An index of images by class, from which groups are drawn as its [`Draw`] says.
///
/// A draw depends on the seed and its number only. A balanced one takes the same time for any number of images; the
/// others are made an epoch at a time.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The images of every class, class after class.
    images: Vec<usize>,
    /// By image: where in `classes` its tags are.
    pub(super) tags: Vec<Vec<usize>>,
    /// Where in `images` those of a class are; classes without images are left out.
    classes: Vec<Range<usize>>,
    /// The classes with one image.
    single: Vec<usize>,
    /// Number of images, tagged or not.
    total: usize,
    pub(super) relation: Relation,
    pub(super) draw: Draw,
    pub(super) seed: u64,
}

impl Pairs {
    /// The index of images with these tags, in order; images without tags are drawn only as random partners.
    ///
    /// # Errors
    /// Where no image has a tag.
    pub fn new<'a>(tags: impl IntoIterator<Item = &'a [usize]>, relation: Relation, seed: u64) -> Result<Pairs> {
        let mut by_class: Vec<Vec<usize>> = Vec::new();
        let mut total = 0;
        for tags in tags {
            for &tag in tags {
                if by_class.len() <= tag {
                    by_class.resize(tag + 1, Vec::new());
                }
                by_class[tag].push(total);
            }
            total += 1;
        }
        let (mut images, mut classes, mut single) = (Vec::new(), Vec::new(), Vec::new());
        let mut own = vec![Vec::new(); total];
        for (class, members) in by_class.into_iter().enumerate() {
            if members.len() == 1 {
                single.push(class);
            }
            if !members.is_empty() {
                for &image in &members {
                    own[image].push(classes.len());
                }
                classes.push(images.len()..images.len() + members.len());
                images.extend(members);
            }
        }
        ensure!(
            !classes.is_empty(),
            "none of the {total} images has a tag, so there are no pairs: tag them"
        );
        Ok(Pairs {
            images,
            tags: own,
            classes,
            single,
            total,
            relation,
            draw: Draw::Balanced,
            seed: seed ^ PAIRS_KEY,
        })
    }

    /// The same index, drawn from in this way.
    pub fn drawn(self, draw: Draw) -> Pairs {
        Pairs { draw, ..self }
    }

    /// The classes with a single image, which is its own partner where they are drawn.
    pub fn single(&self) -> &[usize] {
        &self.single
    }

    /// Balanced group number `number` of `size` images, the query first: each another one as long as there are enough,
    /// then the same again.
    pub(super) fn balanced(&self, number: u64, size: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let members = self.of_class(rng.random_range(0..self.classes.len()));
        match self.relation {
            Relation::Common => fill(drawn(&mut rng, members, size), size),
            Relation::Random => {
                let query = members[rng.random_range(0..members.len())];
                self.with_strangers(&mut rng, query, size)
            }
        }
    }

    /// A group of `size` with `query` first and partners from one of its classes, or, where partners are random, any.
    pub(super) fn with_partners(&self, rng: &mut impl Rng, query: usize, size: usize) -> Vec<usize> {
        let own = &self.tags[query];
        if self.relation == Relation::Random || own.is_empty() {
            return self.with_strangers(rng, query, size);
        }
        let members = self.of_class(own[rng.random_range(0..own.len())]);
        let place = members.partition_point(|image| *image < query);
        let others = sample(rng, members.len() - 1, size.saturating_sub(1).min(members.len() - 1));
        let skip = |i: usize| members[i + usize::from(i >= place)];
        fill(std::iter::once(query).chain(others.into_iter().map(skip)), size)
    }

    fn with_strangers(&self, rng: &mut impl Rng, query: usize, size: usize) -> Vec<usize> {
        let others = self.total - 1;
        let partners = sample(rng, others, size.saturating_sub(1).min(others));
        let skip = |i: usize| i + usize::from(i >= query);
        fill(std::iter::once(query).chain(partners.into_iter().map(skip)), size)
    }

    /// The images of a class, ascending.
    fn of_class(&self, class: usize) -> &[usize] {
        &self.images[self.classes[class].clone()]
    }
}

/// `size` of `members`, or all of them, in any order.
fn drawn(rng: &mut impl Rng, members: &[usize], size: usize) -> impl Iterator<Item = usize> {
    let drawn = sample(rng, members.len(), size.min(members.len()));
    drawn.into_iter().map(|i| members[i])
}

/// The images again and again until there are `size`.
fn fill(images: impl Iterator<Item = usize>, size: usize) -> Vec<usize> {
    let images: Vec<usize> = images.collect();
    images.into_iter().cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pairs(tags: &[Vec<usize>], relation: Relation) -> Pairs {
        Pairs::new(tags.iter().map(Vec::as_slice), relation, 3).unwrap()
    }

    #[test]
    fn a_rare_class_is_drawn_as_often_as_a_frequent_one() {
        let mut tags = vec![vec![0]; 100_000];
        tags[7] = vec![1];
        tags[70_000] = vec![1];
        let pairs = pairs(&tags, Relation::Common);
        let rare = (0..4000).filter(|n| [7, 70_000].contains(&pairs.balanced(*n, 2)[0]));
        let rare = rare.count();
        assert!((1800..2200).contains(&rare), "{rare} of 4000");
        assert!(pairs.single().is_empty());
    }

    #[test]
    fn a_single_image_is_its_own_partner_and_counted() {
        let pairs = pairs(&[vec![0], vec![2], vec![], vec![0]], Relation::Common);
        assert_eq!(pairs.single(), [2]);
        let drawn: BTreeSet<Vec<usize>> = (0..200).map(|n| pairs.balanced(n, 3)).collect();
        let expected = [vec![0, 3, 0], vec![1, 1, 1], vec![3, 0, 3]];
        assert_eq!(drawn, expected.into());
        let untagged: [&[usize]; 2] = [&[], &[]];
        let error = Pairs::new(untagged, Relation::Common, 0).unwrap_err();
        assert!(error.to_string().contains("none of the 2 images has a tag"));
    }

    #[test]
    fn random_partners_are_any_other_image() {
        let pairs = pairs(&[vec![0], vec![], vec![1]], Relation::Random);
        let drawn: BTreeSet<Vec<usize>> = (0..200).map(|n| pairs.balanced(n, 2)).collect();
        let expected = [[0, 1], [0, 2], [2, 0], [2, 1]].map(Vec::from);
        assert_eq!(drawn, expected.into());
    }

    proptest! {
        #[test]
        fn members_are_related_and_differ_while_they_can(
            tags in prop::collection::vec(prop::collection::btree_set(0..5usize, 0..4), 1..20),
            number: u64,
            size in 1..5usize,
        ) {
            let tags: Vec<Vec<usize>> = tags.into_iter().map(|t| t.into_iter().collect()).collect();
            prop_assume!(tags.iter().any(|t| !t.is_empty()));
            for relation in [Relation::Common, Relation::Random] {
                let pairs = pairs(&tags, relation);
                let group = pairs.balanced(number, size);
                prop_assert_eq!(group.len(), size);
                prop_assert_eq!(&group, &pairs.balanced(number, size));
                let different: BTreeSet<usize> = group.iter().copied().collect();
                let class = match relation {
                    // The class that was drawn is one of those that all members share.
                    Relation::Common => tags[group[0]].iter().copied().find(|class| {
                        let images = tags.iter().filter(|t| t.contains(class)).count();
                        group.iter().all(|i| tags[*i].contains(class))
                            && different.len() == size.min(images)
                    }),
                    Relation::Random => {
                        prop_assert_eq!(different.len(), size.min(tags.len()));
                        tags[group[0]].first().copied()
                    }
                };
                prop_assert!(class.is_some(), "{:?} of {:?}", group, tags);
            }
        }
    }
}
