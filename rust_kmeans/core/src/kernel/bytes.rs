//! Screening in whole numbers of a byte: a first look at many centers of wide rows, four times as fast as float32 and exact
//! all the same, because what it leaves undecided is scored again in the type of the data.
//!
//! With AVX-512 VNNI one instruction multiplies 64 pairs of bytes, where the float32 kernel multiplies 16 pairs of numbers.
//! A row x and a center c, both less the shift, are approximated by x̂ = s·q and ĉ = t·p with whole numbers |q|, |p| ≤ 127; s is
//! the row's own, t that of all centers. The products q·p are exact. One instruction takes unsigned times signed bytes,
//! so q + 128 is stored, and the sum starts at −128·Σp.
//!
//! # The bound
//! By Cauchy–Schwarz |x·c − x̂·ĉ| ≤ ‖x − x̂‖·‖c‖ + ‖x̂‖·‖c − ĉ‖, in which ‖x − x̂‖ is computed for each row and ‖c − ĉ‖ for each
//! center. Together with the rounding of the score ½‖c‖² − s·t·(q·p), four operations in float32, and with the bound of
//! [`super`] for scores in the type of the data and for the float64 distances that define labels, that is E: no score is farther
//! from its true value. With b the least score of a row, no center whose score is above b + 2·E is its nearest or as near. If
//! one center is left, it is the label. If several are, these alone are scored along the row as in [`super::along`], and the
//! proof is that of [`super`], among them. For margins all centers up to the second least score and 2·E are scored: the two
//! nearest are among them, and every other one is at least as far as the second.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _mm_storeu_si128, _mm512_abs_ps, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_maskz_div_ps, _mm512_max_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_ps,
};

use super::along::{Centers, Four, ROWS};
use super::avx512::{F32, transposed};
use super::generic::{Ahead, Running};
use super::lanes::Lanes;
use super::{BLOCK, GROUP, Line, Packed, Scratch, WIDEST, padded};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::view::Source;

/// Least numbers of features and centers: below, a row takes longer to turn into bytes than is saved.
const LEAST_FEATURES: usize = 64;
const LEAST_CENTERS: usize = 48;
/// Most features: sums of so many products of bytes stay within 32 bits.
const MOST_FEATURES: usize = 1 << 15;
/// Features in one lane of the instruction.
const FOUR: usize = 4;
/// Largest whole number, and what is added to make it positive.
const LARGEST: f32 = 127.0;
const OFFSET: i32 = 128;
/// One and a half times 2²³: a number of at most 2²² added to it is rounded to a whole one, which its lowest bits then are.
const ROUNDING: f32 = 12_582_912.0;
/// Registers of samples.
const M: usize = BLOCK / WIDEST;
/// Of so many pairs of a block one may be left to be scored again, beside two a row: with more the first look has not paid.
const LEFT: usize = 24;
/// Most blocks that go without a first look after one where it has not paid.
const LONGEST_REST: usize = 64;

/// Whether rows of `d` features are looked at this way against `k` centers.
pub(super) fn is_faster(k: usize, d: usize) -> bool {
    k >= LEAST_CENTERS && (LEAST_FEATURES..=MOST_FEATURES).contains(&d)
}

/// How many pairs of a block and `k` centers may be left.
fn most_left(k: usize) -> usize {
    BLOCK * (k / LEFT + 2)
}

/// What screening a row costs, in scores computed in the type of the data: a quarter of the products, some operations a center
/// and more a feature.
pub(super) fn pairs_a_row(k: usize, d: usize) -> usize {
    (k * (d / FOUR + 8) + 16 * d) / d
}

/// The centers as bytes.
#[derive(Debug)]
pub(super) struct Bytes {
    /// Groups of six centers, by four features at a time; what is beyond the last center or feature is 0.
    centers: Vec<[[i8; FOUR]; GROUP]>,
    /// −128·Σp and ½‖c‖² of each center of a group.
    starts: Vec<[i32; GROUP]>,
    half: Vec<f32>,
    /// t.
    unit: f32,
    /// Upper bounds of ‖c‖ and ‖c − ĉ‖.
    largest: f64,
    error: f64,
    /// Whether float32 holds all that is computed.
    in_range: bool,
}

