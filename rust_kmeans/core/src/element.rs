//! The two types of data: f32 and f64.

use std::ops::{Add, Mul, Sub};

use crate::kernel::lanes::LanesOf;

/// A type of data: `f32` or `f64`, nothing else.
pub trait Element:
    LanesOf
    + Copy
    + Default
    + PartialEq
    + PartialOrd
    + Into<f64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// NumPy's name of the type.
    const NAME: &'static str;
    /// Unit roundoff: half the distance from 1 to the next number.
    const UNIT: f64;
    /// Smallest positive normal number.
    const TINY: f64;
    /// Largest finite number.
    const HUGE: f64;

    /// Rounds to the nearest.
    fn from_f64(value: f64) -> Self;
    /// The number whose bits are `index`: carries an index through lanes that only ever move it.
    fn from_index(index: u32) -> Self;
    /// Inverse of [`Element::from_index`].
    fn to_index(self) -> u32;
    /// `self - other`, rounded once.
    #[must_use]
    fn minus(self, other: Self) -> Self;
    /// The square root, rounded once.
    #[must_use]
    fn sqrt(self) -> Self;
}

impl Element for f32 {
    const NAME: &'static str = "float32";
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    const TINY: f64 = f32::MIN_POSITIVE as f64;
    const HUGE: f64 = f32::MAX as f64;

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to f32 is what the function is for"
    )]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn from_index(index: u32) -> Self {
        f32::from_bits(index)
    }
    #[inline(always)]
    fn to_index(self) -> u32 {
        self.to_bits()
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
}

impl Element for f64 {
    const NAME: &'static str = "float64";
    const UNIT: f64 = f64::EPSILON / 2.0;
    const TINY: f64 = f64::MIN_POSITIVE;
    const HUGE: f64 = f64::MAX;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn from_index(index: u32) -> Self {
        f64::from_bits(u64::from(index))
    }
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only ever holds what from_index put there"
    )]
    fn to_index(self) -> u32 {
        self.to_bits() as u32
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
}
