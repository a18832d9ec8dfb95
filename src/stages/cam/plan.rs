//! Which images each image's localization maps are made with, and in which order images are read for them.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Something to read an image for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Its features, which others attend to.
    Reference(usize),
    /// Its localization map.
    Query(usize),
}

impl Job {
    /// The image that is read.
    pub fn image(self) -> usize {
        match self {
            Job::Reference(i) | Job::Query(i) => i,
        }
    }
}

/// Which images each image's maps are made with, in an order in which a reference is not needed for long.
pub struct Plan {
    /// All images, as the seed says: neighbours in a folder are often alike.
    order: Vec<usize>,
    /// By image: its references, each with the tags that it is one for.
    pub references: Vec<BTreeMap<usize, Vec<usize>>>,
}

impl Plan {
    /// For every tag of every image, the `related` images nearest to it in the order that have the tag too; the image
    /// itself where there is no other. None for 0.
    pub fn new(tags: &[&[usize]], related: usize, seed: u64) -> Plan {
        let mut order: Vec<usize> = (0..tags.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut by_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &image in &order {
            for &tag in tags[image] {
                by_class.entry(tag).or_default().push(image);
            }
        }
        let mut references = vec![BTreeMap::<usize, Vec<usize>>::new(); tags.len()];
        for (class, images) in by_class.into_iter().filter(|_| related > 0) {
            let window = (related + 1).min(images.len());
            for (place, &image) in images.iter().enumerate() {
                let start = place.min(images.len() - window);
                let others = images[start..start + window]
                    .iter()
                    .filter(|other| **other != image || window == 1);
                for &other in others {
                    references[image].entry(other).or_default().push(class);
                }
            }
        }
        Plan { order, references }
    }

    /// What to read for the maps of the images that `is_missing`: every reference once, before its first use.
    pub fn jobs(&self, is_missing: impl Fn(usize) -> bool) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut is_read = vec![false; self.order.len()];
        for &image in self.order.iter().filter(|i| is_missing(**i)) {
            for &reference in self.references[image].keys() {
                if !std::mem::replace(&mut is_read[reference], true) {
                    jobs.push(Job::Reference(reference));
                }
            }
            jobs.push(Job::Query(image));
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_shares_the_tag_and_is_read_once() {
        let tags: Vec<Vec<usize>> = (0..60)
            .map(|i| match i % 7 {
                0 => vec![0, 1],
                3 => vec![],
                n if i < 50 => vec![n % 3],
                _ => vec![2],
            })
            .chain([vec![8]])
            .collect();
        let tags: Vec<&[usize]> = tags.iter().map(Vec::as_slice).collect();
        let plan = Plan::new(&tags, 3, 1);
        for (image, references) in plan.references.iter().enumerate() {
            for tag in tags[image] {
                let having = references.iter().filter(|(_, for_tags)| for_tags.contains(tag));
                assert_eq!(having.count(), if *tag == 8 { 1 } else { 3 });
            }
            for (reference, for_tags) in references {
                assert!(for_tags.iter().all(|tag| tags[*reference].contains(tag)));
                assert_eq!(*reference == image, tags[image] == [8]);
            }
        }
        let jobs = plan.jobs(|i| i % 2 == 0);
        let mut read: Vec<usize> = Vec::new();
        for job in &jobs {
            match job {
                Job::Reference(i) => {
                    assert!(!read.contains(i));
                    read.push(*i);
                }
                Job::Query(i) => assert!(plan.references[*i].keys().all(|r| read.contains(r))),
            }
        }
        let queries = jobs.iter().filter(|job| matches!(job, Job::Query(_)));
        assert_eq!(queries.count(), 31);
        let alone = Plan::new(&tags, 0, 1);
        assert!(alone.references.iter().all(BTreeMap::is_empty));
        assert_eq!(alone.jobs(|_| true).len(), 61);
    }
}