impl Bytes {
    /// Whether rows whose features lie so far apart can be looked at.
    pub(super) fn are_fit_for(&self, across: isize) -> bool {
        self.in_range && across == 1
    }

    /// Room for `k` centers of `d` features.
    pub(super) fn new(k: usize, d: usize) -> Result<Self> {
        let what = "the centers";
        let (groups, steps) = (k.div_ceil(GROUP), d.div_ceil(FOUR));
        Ok(Self {
            centers: try_vec(what, groups * steps, [[0; FOUR]; GROUP])?,
            starts: try_vec(what, groups, [0; GROUP])?,
            half: try_vec(what, k, 0.0)?,
            unit: 0.0,
            largest: 0.0,
            error: 0.0,
            in_range: false,
        })
    }

    /// Takes centers (row-major) less the shift; the norm of a row less the shift is at most `reach`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to float32 and to whole numbers of a byte is the purpose"
    )]
    pub(super) fn load<T: Element>(&mut self, centers: &[f64], shift: &[T], reach: f64) {
        let d = centers.len() / self.half.len();
        let steps = d.div_ceil(FOUR);
        let less = |center: &[f64], j: usize| center[j] - shift[j].into();
        let mut most = 0.0_f64;
        for center in centers.chunks_exact(d) {
            for j in 0..d {
                most = most.max(less(center, j).abs());
            }
        }
        self.unit = (most / f64::from(LARGEST)) as f32;
        let (unit, inverse) = (f64::from(self.unit), f64::from(LARGEST) / most);
        let (mut largest, mut error) = (0.0_f64, 0.0_f64);
        for (i, center) in centers.chunks_exact(d).enumerate() {
            let (group, at) = (i / GROUP, i % GROUP);
            let places = &mut self.centers[group * steps..(group + 1) * steps];
            let (mut squares, mut errors, mut sum) = (0.0, 0.0, 0);
            for j in 0..d {
                let c = less(center, j);
                // Not a number where all centers are the same: 0.
                let p = (c * inverse).round_ties_even() as i8;
                places[j / FOUR][at][j % FOUR] = p;
                let rest = c - unit * f64::from(p);
                squares += c * c;
                errors += rest * rest;
                sum += i32::from(p);
            }
            self.starts[group][at] = -OFFSET * sum;
            self.half[i] = (0.5 * squares) as f32;
            largest = largest.max(squares);
            error = error.max(errors);
        }
        self.largest = largest.sqrt() * 1.001;
        self.error = error.sqrt() * 1.001;
        // Nothing overflows, and what a CPU set to flush subnormal numbers loses of a row's squares or of s·t is far less
        // than the least E of centers this large.
        let range = f64::from(f32::MIN_POSITIVE).sqrt() * 1e10..f64::from(f32::MAX).sqrt() / 1e3;
        self.in_range = range.contains(&self.largest) && range.contains(&reach);
    }

    /// E without the bound for the type of the data, from upper bounds of the norms of a row and of what its bytes leave out.
    fn error(&self, norm: f64, rest: f64) -> f64 {
        let rounding = f64::from(f32::EPSILON) * 4.0;
        let reach = norm + rest;
        rest * self.largest
            + reach * self.error
            + rounding * (0.5 * self.largest * self.largest + reach * (self.largest + self.error))
    }
}

