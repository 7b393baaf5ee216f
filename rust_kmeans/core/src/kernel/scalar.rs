//! The shell for any CPU: groups of four numbers in plain Rust, multiplication and addition rounded apart.

use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Distances, Grouped, Move, Moving, Packed, Scratch, Screened, generic, grouped};
use crate::element::Element;
use crate::exact_sum::ExactTable;
use crate::view::{Rows, Source};

/// Four numbers.
#[derive(Clone, Copy)]
pub struct Four<T>([T; 4]);

macro_rules! four {
    ($elem:ty) => {
        impl Lanes for Four<$elem> {
            type Elem = $elem;
            type Mask = [bool; 4];
            const WIDTH: usize = 4;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                Self([x; 4])
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for four reads; unaligned is fine.
                Self(unsafe { from.cast::<[$elem; 4]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for four writes; unaligned is fine.
                unsafe { to.cast::<[$elem; 4]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn minus_product(self, a: Self, b: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] - a.0[i] * b.0[i]))
            }
            #[inline(always)]
            unsafe fn minus(self, other: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
            }
            #[inline(always)]
            unsafe fn plus_squared_difference(self, x: Self, c: Self) -> Self {
                Self(std::array::from_fn(|i| {
                    let difference = x.0[i] - c.0[i];
                    self.0[i] + difference * difference
                }))
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                Self(std::array::from_fn(|i| {
                    if self.0[i] < other.0[i] {
                        self.0[i]
                    } else {
                        other.0[i]
                    }
                }))
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                Self(std::array::from_fn(|i| {
                    if self.0[i] > other.0[i] {
                        self.0[i]
                    } else {
                        other.0[i]
                    }
                }))
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> [bool; 4] {
                std::array::from_fn(|i| self.0[i] < other.0[i])
            }
            #[expect(clippy::float_cmp, reason = "equality is what it tells")]
            #[inline(always)]
            unsafe fn equals(self, other: Self) -> bool {
                self.0 == other.0
            }
            #[inline(always)]
            unsafe fn select(mask: [bool; 4], yes: Self, no: Self) -> Self {
                Self(std::array::from_fn(|i| {
                    if mask[i] { yes.0[i] } else { no.0[i] }
                }))
            }
            #[inline(always)]
            unsafe fn bits(mask: [bool; 4]) -> u64 {
                mask.iter()
                    .rev()
                    .fold(0, |bits, &set| bits << 1 | u64::from(set))
            }
        }
    };
}

four!(f32);
four!(f64);

pub(super) fn screen<T: Element, const MARGINS: bool>(
    packed: &Packed<T>,
    source: &Source<'_, T>,
    scratch: &mut Scratch<T>,
) -> u64 {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { generic::screen::<T::Scalar, 2, MARGINS>(packed, source, scratch) }
}

pub(super) fn screen_groups<T: Element>(
    packed: &Packed<T>,
    groups: &Grouped<T>,
    source: &Source<'_, T>,
    labels: &[i32; BLOCK],
    scratch: &mut Scratch<T>,
) -> Screened {
    // SAFETY: plain Rust needs no instruction set; `Packed::screen_groups` has asserted how rows lie.
    unsafe { grouped::screen::<T::Scalar>(packed, groups, source, labels, scratch) }
}

pub(super) fn distances<T: Element>(
    work: &mut Distances<T>,
    source: &Source<'_, T>,
    centers: &[f64],
) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe {
        generic::fill_all::<T::Scalar>(source, &work.zero, &mut work.block);
        generic::distances::<<f64 as LanesOf>::Scalar, T, 2>(work, centers);
    }
}

pub(super) fn doubtful<T: Element>(labels: &[i32], margins: &[T], table: &[T], out: &mut [u64]) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { generic::doubtful::<T::Scalar>(labels, margins, table, out) }
}

pub(super) fn move_rows<T: Element>(
    table: &mut ExactTable,
    moving: &Moving<'_, '_, T>,
    moves: &[Move],
) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { generic::move_rows::<<f64 as LanesOf>::Scalar, T>(table, moving, moves) }
}

pub(super) fn own_distances<T: Element>(
    data: &Rows<'_, T>,
    first: usize,
    centers_and_labels: (&[f64], &[i32]),
    out: &mut [f64; BLOCK],
) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe {
        generic::own_distances::<<f64 as LanesOf>::Scalar, T>(data, first, centers_and_labels, out);
    }
}

/// The bits of the labels that are not the fresh ones.
#[inline]
pub(super) fn differing(labels: &[i32], fresh: &[i32; BLOCK]) -> u64 {
    let mut different = [0_u8; BLOCK];
    for (out, (a, b)) in different.iter_mut().zip(labels.iter().zip(fresh)) {
        *out = u8::from(a != b);
    }
    if different == [0; BLOCK] {
        return 0;
    }
    let mut bits = 0;
    for (i, &different) in different.iter().enumerate() {
        bits |= u64::from(different) << i;
    }
    bits
}
