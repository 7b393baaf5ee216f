//! The shell for AVX-512F: 512-bit registers.

use std::arch::x86_64::{
    __m512, __m512d, __mmask8, __mmask16, _CMP_LT_OQ, _CMP_NEQ_UQ, _mm_maskz_loadu_ps,
    _mm_storeu_ps, _mm256_castps_pd, _mm256_loadu_si256, _mm256_maskz_loadu_ps, _mm256_min_epu32,
    _mm256_set1_epi32, _mm256_storeu_pd, _mm256_storeu_si256, _mm512_add_pd, _mm512_add_ps,
    _mm512_castpd_ps, _mm512_castpd256_pd512, _mm512_castpd512_pd256, _mm512_castps_pd,
    _mm512_castps128_ps512, _mm512_castps512_ps128, _mm512_cmp_pd_mask, _mm512_cmp_ps_mask,
    _mm512_cmpneq_epi32_mask, _mm512_cvtepu32_epi64, _mm512_fnmadd_pd, _mm512_fnmadd_ps,
    _mm512_i32gather_ps, _mm512_insertf32x4, _mm512_insertf64x4, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_blend_pd, _mm512_mask_blend_ps, _mm512_maskz_loadu_pd,
    _mm512_maskz_loadu_ps, _mm512_max_pd, _mm512_max_ps, _mm512_min_epu32, _mm512_min_pd,
    _mm512_min_ps, _mm512_mul_pd, _mm512_mul_ps, _mm512_permutex2var_pd, _mm512_permutex2var_ps,
    _mm512_set1_epi32, _mm512_set1_pd, _mm512_set1_ps, _mm512_setr_pd, _mm512_shuffle_f32x4,
    _mm512_shuffle_f64x2, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_sub_pd, _mm512_sub_ps,
    _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Line, generic};
use crate::element::Element;

/// Sixteen `f32`.
#[derive(Clone, Copy)]
pub struct F32(pub(super) __m512);

/// Eight `f64`.
#[derive(Clone, Copy)]
pub struct F64(__m512d);