/// Room for one block.
#[derive(Debug)]
pub(super) struct Room {
    /// Sixteen rows as bytes, each filled up to whole registers.
    rows: Vec<[u8; WIDEST]>,
    /// The block: a line for each four features.
    block: Vec<Line<[u8; FOUR]>>,
    /// A line a center.
    scores: Vec<Line<f32>>,
    factors: Line<f32>,
    /// Upper bounds of the norms of the rows and of what their bytes leave out, squared.
    squares: Line<f32>,
    rests: Line<f32>,
    best: Line<f32>,
    second: Line<f32>,
    indices: Line<f32>,
    /// Pairs of a row of the block and a center that are left.
    left: Vec<(u8, u32)>,
    /// Blocks to go without a first look, and how many there will be after the next failure.
    resting: usize,
    rest: usize,
}

impl Room {
    /// For `k` centers of `d` features.
    pub(super) fn new(k: usize, d: usize) -> Result<Self> {
        let what = "a block of samples";
        let zero = Line([0.0; BLOCK]);
        let registers = padded(d).div_ceil(WIDEST * FOUR) * FOUR;
        Ok(Self {
            rows: try_vec(what, WIDEST * registers, [0; WIDEST])?,
            block: try_vec(what, registers * FOUR, Line([[0; FOUR]; BLOCK]))?,
            scores: try_vec("a block of scores", k, zero)?,
            factors: zero,
            squares: zero,
            rests: zero,
            best: zero,
            second: zero,
            indices: zero,
            left: try_vec(what, most_left(k) + BLOCK, (0, 0))?,
            resting: 0,
            rest: 1,
        })
    }

    /// Forgets how blocks before have fared, so that the work on those to come does not depend on which they were.
    pub(super) fn restart(&mut self) {
        (self.resting, self.rest) = (0, 1);
    }
}

/// As [`super::generic::screen`], with every label proven; `false`, with nothing found, where the rows or centers are not fit for
/// it or too many centers are left.
///
/// # Safety
/// The CPU must have AVX-512F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn screen<T: Element, const MARGINS: bool>(
    packed: &Packed<T>,
    source: &Source<'_, T>,
    scratch: &mut Scratch<T>,
) -> bool {
    let Some(bytes) = &packed.bytes else {
        return false;
    };
    if !bytes.are_fit_for(source.across()) || source.columns() != packed.d {
        return false;
    }
    let Some(mut room) = scratch.bytes.take() else {
        return false;
    };
    // SAFETY: the caller vouches for the instruction set.
    let found = unsafe { look::<T, MARGINS>((packed, bytes), source, &mut room, scratch) };
    scratch.bytes = Some(room);
    found
}

/// [`screen`], with room to work in, for rows that are fit for it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn look<T: Element, const MARGINS: bool>(
    (packed, bytes): (&Packed<T>, &Bytes),
    source: &Source<'_, T>,
    room: &mut Room,
    scratch: &mut Scratch<T>,
) -> bool {
    if room.resting > 0 {
        room.resting -= 1;
        return false;
    }
    let rows = source.len().min(BLOCK);
    // SAFETY: `screen` has checked that rows have d numbers one after the other.
    unsafe { fill(packed, source, rows, room) };
    score((packed.k, packed.d), bytes, source, room);
    let (bounds, limits, unclear) = limits::<T, MARGINS>((packed, bytes), rows, room);
    let Some(count) = leftover(packed.k, &limits, unclear, room) else {
        room.resting = room.rest;
        room.rest = (room.rest * 2).min(LONGEST_REST);
        return false;
    };
    for (index, &found) in scratch.indices.0.iter_mut().zip(&room.indices.0) {
        *index = T::from_index(found.to_index());
    }
    if unclear == 0 {
        return true;
    }
    // SAFETY: the caller vouches for the instruction set.
    unsafe { again::<T, MARGINS>(packed, source, &room.left[..count], scratch) };
    if MARGINS {
        let Scratch {
            best,
            second,
            negated,
            margins,
            ..
        } = &mut *scratch;
        (packed.margin).margins((&best.0, &second.0), &negated.0, &mut margins.0);
    }
    let mut undecided = unclear;
    while undecided != 0 {
        let i = undecided.trailing_zeros() as usize;
        undecided &= undecided - 1;
        let gap = scratch.second.0[i].minus(scratch.best.0[i]);
        if gap.into() > bounds[i] {
            continue;
        }
        // SAFETY: `screen` has checked that the row has d numbers one after the other.
        let row = unsafe { std::slice::from_raw_parts(source.row(i), packed.d) };
        scratch.indices.0[i] = T::from_index(decided(packed, (i, row), &room.left[..count]));
        scratch.margins.0[i] = T::from_f64(f64::NEG_INFINITY);
    }
    true
}

