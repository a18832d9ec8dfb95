//! `weakseg models`.

use anyhow::Result;

use crate::bench::models;
use crate::device::{self, Choice};

/// Arguments of `weakseg models`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Networks to list [default: all]
    names: Vec<String>,
    /// Height and width of the image, in pixels
    #[arg(long, default_value = "321x321", value_name = "HxW", value_parser = size)]
    size: [usize; 2],
    /// Measure time and memory of inference as well
    #[arg(long)]
    measure: bool,
    /// Where to measure: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto", requires = "measure")]
    device: Choice,
}

/// Smallest and largest side that networks are counted and measured at.
const SIDES: std::ops::RangeInclusive<usize> = 16..=4096;

fn size(text: &str) -> Result<[usize; 2], String> {
    text.split_once('x')
        .and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]))
        .filter(|size: &[usize; 2]| size.iter().all(|side| SIDES.contains(side)))
        .ok_or_else(|| "use HEIGHTxWIDTH, each 16 to 4096, such as 375x500".to_owned())
}

/// Lists the networks of the papers.
pub fn run(args: Args, json: bool) -> Result<()> {
    let chosen = args.measure.then(|| device::choose(args.device)).transpose()?;
    if let Some(chosen) = &chosen {
        log::info!("{chosen}");
    }
    let models = models::list(&args.names, args.size, chosen.as_ref().map(|c| &c.device))?;
    if json {
        return super::output::print_json(&models);
    }
    super::output::print(models::table(&models, args.size).trim_end())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_height_times_width_within_bounds() {
        assert_eq!(size("375x500"), Ok([375, 500]));
        for bad in ["321", "8x321", "321x-1", "9999x9999", "axb"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
