//! What the generic algorithm needs of a vector register.

use crate::element::Element;
use crate::kernel::{BLOCK, Line, WIDEST};

/// A register of `WIDTH` numbers of type `Elem`.
///
/// # Safety
/// Every function may use instructions of its instruction set: callers must have checked that the CPU has it. They
/// are all `inline(always)` and reach registers only when inlined into a function with the matching `target_feature`.
pub trait Lanes: Copy {
    /// Type of one number.
    type Elem: Element;
    /// The outcome of a comparison, lane by lane.
    type Mask: Copy;
    /// Numbers in a register; divides [`crate::kernel::BLOCK`].
    const WIDTH: usize;
    /// Most features of rows without gaps between them that [`Lanes::part`] takes apart.
    const NARROW: usize = 0;

    /// All lanes `x`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// Reads `WIDTH` numbers.
    ///
    /// # Safety
    /// See the trait; `from` must be valid for `WIDTH` reads.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Reads `count` numbers, less than `WIDTH`; the other lanes are 0.
    ///
    /// # Safety
    /// See the trait; `from` must be valid for `count` reads.
    #[inline(always)]
    unsafe fn load_first(from: *const Self::Elem, count: usize) -> Self {
        let mut numbers = [Self::Elem::default(); WIDEST];
        for (i, number) in numbers.iter_mut().enumerate().take(count) {
            // SAFETY: the caller vouches for this read.
            *number = unsafe { *from.add(i) };
        }
        // SAFETY: no register is wider.
        unsafe { Self::load(numbers.as_ptr()) }
    }
    /// Writes the sum over the lanes of each of four registers.
    ///
    /// # Safety
    /// See the trait; `to` must be valid for four writes.
    #[inline(always)]
    unsafe fn sum_four(registers: [Self; 4], to: *mut Self::Elem) {
        for (i, register) in registers.into_iter().enumerate() {
            let mut numbers = [Self::Elem::default(); WIDEST];
            // SAFETY: no register is wider; the caller vouches for four writes.
            unsafe {
                register.store(numbers.as_mut_ptr());
                let mut sum = numbers[0];
                for &number in &numbers[1..Self::WIDTH] {
                    sum = sum + number;
                }
                *to.add(i) = sum;
            }
        }
    }
    /// Adds the first `count` lanes of each register, from the first on, to its sum.
    ///
    /// # Safety
    /// See the trait; `count` is at most `WIDTH`.
    #[inline(always)]
    unsafe fn add_in_order(registers: [Self; 8], count: usize, sums: &mut [Self::Elem; 8]) {
        for (register, sum) in registers.into_iter().zip(sums) {
            let mut numbers = [Self::Elem::default(); WIDEST];
            // SAFETY: no register is wider.
            unsafe { register.store(numbers.as_mut_ptr()) };
            for &number in &numbers[..count] {
                *sum = *sum + number;
            }
        }
    }
    /// Writes `WIDTH` numbers.
    ///
    /// # Safety
    /// See the trait; `to` must be valid for `WIDTH` writes.
    unsafe fn store(self, to: *mut Self::Elem);
    /// `self - a * b`, rounded at most twice.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn minus_product(self, a: Self, b: Self) -> Self;
    /// `self - other`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn minus(self, other: Self) -> Self;
    /// `self + other`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn plus(self, other: Self) -> Self;
    /// `self + difference²` with `difference = x - c`, three operations each rounded on its own.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn plus_squared_difference(self, x: Self, c: Self) -> Self;
    /// The smaller; either if one is NaN.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger; either if one is NaN.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn max(self, other: Self) -> Self;
    /// `self < other`, false if one is NaN.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn less(self, other: Self) -> Self::Mask;
    /// Whether all lanes are those of `other`; false if one is NaN.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn equals(self, other: Self) -> bool;
    /// Lanes of `yes` where the mask is set, of `no` elsewhere; bits are moved, never interpreted.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// The mask as bits, lane 0 lowest.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn bits(mask: Self::Mask) -> u64;

    /// For each block the bits of the samples for which `table[label] < margin` does not hold. Labels beyond the table stand
    /// for its last entry; for an empty one it holds nowhere.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn doubtful(
        labels: &[[i32; BLOCK]],
        margins: &[[Self::Elem; BLOCK]],
        table: &[Self::Elem],
        out: &mut [u64],
    ) {
        let Some(last) = table.len().checked_sub(1) else {
            return out.fill(u64::MAX);
        };
        for (out, (labels, margins)) in out.iter_mut().zip(labels.iter().zip(margins)) {
            let mut sure = 0;
            for (i, (&label, &margin)) in labels.iter().zip(margins).enumerate() {
                let drift = table[usize::try_from(label).unwrap_or(last).min(last)];
                sure |= u64::from(drift < margin) << i;
            }
            *out = !sure;
        }
    }

    /// Writes `to[j][lane + i] = from[i][first + j] - shift[j]` for all rows `from[i]` and `j < columns`.
    ///
    /// # Safety
    /// See the trait; there are `WIDTH` rows, `columns` is at most `WIDTH`, `from` is valid for reads at the places named,
    /// `shift` and `to` have at least `columns` entries, and `lane + WIDTH` is at most [`crate::kernel::BLOCK`].
    #[inline(always)]
    unsafe fn transpose(
        from: &[*const Self::Elem],
        (first, columns): (usize, usize),
        shift: &[Self::Elem],
        to: &mut [Line<Self::Elem>],
        lane: usize,
    ) {
        for (j, (line, &shift)) in to.iter_mut().zip(shift).take(columns).enumerate() {
            for (&from, out) in from.iter().zip(&mut line.0[lane..]) {
                // SAFETY: j < columns, where the caller vouches for reads.
                let x = unsafe { *from.add(first + j) };
                *out = x.minus(shift);
            }
        }
    }

    /// Writes `to[j][lane + i] = from[i * D + j] - shift[j]` for `WIDTH` rows of D features that lie one after the other.
    ///
    /// # Safety
    /// See the trait; D is from 2 to [`Lanes::NARROW`], `from` is valid for `WIDTH` × D reads, `shift` and `to` have at
    /// least D entries, and `lane + WIDTH` is at most [`crate::kernel::BLOCK`].
    #[inline(always)]
    unsafe fn part<const D: usize>(
        from: *const Self::Elem,
        shift: &[Self::Elem],
        to: &mut [Line<Self::Elem>],
        lane: usize,
    ) {
        for (j, (line, &shift)) in to.iter_mut().zip(shift).take(D).enumerate() {
            for (i, out) in line.0[lane..lane + Self::WIDTH].iter_mut().enumerate() {
                // SAFETY: the caller vouches for the read.
                *out = unsafe { *from.add(i * D + j) }.minus(shift);
            }
        }
    }
}

/// The registers of each instruction set for one type of data.
pub trait LanesOf: Sized {
    /// Plain Rust, for any CPU.
    type Scalar: Lanes<Elem = Self>;
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Elem = Self>;
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Elem = Self>;
    /// 128 bits.
    #[cfg(target_arch = "aarch64")]
    type Neon: Lanes<Elem = Self>;
}

impl LanesOf for f32 {
    type Scalar = super::scalar::Four<f32>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = super::avx2::F32;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = super::avx512::F32;
    #[cfg(target_arch = "aarch64")]
    type Neon = super::neon::F32;
}

impl LanesOf for f64 {
    type Scalar = super::scalar::Four<f64>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = super::avx2::F64;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = super::avx512::F64;
    #[cfg(target_arch = "aarch64")]
    type Neon = super::neon::F64;
}