/// The nearest of the centers that are left for a row, by the distance that defines labels. All others are farther by it.
fn decided<T: Element>(packed: &Packed<T>, (i, row): (usize, &[T]), left: &[(u8, u32)]) -> u32 {
    let mut nearest = (f64::INFINITY, 0);
    for &(_, center) in left.iter().filter(|pair| usize::from(pair.0) == i) {
        let values = &packed.exact[center as usize * packed.d..][..packed.d];
        let mut distance = 0.0;
        for (&x, &c) in row.iter().zip(values) {
            let difference = x.into() - c;
            distance += difference * difference;
        }
        if distance < nearest.0 {
            nearest = (distance, center);
        }
    }
    nearest.1
}

/// Writes the block: the bytes of each row, their factor, and the sums of squares of the row and of what they leave out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn fill<T: Element>(
    packed: &Packed<T>,
    source: &Source<'_, T>,
    rows: usize,
    room: &mut Room,
) {
    let d = packed.d;
    let shift = packed.shift.as_chunks::<WIDEST>().0;
    let width = room.rows.len() / WIDEST;
    assert!(shift.len() == d.div_ceil(WIDEST) && shift.len() <= width);
    assert!(room.block.len() * FOUR == width * WIDEST);
    let zero = [_mm512_setzero_ps(); WIDEST];
    for lane in (0..rows).step_by(WIDEST) {
        let row = |i: usize| {
            // Lanes without a row get the last one.
            let row = source.row((lane + i).min(rows - 1));
            // SAFETY: the row has d numbers.
            unsafe { std::slice::from_raw_parts(row, d) }
        };
        let (mut most, mut squares, mut rests) = (zero, zero, zero);
        for i in 0..WIDEST {
            (most[i], squares[i]) = measured(row(i), shift);
        }
        let most = over_lanes(&most, |a, b| _mm512_max_ps(a, b));
        let largest = _mm512_set1_ps(LARGEST);
        // So small a row is nothing but rest.
        let large = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(most, _mm512_set1_ps(1e-30));
        let factors = _mm512_maskz_div_ps(large, most, largest);
        let inverses = _mm512_maskz_div_ps(large, largest, most);
        let (mut factor, mut inverse) = ([0.0; WIDEST], [0.0; WIDEST]);
        // SAFETY: sixteen numbers each.
        unsafe {
            _mm512_storeu_ps(factor.as_mut_ptr(), factors);
            _mm512_storeu_ps(inverse.as_mut_ptr(), inverses);
        }
        for i in 0..WIDEST {
            let to = &mut room.rows[i * width..(i + 1) * width];
            rests[i] = turned(row(i), shift, (factor[i], inverse[i]), to);
        }
        let squares = over_lanes(&squares, |a, b| _mm512_add_ps(a, b));
        let rests = over_lanes(&rests, |a, b| _mm512_add_ps(a, b));
        // SAFETY: lane + 16 <= BLOCK, the length of a line.
        unsafe {
            _mm512_storeu_ps(room.factors.0.as_mut_ptr().add(lane), factors);
            _mm512_storeu_ps(room.squares.0.as_mut_ptr().add(lane), squares);
            _mm512_storeu_ps(room.rests.0.as_mut_ptr().add(lane), rests);
        }
        for (part, lines) in room.block.chunks_exact_mut(WIDEST).enumerate() {
            let mut registers = zero;
            for (i, register) in registers.iter_mut().enumerate() {
                let from = room.rows[i * width + part * FOUR..].first_chunk::<FOUR>();
                if let Some(from) = from {
                    // SAFETY: four times sixteen bytes.
                    *register =
                        _mm512_castsi512_ps(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) });
                }
            }
            for (line, register) in lines.iter_mut().zip(transposed(registers)) {
                // SAFETY: lane + 16 <= BLOCK, the length of a line.
                unsafe {
                    let to = line.0.as_mut_ptr().add(lane);
                    _mm512_storeu_si512(to.cast(), _mm512_castps_si512(register));
                }
            }
        }
    }
}

