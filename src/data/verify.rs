//! Decoding everything once, so that a long run does not end at a broken file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::decode::{read_rgb, with_orientation};
use super::mask_map::MaskMap;
use super::split::{Item, Pixels, Split};
use super::truth::{self, Truth};
use super::{Data, Skips};

enum Verdict {
    /// With the values of the mask, if there is one.
    Good(Option<Vec<u8>>),
    BadMask(String),
    BadImage(String),
}

impl Data {
    /// Decodes every image and mask in parallel, leaves out what is broken, and calls `on_item(done, total)` after each.
    ///
    /// Broken images are dropped with a warning and counted in `skipped`; masks that are broken, of another size, or
    /// with values outside the classes are dropped with a warning, and their image stays, without truth. Which values
    /// the others hold goes to `seen`. Generated images are not looked at.
    ///
    /// # Errors
    /// Where no training image is left.
    pub fn verify(&mut self, on_item: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        // Training and validation may share images; each is decoded and counted once.
        let mut files: BTreeMap<PathBuf, Option<Truth>> = BTreeMap::new();
        for item in self.train.items.iter().chain(self.val.items.iter()) {
            if let Pixels::Files { image, mask } = &item.pixels {
                let known = files.entry(image.clone()).or_default();
                *known = known.take().or_else(|| mask.clone());
            }
        }
        let classes = self.classes.len();
        let map = self.train.map.clone();
        let (done, total) = (AtomicUsize::new(0), files.len());
        let verdicts: Vec<_> = files
            .into_par_iter()
            .map(|(image, mask)| {
                let verdict = judge(&image, mask.as_ref(), classes, map.as_deref());
                on_item(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                (image, verdict)
            })
            .collect();

        let mut skips = Skips::default();
        for (image, verdict) in &verdicts {
            match verdict {
                Verdict::Good(None) => {}
                Verdict::Good(Some(values)) => {
                    self.seen.values.insert(image.clone(), values.clone());
                }
                Verdict::BadMask(reason) => {
                    log::warn!("mask not used: {reason}");
                    let (count, first) = &mut self.seen.bad_masks;
                    *count += 1;
                    first.get_or_insert_with(|| reason.clone());
                }
                Verdict::BadImage(reason) => {
                    skips.skip_as("images that cannot be read", image, reason);
                }
            }
        }
        self.skipped += skips.count;
        self.seen.left_out.join(skips.left_out);
        let verdicts: HashMap<_, _> = verdicts.into_iter().collect();
        self.train = keep(&self.train, &verdicts);
        self.val = keep(&self.val, &verdicts);
        if self.train.is_empty() {
            bail!("no training image can be read; the warnings above name the reasons");
        }
        Ok(())
    }
}

fn judge(image: &Path, mask: Option<&Truth>, classes: usize, map: Option<&MaskMap>) -> Verdict {
    let pixels = match read_rgb(image) {
        Err(error) => return Verdict::BadImage(error.to_string()),
        Ok(pixels) => pixels,
    };
    let Some(mask) = mask else {
        return Verdict::Good(None);
    };
    match mask.read(classes, pixels.dimensions(), map) {
        Err(error) => Verdict::BadMask(with_orientation(error, image).to_string()),
        Ok(mask) => Verdict::Good(Some(truth::values(&mask))),
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
    split.with(split.items.iter().filter_map(checked).collect())
}
