//! Every WGSL source that the launchers can ask a device to compile.

use super::launch::Source;
use super::{conv2d, cross_attention, depthwise_conv, lattice, mean_field, pair_affinity, random_walk};

/// The sources of all kernels with every set of parameters that a launcher can choose.
pub fn sources() -> Vec<Source> {
    [
        pair_affinity::sources(),
        random_walk::sources(),
        cross_attention::sources(),
        lattice::sources(),
        mean_field::sources(),
        conv2d::sources(),
        depthwise_conv::sources(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_a_kernel_or_part_of_one() {
        let sources = sources();
        let names: BTreeSet<&str> = sources.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names.len(), sources.len(), "a name twice: {names:?}");
        for source in &sources {
            assert!(!source.text.contains("{{"), "{}: not filled in", source.name);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let template = fs::read_to_string(&path).unwrap();
            assert!(
                sources.iter().any(|source| is_made_of(source, &template)),
                "{}: no launcher lists it in its `sources`",
                path.display()
            );
        }
    }

    /// Whether all between the placeholders of `template` is in the source, in its order.
    fn is_made_of(source: &Source, template: &str) -> bool {
        let mut rest = source.text.as_str();
        template.split("{{").all(|piece| {
            let literal = piece.split_once("}}").map_or(piece, |(_, literal)| literal);
            let found = rest.find(literal);
            rest = found.map_or("", |at| &rest[at + literal.len()..]);
            found.is_some()
        })
    }
}