/// Lane by lane the largest magnitudes of a row less the shift, and its sums of squares.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn measured<T: Element>(row: &[T], shift: &[[T; WIDEST]]) -> (__m512, __m512) {
    let (mut most, mut squares) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (parts, rest) = row.as_chunks::<WIDEST>();
    for (x, shift) in parts.iter().zip(shift) {
        let x = less(x, shift);
        most = _mm512_max_ps(most, _mm512_abs_ps(x));
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    if let (Some(x), Some(shift)) = (filled_up(rest), shift.get(parts.len())) {
        let x = less(&x, shift);
        most = _mm512_max_ps(most, _mm512_abs_ps(x));
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    (most, squares)
}

/// Writes the bytes of a row from its factor s and the inverse of that; returns the sums of squares of what they leave out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn turned<T: Element>(
    row: &[T],
    shift: &[[T; WIDEST]],
    (factor, inverse): (f32, f32),
    to: &mut [[u8; WIDEST]],
) -> __m512 {
    let (factor, inverse) = (_mm512_set1_ps(factor), _mm512_set1_ps(inverse));
    let mut rests = _mm512_setzero_ps();
    let (parts, rest) = row.as_chunks::<WIDEST>();
    let places = shift.iter().zip(to.iter_mut());
    for (x, (shift, to)) in parts.iter().zip(places) {
        rests = rounded(less(x, shift), (factor, inverse), rests, to);
    }
    let at = parts.len();
    if let (Some(x), Some(shift), Some(to)) = (filled_up(rest), shift.get(at), to.get_mut(at)) {
        rests = rounded(less(&x, shift), (factor, inverse), rests, to);
    }
    rests
}

/// Writes the bytes of sixteen numbers; adds the squares of what they leave out to `rests`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn rounded(
    x: __m512,
    (factor, inverse): (__m512, __m512),
    rests: __m512,
    to: &mut [u8; WIDEST],
) -> __m512 {
    #[expect(clippy::cast_precision_loss, reason = "a small whole number")]
    let rounding = _mm512_set1_ps(ROUNDING + OFFSET as f32);
    let whole = _mm512_fmadd_ps(x, inverse, rounding);
    let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(whole));
    // SAFETY: sixteen bytes.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) };
    let rest = _mm512_fnmadd_ps(_mm512_sub_ps(whole, rounding), factor, x);
    _mm512_fmadd_ps(rest, rest, rests)
}

/// The last numbers of a row, if they are fewer than sixteen, and 0 beyond, as the shift is there.
#[inline(always)]
fn filled_up<T: Element>(rest: &[T]) -> Option<[T; WIDEST]> {
    let mut numbers = [T::default(); WIDEST];
    for (number, &x) in numbers.iter_mut().zip(rest) {
        *number = x;
    }
    (!rest.is_empty()).then_some(numbers)
}

/// Sixteen numbers less the shift, in float32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn less<T: Element>(x: &[T; WIDEST], shift: &[T; WIDEST]) -> __m512 {
    let mut numbers = [0.0_f32; WIDEST];
    for ((number, &x), &shift) in numbers.iter_mut().zip(x).zip(shift) {
        *number = narrowed(x.minus(shift));
    }
    // SAFETY: sixteen numbers.
    unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
}

