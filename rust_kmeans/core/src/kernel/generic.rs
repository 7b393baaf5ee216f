//! The algorithm, once, over [`Lanes`].
//!
//! A block of 64 samples is transposed into one line a feature, less the shift, so that a sample is a lane. Against
//! it run the centers in groups of four, broadcast: M registers of samples × 4 centers accumulate
//! score = ½‖c‖² − x·c, which orders centers as the squared distance does. Best, second best and best index stay in
//! registers; no matrix of scores exists.

use super::lanes::Lanes;
use super::{BLOCK, Distances, GROUP, Line, Packed, Scratch};
use crate::element::Element;
use crate::exact_sum::{ExactTable, Grids};
use crate::view::Source;

/// Screens a block: `scratch.labels` gets the index of the least score of each row, and the returned bits name the
/// rows whose label the rounding bound does *not* prove (bits of lanes beyond the block are clear).
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn screen<V: Lanes, const M: usize, const MARGINS: bool>(
    packed: &Packed<V::Elem>,
    source: &Source<'_, V::Elem>,
    scratch: &mut Scratch<V::Elem>,
) -> u64 {
    let rows = source.len().min(BLOCK);
    // SAFETY: the caller vouches for the instruction set; the functions below check every length they rely on.
    unsafe {
        fill::<V>(source, rows, &packed.shift, &mut scratch.block);
        let mut sure = 0;
        let mut lane = 0;
        while lane < BLOCK {
            sure |= tile::<V, M, MARGINS>(packed, scratch, lane) << lane;
            lane += M * V::WIDTH;
        }
        if MARGINS {
            let Scratch {
                best,
                second,
                negated,
                margins,
                ..
            } = scratch;
            packed
                .margin
                .margins((&best.0, &second.0), &negated.0, &mut margins.0);
        }
        let unsure = !sure & (u64::MAX >> (BLOCK - rows));
        if unsure == 0 {
            0
        } else {
            unsure & !second_look::<V>(packed, scratch)
        }
    }
}

/// Writes the block, transposed and shifted: `block[j].0[i] = x[i][j] - shift[j]`.
#[inline(always)]
pub(super) unsafe fn fill<V: Lanes>(
    source: &Source<'_, V::Elem>,
    rows: usize,
    shift: &[V::Elem],
    block: &mut [Line<V::Elem>],
) {
    let columns = source.columns().min(shift.len()).min(block.len());
    let across = source.across();
    if across == 1 && columns > 1 {
        let mut from = [source.row(0); BLOCK];
        let mut ahead = 0;
        if let Some(down) = source.down() {
            for (i, from) in (0..).zip(&mut from) {
                *from = from.wrapping_offset(i * down);
            }
            ahead = BLOCK.cast_signed() * down;
        } else {
            // These were asked for when they were listed.
            for (i, from) in from.iter_mut().enumerate().take(rows) {
                *from = source.row(i);
            }
        }
        let mut lane = 0;
        while lane < rows {
            let from = &from[lane..rows.min(lane + V::WIDTH)];
            let mut j = 0;
            while j < columns {
                let part = (j, V::WIDTH.min(columns - j));
                // SAFETY: these rows and columns lie within the view; lane is a multiple of WIDTH, which divides BLOCK.
                unsafe { V::transpose(from, part, ahead, &shift[j..], &mut block[j..], lane) };
                j += V::WIDTH;
            }
            lane += V::WIDTH;
        }
        return;
    }
    for (j, (line, &shift)) in block.iter_mut().zip(shift).take(columns).enumerate() {
        if source.down() == Some(1) {
            // SAFETY: `rows` elements of column j lie one after the other within the view.
            let column = unsafe {
                let column = source.row(0).offset(j.cast_signed() * across);
                std::slice::from_raw_parts(column, rows)
            };
            for (out, &x) in line.0.iter_mut().zip(column) {
                *out = x.minus(shift);
            }
        } else {
            for (i, out) in line.0.iter_mut().enumerate().take(rows) {
                // SAFETY: column j of row i < rows lies within the view.
                *out = unsafe { *source.row(i).offset(j.cast_signed() * across) }.minus(shift);
            }
        }
    }
}

