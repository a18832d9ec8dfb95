//! The exponential function, plain enough to be computed several values at a time.

/// e^x for x ≤ 0 within 3e-7 of its value, 0 from -62 down, NaN of NaN: without calls or branches, and without results
/// so small that their products would be denormal, which are slow.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    // 2^n e^r, n the nearest integer to x / ln 2, whose bits the shift brings to the bottom of the mantissa.
    let bounded = if x <= -62.0 { -62.0 } else { x };
    let shifted = bounded * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln 2 in two parts, the first of few bits: its multiples are subtracted without rounding.
    let r = (bounded - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // Taylor's series up to r^6, |r| ≤ 0.35.
    let tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * tail)));
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x <= -62.0 { 0.0 } else { series * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_within_a_millionth() {
        for i in 0..62_000 {
            let x = -0.001 * i as f32;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 5e-7, "e^{x}");
        }
        let none = [-62.0, -63.0, f32::NEG_INFINITY].map(exp);
        assert_eq!((exp(0.0), none), (1.0, [0.0; 3]));
        assert!(exp(f32::NAN).is_nan());
    }
}