/// Rounded to float32.
#[inline(always)]
fn narrowed<T: Element>(x: T) -> f32 {
    let x: f64 = x.into();
    f32::from_f64(x)
}

/// One number for each of sixteen registers, from its lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn over_lanes(registers: &[__m512; WIDEST], both: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let mut lanes = transposed(*registers);
    let mut half = WIDEST / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = both(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Scores of all centers, the least and the second least of each row, and the index of the least.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn score<T: Element>(
    (k, d): (usize, usize),
    bytes: &Bytes,
    source: &Source<'_, T>,
    room: &mut Room,
) {
    let steps = d.div_ceil(FOUR);
    assert!(room.block.len() >= steps && room.scores.len() >= k && bytes.half.len() == k);
    let mut ahead = Ahead::while_scoring(source, k, steps);
    let unit = bytes.unit;
    let factors: [__m512; M] = std::array::from_fn(|m| {
        let factors: [f32; WIDEST] = std::array::from_fn(|i| room.factors.0[m * WIDEST + i] * unit);
        // SAFETY: sixteen numbers.
        unsafe { _mm512_loadu_ps(factors.as_ptr()) }
    });
    // SAFETY: the function is compiled for the instruction set.
    let mut running = unsafe { Running::<F32, M>::new() };
    let groups = bytes.centers.chunks_exact(steps).zip(&bytes.starts);
    for (group, (centers, starts)) in groups.enumerate() {
        let mut sums = [[_mm512_set1_epi32(0); M]; GROUP];
        for (sums, &start) in sums.iter_mut().zip(starts) {
            *sums = [_mm512_set1_epi32(start); M];
        }
        for (center, line) in centers.iter().zip(&room.block) {
            ahead.ask(false);
            let mut x = [_mm512_set1_epi32(0); M];
            for (m, x) in x.iter_mut().enumerate() {
                // SAFETY: M registers make a line.
                *x = unsafe { _mm512_loadu_si512(line.0.as_ptr().add(m * WIDEST).cast()) };
            }
            for (sums, &four) in sums.iter_mut().zip(center) {
                let c = _mm512_set1_epi32(i32::from_ne_bytes(four.map(i8::cast_unsigned)));
                for (sum, &x) in sums.iter_mut().zip(&x) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, c);
                }
            }
        }
        let first = group * GROUP;
        for (c, sums) in sums.iter().enumerate().take(k - first) {
            let half = _mm512_set1_ps(bytes.half[first + c]);
            let mut scores = [F32(half); M];
            let line = &mut room.scores[first + c];
            for (m, score) in scores.iter_mut().enumerate() {
                *score = F32(finished(sums[m], factors[m], half));
                // SAFETY: M registers make a line.
                unsafe { score.store(line.0.as_mut_ptr().add(m * WIDEST)) };
            }
            // SAFETY: the function is compiled for the instruction set.
            unsafe { running.fold(scores, first + c) };
        }
    }
    // SAFETY: the function is compiled for the instruction set.
    unsafe {
        running.write(&mut room.best.0, &mut room.second.0, &mut room.indices.0);
    }
}

/// ½‖c‖² − s·t·(q·p).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn finished(sum: __m512i, factor: __m512, half: __m512) -> __m512 {
    _mm512_fnmadd_ps(_mm512_cvtepi32_ps(sum), factor, half)
}

