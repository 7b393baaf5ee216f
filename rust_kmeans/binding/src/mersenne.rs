//! Seeds as NumPy draws them from an integer: `RandomState(seed).randint(2**63)`, again and again.
//!
//! To make NumPy's generator, or to seed one that is there, takes longer than a small fit.
//!
//! Source: M. Matsumoto, T. Nishimura, *Mersenne Twister*, ACM Transactions on Modeling and Computer Simulation 8 (1998), with
//! the seeding of their version of 2002 and NumPy's way of making 63 bits of two numbers.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

const WORDS: usize = 624;
const MIDDLE: usize = 397;
const TWIST: u32 = 0x9908_b0df;

/// The generator MT19937.
struct Mersenne {
    state: [u32; WORDS],
    next: usize,
}

impl Mersenne {
    fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        let mut last = seed;
        for (i, word) in (0..).zip(&mut state).skip(1) {
            last = (last ^ (last >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i);
            *word = last;
        }
        Self { state, next: 0 }
    }

    /// 32 bits. A word is twisted when it is its turn, as few are drawn.
    fn draw(&mut self) -> u32 {
        let at = self.next;
        self.next = (at + 1) % WORDS;
        let mixed = (self.state[at] & 0x8000_0000) | (self.state[self.next] & 0x7fff_ffff);
        let twist = if mixed & 1 == 1 { TWIST } else { 0 };
        self.state[at] = self.state[(at + MIDDLE) % WORDS] ^ (mixed >> 1) ^ twist;
        let mut bits = self.state[at];
        bits ^= bits >> 11;
        bits ^= (bits << 7) & 0x9d2c_5680;
        bits ^= (bits << 15) & 0xefc6_0000;
        bits ^ (bits >> 18)
    }
}

/// The first seeds that `random_state` stands for.
#[pyfunction]
#[pyo3(signature = (random_state, count, /))]
pub(crate) fn seeds(random_state: u32, count: usize) -> PyResult<Vec<u64>> {
    let mut seeds = Vec::new();
    if seeds.try_reserve_exact(count).is_err() {
        let message = format!("the seeds of {count} runs do not fit into memory");
        return Err(PyMemoryError::new_err(message));
    }
    let mut generator = Mersenne::new(random_state);
    for _ in 0..count {
        let high = u64::from(generator.draw());
        let low = u64::from(generator.draw());
        seeds.push(((high << 32) | low) & (u64::MAX >> 1));
    }
    Ok(seeds)
}
