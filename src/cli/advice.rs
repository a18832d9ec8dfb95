//! What to do about a library's error, in terms of the program's options: the library does not know them.

use std::error::Error as StdError;

use crate::crf::{self, Problem};
use crate::kernels;
use crate::weights;

/// All that `error` says, in one line, with what to do about it on the command line.
pub fn told(error: &anyhow::Error) -> String {
    // Whatever libraries put into their texts.
    let text = format!("{error:#}");
    let text: Vec<&str> = text.split_whitespace().collect();
    let advice = error.chain().find_map(advice).unwrap_or_default();
    text.join(" ") + &advice
}

/// The rest of the line, which goes on with a `;` or `:`.
fn advice(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<crf::Error>() {
        return on_crf(error);
    }
    if let Some(error) = error.downcast_ref::<kernels::Error>() {
        return on_kernels(error).map(str::to_owned);
    }
    error.downcast_ref::<weights::Error>().and_then(on_weights)
}

fn on_kernels(error: &kernels::Error) -> Option<&'static str> {
    match error {
        kernels::Error::LatticeTooLarge { .. } => Some("; scale the image down or use --device cpu"),
        kernels::Error::TooManyLabels { .. } => Some("; give fewer labels or use --device cpu"),
        _ => None,
    }
}

fn on_crf(error: &crf::Error) -> Option<String> {
    let advice = match error {
        // It speaks as its cause does, and its source is that of the cause.
        crf::Error::Device(cause) => return cause.downcast_ref().and_then(on_kernels).map(str::to_owned),
        crf::Error::Overwritten(_) => Some(": name another folder with --out"),
        crf::Error::TooManyChannels { .. } => Some(": ask for --posteriors"),
        crf::Error::Scores { problem, .. } => match problem {
            Problem::IsLabels | Problem::NotLabels | Problem::HasBackground => Some("; leave out --scores-are"),
            Problem::ZeroAndUnsure => {
                Some("; say --scores-are foreground where 255 is the foreground, or --scores-are labels")
            }
            Problem::OneChannel(_) => Some(
                "; say --scores-are foreground where it is the probability of the foreground (of logits a, save 1 / (1 + exp(-a))), whose complement is the background",
            ),
            Problem::Unclear(_) => Some(
                "; say what they are with --scores-are foreground (classes without a channel of the background), --scores-are probabilities (each pixel is divided by its sum) or --scores-are logits",
            ),
            Problem::Negative(_) => Some("; use --scores-are logits or clip it"),
            _ => None,
        },
        _ => None,
    };
    advice.map(str::to_owned)
}

fn on_weights(error: &weights::Error) -> Option<String> {
    match error {
        weights::Error::OtherNetwork { .. } => Some("; `weakseg weights inspect` shows what it holds".into()),
        weights::Error::NothingToLoad { path, .. } => Some(format!(
            ": `weakseg weights inspect {}` shows what it holds",
            path.display()
        )),
        weights::Error::NeitherFileNorName(_) => {
            Some(": give a file, or one of those that `weakseg weights list` lists".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn advice_ends_the_line_whatever_stands_before_it() {
        let error = |problem| crf::Error::Scores {
            path: "s.npy".into(),
            problem,
        };
        let result: Result<(), _> = Err(error(Problem::Unclear("they sum to 2".into())));
        let told = told(&result.context("a.jpg").unwrap_err());
        assert!(told.starts_with("a.jpg: the scores s.npy: they sum to 2; say"));
        assert!(told.ends_with("--scores-are logits"), "{told}");
        let one = super::told(&error(Problem::OneChannel("one".into())).into());
        assert!(one.contains("; say --scores-are foreground"), "{one}");
        let plain = anyhow::Error::from(error(Problem::Shape("wrong".into())));
        assert_eq!(super::told(&plain), "the scores s.npy: wrong");
    }

    #[test]
    fn kernels_say_what_is_wrong_and_the_program_what_to_do() {
        let error = || kernels::Error::LatticeTooLarge {
            pixels: 9,
            needed: 2_000_000,
            largest: 1_000_000,
        };
        let advice = "largest is 1.0 MB; scale the image down or use --device cpu";
        let in_crf = crf::Error::Device(Box::new(error()));
        for error in [anyhow::Error::from(error()), in_crf.into()] {
            let told = super::told(&error.context("a.jpg"));
            assert!(told.ends_with(advice), "{told}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_sent_to_the_list() {
        let error = weights::fetch::file(std::path::Path::new("no-such-weights")).unwrap_err();
        let told = told(&anyhow::Error::from(error));
        assert!(
            told.starts_with("no-such-weights is neither a file nor the name of published weights: give"),
            "{told}"
        );
        assert!(told.contains("`weakseg weights list`"), "{told}");
    }
}