/// For each row the bound of [`super`] for its norm, and up to which score a center may matter to it; and the bits of the rows to
/// which more than one does.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the factor covers the rounding of E, what is spare in its last term that of the sum"
)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn limits<T: Element, const MARGINS: bool>(
    (packed, bytes): (&Packed<T>, &Bytes),
    rows: usize,
    room: &Room,
) -> ([f64; BLOCK], [f32; BLOCK], u64) {
    let d = packed.d as f64;
    // Of a sum of d squares in float32, and of each number before.
    let up = 1.0 + (d + 16.0) * f64::from(f32::EPSILON);
    let (mut bounds, mut limits) = ([0.0; BLOCK], [0.0; BLOCK]);
    let mut unclear = 0;
    for i in 0..rows {
        let norm = f64::from(room.squares.0[i]).sqrt() * up;
        let rest = f64::from(room.rests.0[i]).sqrt() * up + norm * f64::from(f32::EPSILON);
        bounds[i] = packed.bound.at(norm);
        let error = bytes.error(norm, rest) + bounds[i];
        let (best, second) = (room.best.0[i], room.second.0[i]);
        let from = if MARGINS { second } else { best };
        limits[i] = from + (2.002 * error) as f32;
        // What is not a number is not above.
        let clear = !MARGINS && second > limits[i];
        unclear |= u64::from(!clear) << i;
    }
    (bounds, limits, unclear)
}

/// Lists the pairs of unclear rows and centers that may matter, by centers; how many, unless they are too many.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn leftover(k: usize, limits: &[f32; BLOCK], unclear: u64, room: &mut Room) -> Option<usize> {
    let mut count = 0;
    if unclear == 0 {
        return Some(count);
    }
    let most = most_left(k);
    // SAFETY: the function is compiled for the instruction set; M registers make a line.
    unsafe {
        let mut limit = [F32::splat(0.0); M];
        for (m, limit) in limit.iter_mut().enumerate() {
            *limit = F32::load(limits.as_ptr().add(m * WIDEST));
        }
        // There are more lines than centers where another run has more of these.
        for (center, line) in (0..).zip(&room.scores[..k]) {
            let mut above = 0;
            for (m, &limit) in limit.iter().enumerate() {
                let score = F32::load(line.0.as_ptr().add(m * WIDEST));
                above |= F32::bits(limit.less(score)) << (m * WIDEST);
            }
            let mut bits = unclear & !above;
            while bits != 0 {
                let row = bits.trailing_zeros();
                bits &= bits - 1;
                #[expect(clippy::cast_possible_truncation, reason = "less than a block")]
                let row = row as u8;
                room.left[count] = (row, center);
                count += 1;
            }
            if count > most {
                return None;
            }
        }
    }
    Some(count)
}

/// Scores pairs in the type of the data: least and second least of each row, index of the least; for margins the sum of squares.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn again<T: Element, const MARGINS: bool>(
    packed: &Packed<T>,
    source: &Source<'_, T>,
    left: &[(u8, u32)],
    scratch: &mut Scratch<T>,
) {
    let infinite = T::from_f64(f64::INFINITY);
    scratch.best.0.fill(infinite);
    scratch.second.0.fill(infinite);
    let centers = Centers::new(&packed.rows, &packed.shift, packed.d);
    let zero = Line([T::default(); BLOCK]);
    let (mut products, mut negated) = (zero, zero);
    for pairs in left.chunks(ROWS) {
        let pair = |i: usize| pairs[i.min(pairs.len() - 1)];
        let rows = std::array::from_fn(|i| source.row(usize::from(pair(i).0)));
        // What comes next is one of these rows again, or another that was read a moment ago.
        let four = Four {
            rows,
            next: rows,
            at: 0,
        };
        let places = std::array::from_fn(|i| pair(i).1 as usize);
        // SAFETY: the caller vouches for the instruction set; the rows are those of the source.
        unsafe {
            centers.score_own::<T::Avx512, MARGINS>(&four, places, &mut products, &mut negated);
        }
        for (i, &(row, center)) in pairs.iter().enumerate() {
            let row = usize::from(row);
            let score = packed.half[center as usize] + products.0[i];
            if MARGINS {
                scratch.negated.0[row] = negated.0[i];
            }
            if score < scratch.best.0[row] {
                scratch.second.0[row] = scratch.best.0[row];
                scratch.best.0[row] = score;
                scratch.indices.0[row] = T::from_index(center);
            } else if score < scratch.second.0[row] {
                scratch.second.0[row] = score;
            }
        }
    }
}
