// The lattice points around a pixel, from its simplex: for each of the first D coordinates the closest remainder-0 point
// times 16 plus the rank of the coordinate's distance from it. The last coordinate follows, as all sum to zero.

// Coordinate i of vertex r of the simplex of one of n pixels, entry = r * n + pixel (Adams et al. 2010, Sec. 3.1).
fn coordinate(entry: u32, n: u32, i: u32) -> i32 {
    let word = simplex[i * n + entry % n];
    let r = i32(entry / n);
    let rank = word & 15;
    return (word >> 4u) + select(r, r - i32(D) - 1, rank > i32(D) - r);
}

fn stir(hash: u32, value: i32) -> u32 {
    return (hash ^ bitcast<u32>(value)) * 0x9E3779B1u;
}

// Spreads what multiplication leaves in the high bits.
fn finish(hash: u32) -> u32 {
    let h = (hash ^ (hash >> 15u)) * 0x85EBCA77u;
    return h ^ (h >> 13u);
}