macro_rules! lanes {
    ($name:ident, $elem:ty, $width:literal, $mask:ty, $splat:ident, $load:ident, $store:ident, $fnmadd:ident,
     $sub:ident, $add:ident, $mul:ident, $min:ident, $max:ident, $cmp:ident, $blend:ident, $transpose:ident, $doubtful:ident,
     $maskz_load:ident, $sum_four:ident, $narrow:literal, $part:ident, { $($own:tt)* }) => {
        impl Lanes for $name {
            type Elem = $elem;
            type Mask = $mask;
            const WIDTH: usize = $width;
            const NARROW: usize = $narrow;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for AVX-512F and for the reads; the load is unaligned.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $elem, count: usize) -> Self {
                let mask = <$mask>::MAX >> ($width - count);
                // SAFETY: the caller vouches for AVX-512F and for the reads, no more than the mask has bits.
                Self(unsafe { $maskz_load(mask, from) })
            }
            #[inline(always)]
            unsafe fn sum_four(registers: [Self; 4], to: *mut $elem) {
                // SAFETY: the caller vouches for AVX-512F and for the writes.
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
                // SAFETY: the caller vouches for AVX-512F and for the writes; the store is unaligned.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn minus_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $fnmadd(a.0, b.0, self.0) })
            }
            #[inline(always)]
            unsafe fn minus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn plus_squared_difference(self, x: Self, c: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe {
                    let difference = $sub(x.0, c.0);
                    $add(self.0, $mul(difference, difference))
                })
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $mask {
                // SAFETY: the caller vouches for AVX-512F.
                unsafe { $cmp::<_CMP_LT_OQ>(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn equals(self, other: Self) -> bool {
                // SAFETY: the caller vouches for AVX-512F.
                unsafe { $cmp::<_CMP_NEQ_UQ>(self.0, other.0) == 0 }
            }
            #[inline(always)]
            unsafe fn select(mask: $mask, yes: Self, no: Self) -> Self {
                // SAFETY: the caller vouches for AVX-512F.
                Self(unsafe { $blend(mask, no.0, yes.0) })
            }
            #[inline(always)]
            unsafe fn bits(mask: $mask) -> u64 {
                u64::from(mask)
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
            #[inline(always)]
            unsafe fn part<const D: usize>(
                from: *const $elem,
                shift: &[$elem],
                to: &mut [Line<$elem>],
                lane: usize,
            ) {
                // SAFETY: the caller's promises are those of the function called.
                unsafe { $part::<D>(from, shift, to, lane) }
            }
            #[inline(always)]
            unsafe fn doubtful(
                labels: &[[i32; BLOCK]],
                margins: &[[$elem; BLOCK]],
                table: &[$elem],
                out: &mut [u64],
            ) {
                // SAFETY: the caller vouches for AVX-512F.
                unsafe { $doubtful(labels, margins, table, out) }
            }

            $($own)*
        }
    };
}

lanes!(
    F32,
    f32,
    16,
    __mmask16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fnmadd_ps,
    _mm512_sub_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    transpose_f32,
    doubtful_f32,
    _mm512_maskz_loadu_ps,
    sum_four_f32,
    7,
    part_f32,
    {}
);
lanes!(
    F64,
    f64,
    8,
    __mmask8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fnmadd_pd,
    _mm512_sub_pd,
    _mm512_add_pd,
    _mm512_mul_pd,
    _mm512_min_pd,
    _mm512_max_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    transpose_f64,
    doubtful_f64,
    _mm512_maskz_loadu_pd,
    sum_four_f64,
    5,
    part_f64,
    {
        #[inline(always)]
        unsafe fn add_in_order(registers: [Self; 8], count: usize, sums: &mut [f64; 8]) {
            // SAFETY: the caller vouches for AVX-512F.
            unsafe { add_in_order_f64(&registers, count, sums) }
        }
    }
);

/// As [`Lanes::transpose`]: eight or four columns at a time, so that rows are brought together as they are read, which saves
/// a half or a quarter of the shuffles.
///
/// # Safety
/// As [`Lanes::transpose`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn transpose_f32(
    from: &[*const f32],
    (first, columns): (usize, usize),
    shift: &[f32],
    to: &mut [Line<f32>],
    lane: usize,
) {
    assert!(from.len() == 16 && (1..=16).contains(&columns) && lane + 16 <= BLOCK);
    let mut done = 0;
    while done < columns {
        let count = (columns - done).min(8);
        let at = |i: usize| from[i].wrapping_add(first + done);
        let (shift, to) = (&shift[done..], &mut to[done..]);
        // SAFETY: the masks read the next `count` numbers of a row only; lane + 16 <= BLOCK, the length of a line.
        unsafe {
            if count > 4 {
                let mask = u8::MAX >> (8 - count);
                let halves = std::array::from_fn(|i| {
                    let i = i / 4 * 8 + i % 4;
                    let low = _mm256_maskz_loadu_ps(mask, at(i));
                    let high = _mm256_maskz_loadu_ps(mask, at(i + 4));
                    let low = _mm512_castpd256_pd512(_mm256_castps_pd(low));
                    _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high)))
                });
                shift_to(eight_columns(&halves), count, shift, to, lane);
            } else {
                let mask = u8::MAX >> (8 - count);
                let quarters = std::array::from_fn(|i| {
                    let row = _mm512_castps128_ps512(_mm_maskz_loadu_ps(mask, at(i)));
                    let row = _mm512_insertf32x4::<1>(row, _mm_maskz_loadu_ps(mask, at(i + 4)));
                    let row = _mm512_insertf32x4::<2>(row, _mm_maskz_loadu_ps(mask, at(i + 8)));
                    _mm512_insertf32x4::<3>(row, _mm_maskz_loadu_ps(mask, at(i + 12)))
                });
                shift_to(four_columns(quarters), count, shift, to, lane);
            }
        }
        done += count;
    }
}

/// Writes the first `count` columns, less the shift, to a line each.
///
/// # Safety
/// `lane` + 16 must not exceed the length of a line; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn shift_to<const C: usize>(
    columns: [__m512; C],
    count: usize,
    shift: &[f32],
    to: &mut [Line<f32>],
    lane: usize,
) {
    assert!(shift.len() >= count && to.len() >= count);
    for (j, column) in columns.into_iter().enumerate() {
        if j < count {
            // SAFETY: the caller vouches for the place in the line.
            unsafe {
                let shift = _mm512_set1_ps(shift[j]);
                let to = to[j].0.as_mut_ptr().add(lane);
                _mm512_storeu_ps(to, _mm512_sub_ps(column, shift));
            }
        }
    }
}

