//! The shell for NEON: 128-bit registers.

use std::arch::aarch64::{
    float32x4_t, float64x2_t, uint32x4_t, uint64x2_t, vaddq_f32, vaddq_f64, vbslq_f32, vbslq_f64,
    vceqq_f32, vceqq_f64, vcltq_f32, vcltq_f64, vdupq_n_f32, vdupq_n_f64, vfmsq_f32, vfmsq_f64,
    vgetq_lane_u32, vgetq_lane_u64, vld1q_f32, vld1q_f64, vmaxnmq_f32, vmaxnmq_f64, vminnmq_f32,
    vminnmq_f64, vmulq_f32, vmulq_f64, vst1q_f32, vst1q_f64, vsubq_f32, vsubq_f64,
};

use super::generic;
use super::lanes::{Lanes, LanesOf};
use crate::element::Element;

/// Four `f32`.
#[derive(Clone, Copy)]
pub struct F32(float32x4_t);

/// Two `f64`.
#[derive(Clone, Copy)]
pub struct F64(float64x2_t);

macro_rules! lanes {
    ($name:ident, $elem:ty, $width:literal, $mask:ty, $splat:ident, $load:ident, $store:ident, $fms:ident, $sub:ident, $add:ident, $mul:ident,
     $min:ident, $max:ident, $less:ident, $equal:ident, $select:ident, $lane:ident, $($i:literal),+) => {
        impl Lanes for $name {
            type Elem = $elem;
            type Mask = $mask;
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for NEON and for the reads.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for NEON and for the writes.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn minus_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $fms(self.0, a.0, b.0) })
            }
            #[inline(always)]
            unsafe fn minus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus_squared_difference(self, x: Self, c: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe {
                    let difference = $sub(x.0, c.0);
                    $add(self.0, $mul(difference, difference))
                })
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $mask {
                // SAFETY: the caller vouches for NEON.
                unsafe { $less(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn equals(self, other: Self) -> bool {
                // SAFETY: the caller vouches for NEON.
                unsafe {
                    let mask = $equal(self.0, other.0);
                    true $(&& $lane::<$i>(mask) != 0)+
                }
            }
            #[inline(always)]
            unsafe fn select(mask: $mask, yes: Self, no: Self) -> Self {
                // SAFETY: the caller vouches for NEON.
                Self(unsafe { $select(mask, yes.0, no.0) })
            }
            #[inline(always)]
            unsafe fn bits(mask: $mask) -> u64 {
                // SAFETY: the caller vouches for NEON.
                0 $(| u64::from(unsafe { $lane::<$i>(mask) } != 0) << $i)+
            }
        }
    };
}

lanes!(
    F32,
    f32,
    4,
    uint32x4_t,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vfmsq_f32,
    vsubq_f32,
    vaddq_f32,
    vmulq_f32,
    vminnmq_f32,
    vmaxnmq_f32,
    vcltq_f32,
    vceqq_f32,
    vbslq_f32,
    vgetq_lane_u32,
    0,
    1,
    2,
    3
);
lanes!(
    F64,
    f64,
    2,
    uint64x2_t,
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vfmsq_f64,
    vsubq_f64,
    vaddq_f64,
    vmulq_f64,
    vminnmq_f64,
    vmaxnmq_f64,
    vcltq_f64,
    vceqq_f64,
    vbslq_f64,
    vgetq_lane_u64,
    0,
    1
);

shell!(Neon, 4, 2, "neon");