/// Screens M registers of samples from `lane` on; the bits of those proven by the bound for all rows.
#[inline(always)]
unsafe fn tile<V: Lanes, const M: usize, const MARGINS: bool>(
    packed: &Packed<V::Elem>,
    scratch: &mut Scratch<V::Elem>,
    lane: usize,
) -> u64 {
    assert!(lane + M * V::WIDTH <= BLOCK && packed.half.len() >= packed.k);
    let d = packed.d;
    assert!(scratch.block.len() >= d && packed.centers.len() >= packed.k * d);
    // SAFETY: the assertions above bound every access: lines have BLOCK entries, groups d × their size.
    unsafe {
        let huge = V::splat(V::Elem::from_f64(f64::INFINITY));
        let mut running = Running::<V, M> {
            best: [huge; M],
            second: [huge; M],
            index: [V::splat(V::Elem::from_index(0)); M],
        };
        let samples = scratch.block.as_ptr().cast::<V::Elem>().add(lane);
        let mut first = 0;
        while first + GROUP <= packed.k {
            group::<V, M, GROUP>(packed, samples, first, &mut running);
            first += GROUP;
        }
        match packed.k - first {
            1 => group::<V, M, 1>(packed, samples, first, &mut running),
            2 => group::<V, M, 2>(packed, samples, first, &mut running),
            3 => group::<V, M, 3>(packed, samples, first, &mut running),
            _ => {}
        }
        if MARGINS {
            let mut negated = [V::splat(V::Elem::default()); M];
            let mut sample = samples;
            for _ in 0..d {
                for (m, sum) in negated.iter_mut().enumerate() {
                    let x = V::load(sample.add(m * V::WIDTH));
                    *sum = sum.minus_product(x, x);
                }
                sample = sample.add(BLOCK);
            }
            for (m, negated) in negated.into_iter().enumerate() {
                let at = lane + m * V::WIDTH;
                negated.store(scratch.negated.0.as_mut_ptr().add(at));
                running.best[m].store(scratch.best.0.as_mut_ptr().add(at));
                running.second[m].store(scratch.second.0.as_mut_ptr().add(at));
            }
        }
        let bound = V::splat(packed.bound.for_all);
        let mut sure = 0;
        for m in 0..M {
            let gap = running.second[m].minus(running.best[m]);
            gap.store(scratch.gaps.0.as_mut_ptr().add(lane + m * V::WIDTH));
            running.index[m].store(scratch.indices.0.as_mut_ptr().add(lane + m * V::WIDTH));
            sure |= V::bits(bound.less(gap)) << (m * V::WIDTH);
        }
        sure
    }
}

/// Least score so far, second least, and the index of the least.
struct Running<V, const M: usize> {
    best: [V; M],
    second: [V; M],
    index: [V; M],
}

/// Scores C centers from `first` on and folds them into `running`.
#[inline(always)]
unsafe fn group<V: Lanes, const M: usize, const C: usize>(
    packed: &Packed<V::Elem>,
    samples: *const V::Elem,
    first: usize,
    running: &mut Running<V, M>,
) {
    // SAFETY: `tile` has checked that the block has d lines and that C centers from `first` on exist; groups are packed
    // one after the other, feature by feature.
    unsafe {
        let mut scores = [[V::splat(V::Elem::default()); M]; C];
        for (c, scores) in scores.iter_mut().enumerate() {
            *scores = [V::splat(*packed.half.as_ptr().add(first + c)); M];
        }
        let mut sample = samples;
        let mut center = packed.centers.as_ptr().add(first * packed.d);
        for _ in 0..packed.d {
            let mut x = [V::splat(V::Elem::default()); M];
            for (m, x) in x.iter_mut().enumerate() {
                *x = V::load(sample.add(m * V::WIDTH));
            }
            for (c, scores) in scores.iter_mut().enumerate() {
                let y = V::splat(*center.add(c));
                for (score, &x) in scores.iter_mut().zip(&x) {
                    *score = score.minus_product(x, y);
                }
            }
            sample = sample.add(BLOCK);
            center = center.add(C);
        }
        for (c, scores) in scores.iter().enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "labels are i32: k was checked"
            )]
            let index = V::splat(V::Elem::from_index((first + c) as u32));
            for (m, &score) in scores.iter().enumerate() {
                // Strictly less: of equal scores the lowest index stays (and the gap of 0 asks for a recheck).
                let better = score.less(running.best[m]);
                running.index[m] = V::select(better, index, running.index[m]);
                running.second[m] = running.second[m].min(score.max(running.best[m]));
                running.best[m] = running.best[m].min(score);
            }
        }
    }
}

/// Judges all rows of the block again, each by the bound for its own norm; the bits of those proven.
#[inline(always)]
unsafe fn second_look<V: Lanes>(packed: &Packed<V::Elem>, scratch: &mut Scratch<V::Elem>) -> u64 {
    assert!(scratch.block.len() >= packed.d);
    let mut negated = Line([V::Elem::default(); BLOCK]);
    let mut lane = 0;
    while lane < BLOCK {
        // SAFETY: lane + WIDTH <= BLOCK, the length of a line.
        unsafe {
            let mut sum = V::splat(V::Elem::default());
            for line in &scratch.block[..packed.d] {
                let x = V::load(line.0.as_ptr().add(lane));
                sum = sum.minus_product(x, x);
            }
            sum.store(negated.0.as_mut_ptr().add(lane));
        }
        lane += V::WIDTH;
    }
    let mut sure = 0;
    for (i, (&gap, &squares)) in scratch.gaps.0.iter().zip(&negated.0).enumerate() {
        let squares: f64 = squares.into();
        sure |= u64::from(packed.bound.proves(gap.into(), -squares)) << i;
    }
    sure
}

