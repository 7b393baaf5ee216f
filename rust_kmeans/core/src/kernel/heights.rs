//! Sums of features times factors, of 64 rows at a time: what rows are ordered by.

use super::lanes::Lanes;
use super::{BLOCK, Isa, Line, generic};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::view::Source;

/// Parts of a height, each the sum over every eighth feature.
pub(crate) const PARTS: usize = 8;

/// Room for one block, and the heights of its rows.
#[derive(Debug)]
pub(crate) struct Heights<T> {
    isa: Isa,
    block: Vec<Line<T>>,
    zero: Vec<T>,
    /// The heights of the rows computed last.
    pub(crate) out: Line<f64>,
}

impl<T: Element> Heights<T> {
    /// Room for `d` features. Heights are the same on any instruction set; whoever forces one that is not here is told by
    /// what needs one.
    pub(crate) fn new(d: usize) -> Result<Self> {
        let what = "a block of samples";
        Ok(Self {
            isa: Isa::choose().unwrap_or(Isa::Scalar),
            block: try_vec(what, d, Line([T::default(); BLOCK]))?,
            zero: try_vec(what, d, T::default())?,
            out: Line([0.0; BLOCK]),
        })
    }

    /// The heights of at most one block of rows: for each of [`PARTS`] the float64 sum of every eighth feature times its
    /// factor, from first to last, then the sum of these.
    pub(crate) fn compute(&mut self, source: &Source<'_, T>, factors: &[f64]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa::choose` names none that is not here.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512(self, source, factors) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa::choose` names none that is not here.
            Isa::Avx2 => unsafe { avx2(self, source, factors) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `Isa::choose` names none that is not here.
            Isa::Neon => unsafe { neon(self, source, factors) },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe { heights::<T::Scalar>(self, source, factors) },
        }
    }
}

/// Declares the shell of [`heights`] for one instruction set.
macro_rules! shell {
    ($name:ident, $lanes:ident, $feature:literal) => {
        /// As [`heights`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        unsafe fn $name<T: Element>(
            work: &mut Heights<T>,
            source: &Source<'_, T>,
            factors: &[f64],
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { heights::<T::$lanes>(work, source, factors) };
        }
    };
}

#[cfg(target_arch = "x86_64")]
shell!(avx512, Avx512, "avx512f,avx512vl");
#[cfg(target_arch = "x86_64")]
shell!(avx2, Avx2, "avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, Neon, "neon");

/// As [`Heights::compute`].
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
unsafe fn heights<V: Lanes>(
    work: &mut Heights<V::Elem>,
    source: &Source<'_, V::Elem>,
    factors: &[f64],
) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { generic::fill_all::<V>(source, &work.zero, &mut work.block) };
    work.out.0 = [0.0; BLOCK];
    for part in 0..PARTS.min(work.block.len()) {
        let mut sums = Line([0.0; BLOCK]);
        let lines = work.block[part..].iter().step_by(PARTS);
        for (line, &factor) in lines.zip(factors[part..].iter().step_by(PARTS)) {
            for (sum, &x) in sums.0.iter_mut().zip(&line.0) {
                let x: f64 = x.into();
                *sum += x * factor;
            }
        }
        for (out, sum) in work.out.0.iter_mut().zip(sums.0) {
            *out += sum;
        }
    }
}