/// Of registers whose quarters hold four columns of rows i, i + 4, i + 8 and i + 12: the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn four_columns(r: [__m512; 4]) -> [__m512; 4] {
    let low = [
        _mm512_unpacklo_ps(r[0], r[1]),
        _mm512_unpacklo_ps(r[2], r[3]),
    ];
    let high = [
        _mm512_unpackhi_ps(r[0], r[1]),
        _mm512_unpackhi_ps(r[2], r[3]),
    ];
    let ([a, b], [c, d]) = (
        low.map(|r| _mm512_castps_pd(r)),
        high.map(|r| _mm512_castps_pd(r)),
    );
    [
        _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
        _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)),
    ]
}

/// Of registers whose halves hold eight columns of rows i and i + 4, in the last four i + 8 and i + 12: the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn eight_columns(r: &[__m512; 8]) -> [__m512; 8] {
    // Quarters of column q and q + 4 take turns.
    let upper = four_columns([r[0], r[1], r[2], r[3]]);
    let lower = four_columns([r[4], r[5], r[6], r[7]]);
    let mut columns = *r;
    for q in 0..4 {
        columns[q] = _mm512_shuffle_f32x4::<0x88>(upper[q], lower[q]);
        columns[4 + q] = _mm512_shuffle_f32x4::<0xdd>(upper[q], lower[q]);
    }
    columns
}

/// Sixteen registers of 32-bit lanes, whatever these hold, with lane i of register j as lane j of register i.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn transposed(mut r: [__m512; 16]) -> [__m512; 16] {
    // Pairs, then quadruples of rows, within 128-bit quarters.
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        let [a, b, c, d] =
            [t[4 * i], t[4 * i + 2], t[4 * i + 1], t[4 * i + 3]].map(|t| _mm512_castps_pd(t));
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    // r[4 i + q] holds columns q, q + 4, q + 8, q + 12 of rows 4 i .. 4 i + 4: gather the quarters.
    for q in 0..4 {
        for half in 0..2 {
            let (a, b) = (r[8 * half + q], r[8 * half + 4 + q]);
            t[8 * half + q] = _mm512_shuffle_f32x4::<0x88>(a, b);
            t[8 * half + 4 + q] = _mm512_shuffle_f32x4::<0xdd>(a, b);
        }
    }
    for q in 0..4 {
        r[q] = _mm512_shuffle_f32x4::<0x88>(t[q], t[8 + q]);
        r[8 + q] = _mm512_shuffle_f32x4::<0xdd>(t[q], t[8 + q]);
        r[4 + q] = _mm512_shuffle_f32x4::<0x88>(t[4 + q], t[12 + q]);
        r[12 + q] = _mm512_shuffle_f32x4::<0xdd>(t[4 + q], t[12 + q]);
    }
    r
}

/// As [`Lanes::transpose`], 8 × 8 in registers.
///
/// # Safety
/// As [`Lanes::transpose`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn transpose_f64(
    from: &[*const f64],
    (first, columns): (usize, usize),
    shift: &[f64],
    to: &mut [Line<f64>],
    lane: usize,
) {
    assert!(from.len() == 8 && (1..=8).contains(&columns) && lane + 8 <= BLOCK);
    let mask = u8::MAX >> (8 - columns);
    let r: [_; 8] = std::array::from_fn(|i| {
        let row = from[i].wrapping_add(first);
        // SAFETY: the mask reads the first `columns` numbers of a row only.
        unsafe { _mm512_maskz_loadu_pd(mask, row) }
    });
    for ((line, &shift), r) in to
        .iter_mut()
        .zip(shift)
        .zip(transposed_wide(r))
        .take(columns)
    {
        // SAFETY: lane + 8 <= BLOCK, the length of a line.
        unsafe {
            _mm512_storeu_pd(
                line.0.as_mut_ptr().add(lane),
                _mm512_sub_pd(r, _mm512_set1_pd(shift)),
            );
        }
    }
}