/// Fills `work.out` with the squared distances of the rows in `work.block` to each center (row-major). Every lane follows the
/// order of [`crate::squared_distance`], without fused operations, so that the results are the same bits on every
/// instruction set.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
pub(super) unsafe fn distances<W: Lanes<Elem = f64>, T: Element, const M: usize>(
    work: &mut Distances<T>,
    centers: &[f64],
) {
    for (wide, line) in work.wide.iter_mut().zip(&work.block) {
        for (wide, &x) in wide.0.iter_mut().zip(&line.0) {
            *wide = x.into();
        }
    }
    let d = work.wide.len();
    for (centers, out) in centers.chunks(GROUP * d).zip(work.out.chunks_mut(GROUP)) {
        let mut lane = 0;
        while lane < BLOCK {
            // SAFETY: the caller vouches for the instruction set; M × WIDTH divides BLOCK.
            unsafe {
                match centers.len() / d {
                    1 => group_distances::<W, M, 1>(&work.wide, centers, out, lane),
                    2 => group_distances::<W, M, 2>(&work.wide, centers, out, lane),
                    3 => group_distances::<W, M, 3>(&work.wide, centers, out, lane),
                    _ => group_distances::<W, M, GROUP>(&work.wide, centers, out, lane),
                }
            }
            lane += M * W::WIDTH;
        }
    }
}

/// Squared distances of M registers of samples from `lane` on to C centers.
#[inline(always)]
unsafe fn group_distances<W: Lanes<Elem = f64>, const M: usize, const C: usize>(
    block: &[Line<f64>],
    centers: &[f64],
    out: &mut [Line<f64>],
    lane: usize,
) {
    let d = block.len();
    assert!(C <= GROUP && centers.len() >= C * d && out.len() >= C && lane + M * W::WIDTH <= BLOCK);
    // SAFETY: the assertion bounds every access.
    unsafe {
        let mut sums = [[W::splat(0.0); M]; C];
        for (j, line) in block.iter().enumerate() {
            let mut x = [W::splat(0.0); M];
            for (m, x) in x.iter_mut().enumerate() {
                *x = W::load(line.0.as_ptr().add(lane + m * W::WIDTH));
            }
            // Written out: as a loop it is not unrolled, and the sums stay in memory.
            let center = centers.as_ptr().add(j);
            add_squares(&mut sums[0], &x, center);
            if C > 1 {
                add_squares(&mut sums[1], &x, center.add(d));
            }
            if C > 2 {
                add_squares(&mut sums[2], &x, center.add(2 * d));
            }
            if C > 3 {
                add_squares(&mut sums[3], &x, center.add(3 * d));
            }
        }
        for (sums, out) in sums.iter().zip(out) {
            for (m, sum) in sums.iter().enumerate() {
                sum.store(out.0.as_mut_ptr().add(lane + m * W::WIDTH));
            }
        }
    }
}

/// Adds (x − c)² to each sum.
#[inline(always)]
unsafe fn add_squares<W: Lanes<Elem = f64>, const M: usize>(
    sums: &mut [W; M],
    x: &[W; M],
    center: *const f64,
) {
    // SAFETY: the caller vouches for the instruction set and the read.
    unsafe {
        let c = W::splat(*center);
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum = sum.plus_squared_difference(x, c);
        }
    }
}

/// The bits of the samples (at most a block) whose label is not proven by `table[label] < margin`.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn doubtful<V: Lanes>(
    labels: &[i32],
    margins: &[V::Elem],
    table: &[V::Elem],
) -> u64 {
    if let (Ok(labels), Ok(margins)) = (labels.try_into(), margins.try_into()) {
        // SAFETY: the caller vouches for the instruction set.
        return unsafe { V::doubtful(labels, margins, table) };
    }
    let mut doubtful = 0;
    for (i, (&label, &margin)) in labels.iter().zip(margins).enumerate() {
        let drift = usize::try_from(label).ok().and_then(|l| table.get(l));
        let sure = drift.is_some_and(|&drift| drift < margin);
        doubtful |= u64::from(!sure) << i;
    }
    doubtful
}

/// Takes a row from the sums of its old cluster and adds it to those of its new one.
#[inline(always)]
pub(super) fn move_row<X: Into<f64> + Copy>(
    table: &mut ExactTable,
    grids: &Grids,
    (old, new): (Option<usize>, usize),
    (row, weight): (&[X], f64),
    terms: &mut [f64],
) {
    let Some((last, features)) = terms.split_last_mut() else {
        return;
    };
    for (term, &x) in features.iter_mut().zip(row) {
        let x: f64 = x.into();
        *term = x * weight;
    }
    *last = weight;
    if let Some(old) = old {
        table.subtract(grids, old, terms);
    }
    table.add(grids, new, terms);
}
