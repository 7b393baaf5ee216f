//! Random numbers that depend on a seed alone.

/// `SplitMix64`: G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A sequence that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What [`Random::unit`] would return after `skipped` calls: in any order, on any thread.
    #[must_use]
    pub fn unit_at(&self, skipped: u64) -> f64 {
        let state = self.state.wrapping_add(skipped.wrapping_mul(Self::STEP));
        Self { state }.unit()
    }

    /// The next number in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next number of 0..n, where n is positive and below 2⁵³.
    pub fn below(&mut self, n: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most n"
        )]
        let number = (self.unit() * n as f64) as usize;
        number.min(n - 1)
    }

    /// A number below `total`, so that some prefix of the terms it is the sum of exceeds it; 0 for a total of 0.
    pub fn part_of(&mut self, total: f64) -> f64 {
        (self.unit() * total).min(total.next_down()).max(0.0)
    }
}