/// Eight registers of 64-bit lanes with lane i of register j as lane j of register i.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn transposed_wide(mut r: [__m512d; 8]) -> [__m512d; 8] {
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
    }
    // t[2 i + p] holds columns p, p + 2, p + 4, p + 6 of rows 2 i and 2 i + 1: gather the quarters.
    for p in 0..2 {
        let low_even = _mm512_shuffle_f64x2::<0x88>(t[p], t[2 + p]);
        let low_odd = _mm512_shuffle_f64x2::<0xdd>(t[p], t[2 + p]);
        let high_even = _mm512_shuffle_f64x2::<0x88>(t[4 + p], t[6 + p]);
        let high_odd = _mm512_shuffle_f64x2::<0xdd>(t[4 + p], t[6 + p]);
        r[p] = _mm512_shuffle_f64x2::<0x88>(low_even, high_even);
        r[4 + p] = _mm512_shuffle_f64x2::<0xdd>(low_even, high_even);
        r[2 + p] = _mm512_shuffle_f64x2::<0x88>(low_odd, high_odd);
        r[6 + p] = _mm512_shuffle_f64x2::<0xdd>(low_odd, high_odd);
    }
    r
}

/// As [`Lanes::add_in_order`]: transposed, lanes of the same place are one register.
///
/// # Safety
/// The CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn add_in_order_f64(registers: &[F64; 8], count: usize, sums: &mut [f64; 8]) {
    let columns = transposed_wide(std::array::from_fn(|i| registers[i].0));
    // SAFETY: there are eight sums.
    let mut sum = unsafe { _mm512_loadu_pd(sums.as_ptr()) };
    for (j, column) in columns.into_iter().enumerate() {
        if j < count {
            sum = _mm512_add_pd(sum, column);
        }
    }
    // SAFETY: there are eight sums.
    unsafe { _mm512_storeu_pd(sums.as_mut_ptr(), sum) };
}

/// Where the columns come from, when W rows of D features lie in D registers of W numbers.
struct Sources<const W: usize, const D: usize>;

impl<const W: usize, const D: usize> Sources<W, D> {
    /// For each column and each register but the first: for each lane a lane of what was found so far, or with W added one of
    /// that register.
    const NARROW: [[[i32; W]; D]; D] = Self::table();
    /// The same for wider lanes.
    const WIDE: [[[i64; W]; D]; D] = {
        let mut table = [[[0; W]; D]; D];
        let mut at = 0;
        while at < D * D * W {
            let (column, step, lane) = (at / W / D, at / W % D, at % W);
            table[column][step][lane] = Self::NARROW[column][step][lane] as i64;
            at += 1;
        }
        table
    };

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 2 W"
    )]
    const fn table() -> [[[i32; W]; D]; D] {
        let mut table = [[[0; W]; D]; D];
        let mut at = 0;
        while at < D * D * W {
            let (column, step, lane) = (at / W / D, at / W % D, at % W);
            let place = lane * D + column;
            let from = if place / W == step + 1 {
                W + place % W
            } else if step == 0 && place < W {
                place
            } else {
                lane
            };
            table[column][step][lane] = from as i32;
            at += 1;
        }
        table
    }
}

/// As [`Lanes::part`]: each column is picked from one register after the other.
///
/// # Safety
/// As [`Lanes::part`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn part_f32<const D: usize>(
    from: *const f32,
    shift: &[f32],
    to: &mut [Line<f32>],
    lane: usize,
) {
    const WIDTH: usize = 16;
    assert!(shift.len() >= D && to.len() >= D && lane + WIDTH <= BLOCK);
    // SAFETY: the caller vouches for D registers of numbers.
    let rows: [_; D] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(from.add(i * WIDTH)) });
    for j in 0..D {
        let mut column = rows[0];
        for (step, &next) in rows[1..].iter().enumerate() {
            let index = &Sources::<WIDTH, D>::NARROW[j][step];
            // SAFETY: the index has sixteen entries.
            let index = unsafe { _mm512_loadu_si512(index.as_ptr().cast()) };
            column = _mm512_permutex2var_ps(column, index, next);
        }
        // SAFETY: lane + WIDTH <= BLOCK, the length of a line.
        unsafe {
            let column = _mm512_sub_ps(column, _mm512_set1_ps(shift[j]));
            _mm512_storeu_ps(to[j].0.as_mut_ptr().add(lane), column);
        }
    }
}

