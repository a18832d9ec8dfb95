//! The PASCAL VOC colour map.

/// The PASCAL VOC colour map as 256 RGB triples: index 0 (background) is black, 255 (ignore) is cream (224, 224, 192).
///
/// Source: `VOClabelcolormap.m` of the VOC development kit, which deals the bits of the index out to the high bits of
/// the three channels in turn.
pub fn palette() -> [[u8; 3]; 256] {
    let mut colours = [[0; 3]; 256];
    for (index, colour) in colours.iter_mut().enumerate() {
        let mut bits = index;
        for shift in (0..8).rev() {
            for (channel, value) in colour.iter_mut().enumerate() {
                *value |= ((bits >> channel & 1) as u8) << shift;
            }
            bits >>= 3;
        }
    }
    colours
}

#[cfg(test)]
mod tests {
    use super::palette;

    #[test]
    fn is_the_map_of_the_development_kit() {
        let colours = palette();
        assert_eq!(colours[0], [0, 0, 0]);
        assert_eq!(colours[1], [128, 0, 0]);
        assert_eq!(colours[15], [192, 128, 128]);
        assert_eq!(colours[20], [0, 64, 128]);
        assert_eq!(colours[255], [224, 224, 192]);
    }
}
