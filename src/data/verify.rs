//! Decoding everything once, so that a long run does not end at a broken file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::decode::{read_mask, read_rgb};
use super::split::{Item, Pixels, Split};
use super::{Data, Skips};

enum Verdict {
    Good,
    BadMask(String),
    BadImage(String),
}

impl Data {
    /// Decodes every image and mask in parallel, leaves out what is broken, and calls `on_item(done, total)` after each.
    ///
    /// Broken images are dropped with a warning and counted in `skipped`; masks that are broken, of another size, or
    /// with values outside the classes are dropped with a warning, and their image stays, without truth. Generated
    /// images are not looked at.
    ///
    /// # Errors
    /// Where no training image is left.
    pub fn verify(&mut self, on_item: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        // Training and validation may share images; each is decoded and counted once.
        let mut files: BTreeMap<PathBuf, Option<PathBuf>> = BTreeMap::new();
        for item in self.train.items.iter().chain(self.val.items.iter()) {
            if let Pixels::Files { image, mask } = &item.pixels {
                let known = files.entry(image.clone()).or_default();
                *known = known.take().or_else(|| mask.clone());
            }
        }
        let classes = self.classes.len();
        let (done, total) = (AtomicUsize::new(0), files.len());
        let verdicts: Vec<_> = files
            .into_par_iter()
            .map(|(image, mask)| {
                let verdict = judge(&image, mask.as_deref(), classes);
                on_item(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                (image, verdict)
            })
            .collect();

        let mut skips = Skips::default();
        for (_, verdict) in &verdicts {
            match verdict {
                Verdict::Good => {}
                Verdict::BadMask(reason) => log::warn!("mask not used: {reason}"),
                Verdict::BadImage(reason) => skips.skip(reason),
            }
        }
        self.skipped += skips.0;
        let verdicts: HashMap<_, _> = verdicts.into_iter().collect();
        self.train = keep(&self.train, &verdicts);
        self.val = keep(&self.val, &verdicts);
        if self.train.is_empty() {
            bail!("no training image can be read; the warnings above name the reasons");
        }
        Ok(())
    }
}

fn judge(image: &Path, mask: Option<&Path>, classes: usize) -> Verdict {
    match read_rgb(image) {
        Err(error) => Verdict::BadImage(error.to_string()),
        Ok(pixels) => match mask.map(|mask| read_mask(mask, classes, pixels.dimensions())) {
            Some(Err(error)) => Verdict::BadMask(error.to_string()),
            _ => Verdict::Good,
        },
    }
}

fn keep(split: &Split, verdicts: &HashMap<PathBuf, Verdict>) -> Split {
    let checked = |item: &Item| {
        let mut item = item.clone();
        if let Pixels::Files { image, mask } = &mut item.pixels {
            match verdicts.get(image) {
                Some(Verdict::BadImage(_)) => return None,
                Some(Verdict::BadMask(_)) => *mask = None,
                _ => {}
            }
        }
        Some(item)
    };
    Split::new(
        split.items.iter().filter_map(checked).collect(),
        split.classes,
    )
}