/// As [`Lanes::part`]: each column is picked from one register after the other.
///
/// # Safety
/// As [`Lanes::part`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn part_f64<const D: usize>(
    from: *const f64,
    shift: &[f64],
    to: &mut [Line<f64>],
    lane: usize,
) {
    const WIDTH: usize = 8;
    assert!(shift.len() >= D && to.len() >= D && lane + WIDTH <= BLOCK);
    // SAFETY: the caller vouches for D registers of numbers.
    let rows: [_; D] = std::array::from_fn(|i| unsafe { _mm512_loadu_pd(from.add(i * WIDTH)) });
    for j in 0..D {
        let mut column = rows[0];
        for (step, &next) in rows[1..].iter().enumerate() {
            let index = &Sources::<WIDTH, D>::WIDE[j][step];
            // SAFETY: the index has eight entries.
            let index = unsafe { _mm512_loadu_si512(index.as_ptr().cast()) };
            column = _mm512_permutex2var_pd(column, index, next);
        }
        // SAFETY: lane + WIDTH <= BLOCK, the length of a line.
        unsafe {
            let column = _mm512_sub_pd(column, _mm512_set1_pd(shift[j]));
            _mm512_storeu_pd(to[j].0.as_mut_ptr().add(lane), column);
        }
    }
}

/// As [`Lanes::sum_four`]: pairs, then quadruples within 128-bit quarters, which then hold a sum of each register.
///
/// # Safety
/// As [`Lanes::sum_four`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn sum_four_f32([a, b, c, d]: [__m512; 4], to: *mut f32) {
    let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let (ab, cd) = (_mm512_castps_pd(pair(a, b)), _mm512_castps_pd(pair(c, d)));
    let quarters = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
    );
    let halves = _mm512_add_ps(
        quarters,
        _mm512_shuffle_f32x4::<0b0000_1110>(quarters, quarters),
    );
    let all = _mm512_add_ps(halves, _mm512_shuffle_f32x4::<0b0000_0001>(halves, halves));
    // SAFETY: the caller vouches for four writes.
    unsafe { _mm_storeu_ps(to, _mm512_castps512_ps128(all)) };
}

/// As [`Lanes::sum_four`].
///
/// # Safety
/// As [`Lanes::sum_four`]; the CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn sum_four_f64([a, b, c, d]: [__m512d; 4], to: *mut f64) {
    let pair = |a, b| _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
    let (ab, cd) = (pair(a, b), pair(c, d));
    let halves = _mm512_add_pd(
        _mm512_shuffle_f64x2::<0b0100_0100>(ab, cd),
        _mm512_shuffle_f64x2::<0b1110_1110>(ab, cd),
    );
    // The quarters are now ab, ab, cd, cd.
    let all = _mm512_add_pd(halves, _mm512_shuffle_f64x2::<0b1111_0101>(halves, halves));
    let both = _mm512_shuffle_f64x2::<0b0000_1000>(all, all);
    // SAFETY: the caller vouches for four writes.
    unsafe { _mm256_storeu_pd(to, _mm512_castpd512_pd256(both)) };
}

