//! Agreement with reference results that independent code computed: see `tests/golden/README.md`.
//!
//! Every file of `tests/golden/` (or of the folder that `WEAKSEG_GOLDEN` names) is matched to a check by the prefix of
//! its name and carries its own parameters, so that a new file with other shapes needs no new code.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "golden_harness/check.rs"]
mod check;
#[path = "golden_harness/crf.rs"]
mod crf;
#[path = "golden_harness/file.rs"]
mod file;
#[path = "golden_harness/formula.rs"]
mod formula;
#[path = "golden_harness/networks.rs"]
mod networks;
#[path = "golden_harness/photographs.rs"]
mod photographs;
#[path = "golden_harness/training.rs"]
mod training;

use std::panic::{AssertUnwindSafe, catch_unwind};

use check::On;
use file::Golden;

/// Checks every file that `select` takes by its parameters; fails after the last one, naming all that disagree.
fn agree(on: &On, select: impl Fn(&Golden) -> bool) {
    let mut checked = 0;
    let mut failed = Vec::new();
    for path in file::all() {
        let mut golden = Golden::open(&path);
        match check::find(&golden) {
            None => println!("{}: nothing here computes this yet", path.display()),
            Some(_) if !select(&golden) => {}
            Some(check) => {
                checked += 1;
                let agrees = AssertUnwindSafe(|| {
                    golden.decode();
                    check(&golden, on);
                });
                if catch_unwind(agrees).is_err() {
                    failed.push(golden.name);
                }
            }
        }
    }
    // Another folder need not have files of every kind.
    assert!(checked > 0 || file::is_elsewhere(), "no golden file matches any check");
    assert!(failed.is_empty(), "{} of {checked} disagree: {failed:?}", failed.len());
}

fn is_full_width(golden: &Golden) -> bool {
    // EfficientNet-Lite has one width, and is small.
    let is_whole = golden.meta.get("width_divisor").is_some_and(|w| w == "1");
    is_whole && !golden.name.starts_with("efficientnet")
}

/// Dozens of layers of as many shapes, each of which software Vulkan tunes for seconds.
fn is_slow_in_software(golden: &Golden) -> bool {
    // Three sizes of the image through ResNet101.
    golden.name.starts_with("efficientnet") || golden.name.starts_with("deeplabv2_resnet101")
}

fn is_operator(golden: &Golden) -> bool {
    !golden.meta.contains_key("width_divisor")
}

#[test]
fn formula_gives_its_check_values() {
    assert!((formula::unit("conv1a.weight", 0) - 0.018_377_006_053_924_56).abs() < 1e-15);
    assert!((formula::unit("public/resnet38_cls", 3) - 0.114_447_295_665_740_97).abs() < 1e-15);
}

#[test]
fn operators_agree_on_the_cpu() {
    agree(&On::cpu(), is_operator);
}

#[test]
fn operators_agree_on_vulkan() {
    agree(&On::vulkan(), is_operator);
}

#[test]
fn the_crf_on_vulkan_agrees_with_the_cpu_on_any_picture() {
    crf::agrees_with_the_cpu(&On::vulkan());
}

#[test]
fn networks_and_training_agree_on_the_cpu() {
    agree(&On::cpu(), |g| !is_operator(g) && !is_full_width(g));
}

#[test]
fn networks_and_training_agree_on_vulkan() {
    agree(&On::vulkan(), |g| {
        !is_operator(g) && !is_full_width(g) && !is_slow_in_software(g)
    });
}

#[test]
#[ignore = "full width: minutes; cargo xtask parity --full"]
fn full_width_networks_agree_on_the_cpu() {
    agree(&On::cpu(), is_full_width);
}

#[test]
#[ignore = "full width: minutes; cargo xtask parity --full"]
fn full_width_networks_agree_on_vulkan() {
    agree(&On::vulkan(), |g| is_full_width(g) || is_slow_in_software(g));
}

#[test]
#[ignore = "full width: minutes; cargo xtask parity --full"]
fn photographs_go_through_every_network_on_the_cpu() {
    photographs::through_all(&On::cpu());
}

#[test]
#[ignore = "fetches the published weights; cargo xtask parity --full"]
fn photographs_are_classified_as_published_on_the_cpu() {
    photographs::are_classified(&On::cpu());
}
