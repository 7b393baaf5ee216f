//! The shell for AVX2 and FMA: 256-bit registers.

use std::arch::x86_64::{
    __m256, __m256d, __m256i, _CMP_LT_OQ, _CMP_NEQ_UQ, _mm_add_ps, _mm_storeu_ps, _mm256_add_pd,
    _mm256_add_ps, _mm256_blendv_pd, _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_cmp_pd,
    _mm256_cmp_ps, _mm256_extractf128_ps, _mm256_fnmadd_pd, _mm256_fnmadd_ps, _mm256_hadd_pd,
    _mm256_hadd_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_pd,
    _mm256_maskload_ps, _mm256_max_pd, _mm256_max_ps, _mm256_min_pd, _mm256_min_ps,
    _mm256_movemask_pd, _mm256_movemask_ps, _mm256_mul_pd, _mm256_mul_ps, _mm256_permute2f128_pd,
    _mm256_permute2f128_ps, _mm256_set1_pd, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_storeu_pd,
    _mm256_storeu_ps, _mm256_sub_pd, _mm256_sub_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
    _mm256_unpacklo_pd, _mm256_unpacklo_ps,
};

use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Line, generic};
use crate::element::Element;

/// Eight `f32`.
#[derive(Clone, Copy)]
pub struct F32(__m256);

/// Four `f64`.
#[derive(Clone, Copy)]
pub struct F64(__m256d);

macro_rules! lanes {
    ($name:ident, $elem:ty, $width:literal, $register:ty, $splat:ident, $load:ident, $store:ident, $fnmadd:ident,
     $sub:ident, $add:ident, $mul:ident, $min:ident, $max:ident, $cmp:ident, $blend:ident, $movemask:ident, $transpose:ident, $load_first:ident, $sum_four:ident) => {
        impl Lanes for $name {
            type Elem = $elem;
            type Mask = $register;
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for AVX2 and for the reads; the load is unaligned.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $elem, count: usize) -> Self {
                // SAFETY: the caller's promises are those of the function called.
                Self(unsafe { $load_first(from, count) })
            }
            #[inline(always)]
            unsafe fn sum_four(registers: [Self; 4], to: *mut $elem) {
                // SAFETY: the caller vouches for AVX2 and for the writes.
                unsafe {
                    $sum_four(
                        [
                            registers[0].0,
                            registers[1].0,
                            registers[2].0,
                            registers[3].0,
                        ],
                        to,
                    )
                }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for AVX2 and for the writes; the store is unaligned.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn minus_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller vouches for FMA.
                Self(unsafe { $fnmadd(a.0, b.0, self.0) })
            }
            #[inline(always)]
            unsafe fn minus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus_squared_difference(self, x: Self, c: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe {
                    let difference = $sub(x.0, c.0);
                    $add(self.0, $mul(difference, difference))
                })
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $register {
                // SAFETY: the caller vouches for AVX2.
                unsafe { $cmp::<_CMP_LT_OQ>(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn equals(self, other: Self) -> bool {
                // SAFETY: the caller vouches for AVX2.
                unsafe { $movemask($cmp::<_CMP_NEQ_UQ>(self.0, other.0)) == 0 }
            }
            #[inline(always)]
            unsafe fn select(mask: $register, yes: Self, no: Self) -> Self {
                // SAFETY: the caller vouches for AVX2.
                Self(unsafe { $blend(no.0, yes.0, mask) })
            }
            #[inline(always)]
            unsafe fn bits(mask: $register) -> u64 {
                // SAFETY: the caller vouches for AVX2.
                u64::from(unsafe { $movemask(mask) }.cast_unsigned())
            }
            #[inline(always)]
            unsafe fn transpose(
                from: &[*const $elem],
                columns: (usize, usize),
                shift: &[$elem],
                to: &mut [Line<$elem>],
                lane: usize,
            ) {
                // SAFETY: the caller's promises are those of the function called.
                unsafe { $transpose(from, columns, shift, to, lane) }
            }
        }
    };
}

lanes!(
    F32,
    f32,
    8,
    __m256,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fnmadd_ps,
    _mm256_sub_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_movemask_ps,
    transpose_f32,
    load_first_f32,
    sum_four_f32
);
lanes!(
    F64,
    f64,
    4,
    __m256d,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fnmadd_pd,
    _mm256_sub_pd,
    _mm256_add_pd,
    _mm256_mul_pd,
    _mm256_min_pd,
    _mm256_max_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_movemask_pd,
    transpose_f64,
    load_first_f64,
    sum_four_f64
);

/// As [`Lanes::load_first`], of at most eight numbers.
///
/// # Safety
/// As [`Lanes::load_first`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_first_f32(from: *const f32, count: usize) -> __m256 {
    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(count <= 8);
    // SAFETY: the eight masks from 8 - count on lie within the table; the mask reads `count` numbers only.
    unsafe {
        let mask: __m256i = _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast());
        _mm256_maskload_ps(from, mask)
    }
}

