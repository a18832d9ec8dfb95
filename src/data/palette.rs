//! The PASCAL VOC colour map.

/// The PASCAL VOC colour map as 256 RGB triples: index 0 (background) is black, 255 (ignore) is cream (224, 224, 192).
///
/// Source: `VOClabelcolormap.m` of the VOC development kit, which deals the bits of the index out to the high bits of
/// the three channels in turn.
pub fn palette() -> [[u8; 3]; 256] {
    std::array::from_fn(|index| colour(index as u32))
}

/// The colour of an index in this map, which goes on as it began: no two of 2^24 indices have one colour.
pub fn colour(index: u32) -> [u8; 3] {
    let mut colour = [0; 3];
    let mut bits = index;
    for shift in (0..8).rev() {
        for (channel, value) in colour.iter_mut().enumerate() {
            *value |= ((bits >> channel & 1) as u8) << shift;
        }
        bits >>= 3;
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::{colour, palette};

    #[test]
    fn is_the_map_of_the_development_kit() {
        let colours = palette();
        assert_eq!(colours[0], [0, 0, 0]);
        assert_eq!(colours[1], [128, 0, 0]);
        assert_eq!(colours[15], [192, 128, 128]);
        assert_eq!(colours[20], [0, 64, 128]);
        assert_eq!(colours[255], [224, 224, 192]);
        assert_eq!(colour((1 << 24) - 1), [255; 3]);
    }
}
