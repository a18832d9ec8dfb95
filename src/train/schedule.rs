//! Learning-rate schedules.

/// How the learning rate goes from the first step to the last.
#[derive(Clone, Copy, Debug)]
pub enum Schedule {
    /// lr · (1 - step / total)^power: DeepLab's "poly", the papers' choice for pretrained backbones.
    Poly {
        /// 0.9 in all the papers.
        power: f32,
    },
    /// A tenth of the rate after every part of the steps, as MCIS and DeepLab-LargeFOV have it.
    Tenths {
        /// That part's share of all steps, positive.
        every: f32,
    },
    /// One cycle (Smith 2018): up along a cosine for the first share of the steps, down along a cosine to zero.
    OneCycle {
        /// Share of the steps that the rise takes, in (0, 1).
        rise: f32,
    },
}

impl Schedule {
    /// Factor on the peak learning rate at `step` of `total`.
    pub fn factor(self, step: usize, total: usize) -> f32 {
        let done = step as f32 / total.max(1) as f32;
        match self {
            Schedule::Poly { power } => (1.0 - done).max(0.0).powf(power),
            // A millionth more keeps a step at a boundary from rounding to the part before; no part has as many steps.
            Schedule::Tenths { every } => 0.1f32.powi((done / every * (1.0 + 1e-6)).floor() as i32),
            Schedule::OneCycle { rise } => {
                let cosine = |t: f32| 0.5 - 0.5 * (std::f32::consts::PI * t).cos();
                // From a 25th of the peak, as in the common implementations.
                if done < rise {
                    0.04 + 0.96 * cosine(done / rise)
                } else {
                    1.0 - cosine((done - rise) / (1.0 - rise).max(1e-6))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poly_is_deeplabs() {
        let poly = Schedule::Poly { power: 0.9 };
        assert_eq!(poly.factor(0, 10), 1.0);
        assert!((poly.factor(5, 10) - 0.5f32.powf(0.9)).abs() < 1e-6);
        assert_eq!(poly.factor(10, 10), 0.0);
    }

    #[test]
    fn tenths_fall_at_the_end_of_each_part() {
        // 15 epochs of ten steps, a tenth every 6.
        let tenths = Schedule::Tenths { every: 6.0 / 15.0 };
        for (step, expected) in [(0, 1.0), (59, 1.0), (60, 0.1), (119, 0.1), (120, 0.01)] {
            let factor = tenths.factor(step, 150);
            assert!((factor / expected - 1.0).abs() < 1e-4, "{step}: {factor}");
        }
        // No step early where a part is long.
        for (step, expected) in [(14_999, 1.0), (15_000, 0.1), (29_999, 0.1), (30_000, 0.01)] {
            let factor = tenths.factor(step, 37_500);
            assert!((factor / expected - 1.0).abs() < 1e-4, "{step}: {factor}");
        }
    }

    #[test]
    fn one_cycle_peaks_after_the_rise_and_ends_at_zero() {
        let cycle = Schedule::OneCycle { rise: 0.25 };
        assert!((cycle.factor(25, 100) - 1.0).abs() < 1e-3);
        assert!(cycle.factor(0, 100) < 0.05);
        assert!(cycle.factor(99, 100) < 0.01);
    }
}