/// As [`Lanes::load_first`], of at most four numbers.
///
/// # Safety
/// As [`Lanes::load_first`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_first_f64(from: *const f64, count: usize) -> __m256d {
    static MASKS: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];
    assert!(count <= 4);
    // SAFETY: the four masks from 4 - count on lie within the table; the mask reads `count` numbers only.
    unsafe {
        let mask: __m256i = _mm256_loadu_si256(MASKS.as_ptr().add(4 - count).cast());
        _mm256_maskload_pd(from, mask)
    }
}

/// As [`Lanes::sum_four`].
///
/// # Safety
/// As [`Lanes::sum_four`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_four_f32([a, b, c, d]: [__m256; 4], to: *mut f32) {
    let halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let high = _mm256_extractf128_ps::<1>(halves);
    // SAFETY: the caller vouches for four writes.
    unsafe { _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(halves), high)) };
}

/// As [`Lanes::sum_four`].
///
/// # Safety
/// As [`Lanes::sum_four`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_four_f64([a, b, c, d]: [__m256d; 4], to: *mut f64) {
    let (ab, cd) = (_mm256_hadd_pd(a, b), _mm256_hadd_pd(c, d));
    let all = _mm256_add_pd(
        _mm256_permute2f128_pd::<0x20>(ab, cd),
        _mm256_permute2f128_pd::<0x31>(ab, cd),
    );
    // SAFETY: the caller vouches for four writes.
    unsafe { _mm256_storeu_pd(to, all) };
}

/// As [`Lanes::transpose`], 8 × 8 in registers.
///
/// # Safety
/// As [`Lanes::transpose`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_f32(
    from: &[*const f32],
    (first, columns): (usize, usize),
    shift: &[f32],
    to: &mut [Line<f32>],
    lane: usize,
) {
    assert!(from.len() == 8 && columns <= 8 && lane + 8 <= BLOCK);
    let mut r: [_; 8] = std::array::from_fn(|i| {
        let row = from[i].wrapping_add(first);
        // SAFETY: the first `columns` numbers of a row alone are read.
        unsafe { load_first_f32(row, columns) }
    });
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..2 {
        r[4 * i] = _mm256_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm256_shuffle_ps::<0xee>(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm256_shuffle_ps::<0xee>(t[4 * i + 1], t[4 * i + 3]);
    }
    for i in 0..4 {
        t[i] = _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]);
        t[i + 4] = _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]);
    }
    for ((line, &shift), t) in to.iter_mut().zip(shift).zip(t).take(columns) {
        // SAFETY: lane + 8 <= BLOCK, the length of a line.
        unsafe {
            _mm256_storeu_ps(
                line.0.as_mut_ptr().add(lane),
                _mm256_sub_ps(t, _mm256_set1_ps(shift)),
            );
        }
    }
}

/// As [`Lanes::transpose`], 4 × 4 in registers.
///
/// # Safety
/// As [`Lanes::transpose`]; the CPU must have AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn transpose_f64(
    from: &[*const f64],
    (first, columns): (usize, usize),
    shift: &[f64],
    to: &mut [Line<f64>],
    lane: usize,
) {
    assert!(from.len() == 4 && columns <= 4 && lane + 4 <= BLOCK);
    let r: [_; 4] = std::array::from_fn(|i| {
        let row = from[i].wrapping_add(first);
        // SAFETY: the first `columns` numbers of a row alone are read.
        unsafe { load_first_f64(row, columns) }
    });
    let t = [
        _mm256_unpacklo_pd(r[0], r[1]),
        _mm256_unpackhi_pd(r[0], r[1]),
        _mm256_unpacklo_pd(r[2], r[3]),
        _mm256_unpackhi_pd(r[2], r[3]),
    ];
    let r = [
        _mm256_permute2f128_pd::<0x20>(t[0], t[2]),
        _mm256_permute2f128_pd::<0x20>(t[1], t[3]),
        _mm256_permute2f128_pd::<0x31>(t[0], t[2]),
        _mm256_permute2f128_pd::<0x31>(t[1], t[3]),
    ];
    for ((line, &shift), r) in to.iter_mut().zip(shift).zip(r).take(columns) {
        // SAFETY: lane + 4 <= BLOCK, the length of a line.
        unsafe {
            _mm256_storeu_pd(
                line.0.as_mut_ptr().add(lane),
                _mm256_sub_pd(r, _mm256_set1_pd(shift)),
            );
        }
    }
}

shell!(Avx2, 2, 2, "avx2,fma");
