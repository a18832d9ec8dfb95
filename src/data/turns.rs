//! Groups of related images in which every image has its turn once an epoch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::pairs::{Draw, Pairs, Relation};

/// What a worker draws groups with: it keeps the epoch that it is in.
#[derive(Default)]
pub struct Turns {
    epoch: Option<u64>,
    groups: Vec<Vec<usize>>,
}

impl Turns {
    /// Group number `number` of `size` images, the query first. It is the same whatever was drawn before.
    pub fn group(&mut self, pairs: &Pairs, number: u64, size: usize) -> Vec<usize> {
        let images = pairs.tags.iter().filter(|tags| !tags.is_empty()).count();
        let count = match pairs.draw {
            Draw::Balanced => return pairs.balanced(number, size),
            Draw::First => images,
            Draw::Member => images / size.max(1),
        };
        let count = count.max(1) as u64;
        let epoch = number / count;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.groups = groups(pairs, epoch, count as usize, size);
        }
        self.groups[(number % count) as usize].clone()
    }
}

/// The `count` groups of an epoch.
fn groups(pairs: &Pairs, epoch: u64, count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(pairs.seed);
    rng.set_stream(epoch);
    let mut order: Vec<usize> = (0..pairs.tags.len()).filter(|i| !pairs.tags[*i].is_empty()).collect();
    order.shuffle(&mut rng);
    let (mut groups, alone) = match pairs.draw {
        Draw::Member => matched(pairs, &order, size),
        Draw::First | Draw::Balanced => (Vec::new(), order),
    };
    let left = count.saturating_sub(groups.len());
    for query in alone.into_iter().take(left) {
        groups.push(pairs.with_partners(&mut rng, query, size));
    }
    groups
}

/// Groups of `size` images that share a class with each other, each made of the first images of `order` that are in none
/// yet, and the images that found no such group.
fn matched(pairs: &Pairs, order: &[usize], size: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
    let (mut groups, mut alone) = (Vec::new(), Vec::new());
    let mut is_used = vec![false; order.len()];
    let share = |a: usize, b: usize| {
        pairs.relation == Relation::Random || pairs.tags[a].iter().any(|tag| pairs.tags[b].contains(tag))
    };
    for (first, query) in order.iter().enumerate() {
        if is_used[first] {
            continue;
        }
        let mut places = vec![first];
        for (place, image) in order.iter().enumerate().skip(first + 1) {
            if places.len() >= size {
                break;
            }
            if !is_used[place] && places.iter().all(|other| share(order[*other], *image)) {
                places.push(place);
            }
        }
        if places.len() < size {
            alone.push(*query);
            continue;
        }
        for place in &places {
            is_used[*place] = true;
        }
        groups.push(places.into_iter().map(|place| order[place]).collect());
    }
    (groups, alone)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// An epoch's groups of `size` from images with these tags.
    fn epoch(tags: &[Vec<usize>], relation: Relation, draw: Draw, size: usize, epoch: u64) -> Vec<Vec<usize>> {
        let pairs = Pairs::new(tags.iter().map(Vec::as_slice), relation, 5)
            .unwrap()
            .drawn(draw);
        let tagged = tags.iter().filter(|t| !t.is_empty()).count();
        let count = match draw {
            Draw::Member => (tagged / size).max(1),
            _ => tagged,
        } as u64;
        let mut turns = Turns::default();
        let numbers = epoch * count..(epoch + 1) * count;
        let groups: Vec<_> = numbers.clone().map(|n| turns.group(&pairs, n, size)).collect();
        // Whatever was drawn before: the last first.
        let mut turns = Turns::default();
        let back: Vec<_> = numbers.rev().map(|n| turns.group(&pairs, n, size)).collect();
        assert!(groups.iter().eq(back.iter().rev()));
        groups
    }

    fn tags() -> Vec<Vec<usize>> {
        let of = |i: usize| match i % 10 {
            0 => vec![0, 2],
            4 => vec![],
            n if n < 8 => vec![0],
            n => vec![n - 7],
        };
        (0..60).map(of).collect()
    }

    #[test]
    fn every_image_is_the_first_of_a_group_once_an_epoch() {
        let tags = tags();
        let tagged: BTreeSet<usize> = (0..60).filter(|i| !tags[*i].is_empty()).collect();
        for relation in [Relation::Common, Relation::Random] {
            let both = [0, 1].map(|number| epoch(&tags, relation, Draw::First, 3, number));
            assert_ne!(both[0], both[1]);
            for groups in &both {
                assert_eq!(groups.iter().map(|g| g[0]).collect::<BTreeSet<_>>(), tagged);
                assert_eq!(groups.len(), tagged.len());
                for group in groups {
                    assert_eq!(group.iter().collect::<BTreeSet<_>>().len(), 3);
                    let class = tags[group[0]]
                        .iter()
                        .find(|c| group.iter().all(|i| tags[*i].contains(c)));
                    assert!(class.is_some() || relation == Relation::Random);
                }
            }
        }
    }

    #[test]
    fn every_image_is_in_one_group_an_epoch() {
        let tags = tags();
        for (relation, size) in [(Relation::Common, 2), (Relation::Common, 3), (Relation::Random, 2)] {
            let groups = epoch(&tags, relation, Draw::Member, size, 3);
            assert_eq!(groups.len(), 54 / size);
            let mut seen: Vec<usize> = groups.concat();
            seen.sort();
            seen.dedup();
            // Classes 0, 1 and 2 have 42, 6 and 12 images: in threes and in pairs they come out even, but for who is in two.
            assert!(seen.len() >= 54 - size, "{} images in groups of {size}", seen.len());
            assert_eq!(groups[0].len(), size);
            for group in groups.iter().filter(|_| relation == Relation::Common) {
                let shared = |a: &usize, b: &usize| tags[*a].iter().any(|c| tags[*b].contains(c));
                assert!(group.iter().all(|a| group.iter().all(|b| shared(a, b))), "{group:?}");
            }
        }
    }

    #[test]
    fn who_finds_no_partner_has_its_turn_too() {
        // Two of class 0, and one each of three more.
        let tags = [vec![0], vec![1], vec![0], vec![2], vec![3]];
        let all: BTreeSet<Vec<usize>> = (0..40)
            .flat_map(|number| epoch(&tags, Relation::Common, Draw::Member, 2, number))
            .collect();
        let expected = [[0, 2], [1, 1], [2, 0], [3, 3], [4, 4]].map(Vec::from);
        assert_eq!(all, expected.into());
        assert_eq!(epoch(&tags[..1], Relation::Common, Draw::Member, 3, 7), [[0, 0, 0]]);
    }
}