/// As [`Lanes::doubtful`]; a table of at most two registers is looked up in registers.
///
/// # Safety
/// The CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn doubtful_f32(
    labels: &[[i32; BLOCK]],
    margins: &[[f32; BLOCK]],
    table: &[f32],
    out: &mut [u64],
) {
    const WIDTH: usize = 16;
    let Some(last) = table.len().checked_sub(1) else {
        return out.fill(u64::MAX);
    };
    let mut held = [0.0_f32; 2 * WIDTH];
    let small = table.len() <= held.len();
    if small {
        held[..table.len()].copy_from_slice(table);
    }
    // SAFETY: `held` has 2 × WIDTH entries.
    let (low, high) = unsafe {
        (
            _mm512_loadu_ps(held.as_ptr()),
            _mm512_loadu_ps(held.as_ptr().add(WIDTH)),
        )
    };
    let last = _mm512_set1_epi32(i32::try_from(last).unwrap_or(i32::MAX));
    for (out, (labels, margins)) in out.iter_mut().zip(labels.iter().zip(margins)) {
        let mut sure = 0;
        for lane in (0..BLOCK).step_by(WIDTH) {
            // SAFETY: lane + WIDTH <= BLOCK, the number of labels and margins.
            let (index, margin) = unsafe {
                (
                    _mm512_loadu_si512(labels.as_ptr().add(lane).cast()),
                    _mm512_loadu_ps(margins.as_ptr().add(lane)),
                )
            };
            let index = _mm512_min_epu32(index, last);
            let drift = if small {
                _mm512_permutex2var_ps(low, index, high)
            } else {
                // SAFETY: no index is greater than that of the last entry.
                unsafe { _mm512_i32gather_ps::<4>(index, table.as_ptr()) }
            };
            sure |= u64::from(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(drift, margin)) << lane;
        }
        *out = !sure;
    }
}

/// As [`Lanes::doubtful`]; a table of at most two registers is looked up in registers.
///
/// # Safety
/// The CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
unsafe fn doubtful_f64(
    labels: &[[i32; BLOCK]],
    margins: &[[f64; BLOCK]],
    table: &[f64],
    out: &mut [u64],
) {
    const WIDTH: usize = 8;
    let Some(last) = table.len().checked_sub(1) else {
        return out.fill(u64::MAX);
    };
    let mut held = [0.0_f64; 2 * WIDTH];
    let small = table.len() <= held.len();
    if small {
        held[..table.len()].copy_from_slice(table);
    }
    // SAFETY: `held` has 2 × WIDTH entries.
    let (low, high) = unsafe {
        (
            _mm512_loadu_pd(held.as_ptr()),
            _mm512_loadu_pd(held.as_ptr().add(WIDTH)),
        )
    };
    let last = _mm256_set1_epi32(i32::try_from(last).unwrap_or(i32::MAX));
    for (out, (labels, margins)) in out.iter_mut().zip(labels.iter().zip(margins)) {
        let mut sure = 0;
        for lane in (0..BLOCK).step_by(WIDTH) {
            // SAFETY: lane + WIDTH <= BLOCK, the number of labels and margins.
            let (index, margin) = unsafe {
                (
                    _mm256_loadu_si256(labels.as_ptr().add(lane).cast()),
                    _mm512_loadu_pd(margins.as_ptr().add(lane)),
                )
            };
            let index = _mm256_min_epu32(index, last);
            let drift = if small {
                _mm512_permutex2var_pd(low, _mm512_cvtepu32_epi64(index), high)
            } else {
                let mut places = [0_u32; WIDTH];
                // SAFETY: there is room for all places, none of which is greater than that of the last entry.
                unsafe {
                    _mm256_storeu_si256(places.as_mut_ptr().cast(), index);
                    let [a, b, c, d, e, f, g, h] =
                        places.map(|place| *table.get_unchecked(place as usize));
                    _mm512_setr_pd(a, b, c, d, e, f, g, h)
                }
            };
            sure |= u64::from(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(drift, margin)) << lane;
        }
        *out = !sure;
    }
}

/// The bits of the labels that are not the fresh ones.
///
/// # Safety
/// The CPU must have AVX-512F.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) unsafe fn differing(labels: &[i32; BLOCK], fresh: &[i32; BLOCK]) -> u64 {
    const WIDTH: usize = 16;
    let mut different = 0;
    for lane in (0..BLOCK).step_by(WIDTH) {
        // SAFETY: lane + WIDTH <= BLOCK, the number of both.
        let (labels, fresh) = unsafe {
            (
                _mm512_loadu_si512(labels.as_ptr().add(lane).cast()),
                _mm512_loadu_si512(fresh.as_ptr().add(lane).cast()),
            )
        };
        different |= u64::from(_mm512_cmpneq_epi32_mask(labels, fresh)) << lane;
    }
    different
}

shell!(Avx512, 4, 4, "avx512f,avx512vl");
