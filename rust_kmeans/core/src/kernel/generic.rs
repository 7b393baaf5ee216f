//! The algorithm, once, over [`Lanes`].
//!
//! A block of 64 samples is transposed into one line a feature, less the shift, so that a sample is a lane. Against
//! it run the centers in groups of six, broadcast: M registers of samples × 6 centers accumulate
//! score = ½‖c‖² − x·c, which orders centers as the squared distance does. Best, second best and best index stay in
//! registers; no matrix of scores exists. Where the features of a block would not fit into the first-level cache they
//! come in panels, between which the scores of the block rest in memory.

use super::lanes::Lanes;
use super::{
    BLOCK, Distances, GROUP, Line, Move, Moving, Packed, Ranges, Scratch, WIDEST, along, widen,
};
use crate::element::Element;
use crate::exact_sum::{ExactTable, STEP};
use crate::view::{AHEAD, Rows, Source, prefetch};

/// Centers whose float64 distances are in registers at a time.
const TOGETHER: usize = 4;

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
    if source.across() == 1 && packed.k <= along::most_centers(packed.d) {
        // SAFETY: the caller vouches for the instruction set.
        return unsafe { along::screen::<V, MARGINS>(packed, source, scratch) };
    }
    let rows = source.len().min(BLOCK);
    let mut sure = 0;
    // A single group of centers leaves no time between two lines: the transposition has as much.
    let mut ahead = if packed.k <= GROUP {
        Ahead::while_filling(source, V::WIDTH)
    } else {
        Ahead::while_scoring(source, packed.k, source.columns())
    };
    let mut first = 0;
    while first < packed.d {
        let panel = Panel {
            first,
            count: scratch.block.len().min(packed.d - first),
            is_last: first + scratch.block.len() >= packed.d,
        };
        // SAFETY: the caller vouches for the instruction set; the functions below check every length they rely on.
        unsafe {
            let ahead = &mut ahead;
            fill::<V>(
                source,
                rows,
                (first, &packed.shift),
                &mut scratch.block,
                || ahead.ask(true),
            );
            let mut lane = 0;
            while lane < BLOCK {
                sure |= tile::<V, M, MARGINS>(packed, scratch, lane, &panel, ahead);
                lane += M * V::WIDTH;
            }
        }
        first += panel.count;
    }
    let has_squares = MARGINS || packed.d > scratch.block.len();
    // SAFETY: the caller vouches for the instruction set.
    unsafe { conclude::<V, MARGINS>(packed, scratch, (sure, rows), has_squares) }
}

/// The bits of the rows that are not proven: of those that the bound for all rows leaves over, the ones that the bound for
/// their own norm does not prove either. With MARGINS their margins are computed.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn conclude<V: Lanes, const MARGINS: bool>(
    packed: &Packed<V::Elem>,
    scratch: &mut Scratch<V::Elem>,
    (sure, rows): (u64, usize),
    has_squares: bool,
) -> u64 {
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
        // SAFETY: the caller vouches for the instruction set.
        unsure & !unsafe { second_look::<V>(packed, scratch, has_squares) }
    }
}

/// The features that are in the block at a time.
struct Panel {
    first: usize,
    count: usize,
    is_last: bool,
}

impl Panel {
    fn is_first(&self) -> bool {
        self.first == 0
    }

    /// Whether there are others.
    fn is_one_of_many(&self) -> bool {
        !(self.is_first() && self.is_last)
    }
}

/// Bytes that come from memory together.
const CACHE_LINE: usize = 64;

/// Rows to come, as many as a block has, asked for line by line while this one is computed: what is read and what is
/// computed then take turns on the same time. No hardware foresees rows in 64 places.
pub(super) struct Ahead<T> {
    /// Where each stretch of lines starts, and how many lines all have.
    starts: [*const T; BLOCK],
    lines: usize,
    stretches: usize,
    /// Where the next line is.
    stretch: usize,
    line: usize,
    /// Lines to ask for at a time, and whether that is while the block is filled, or while scores are computed.
    at_a_time: usize,
    while_filling: bool,
}

impl<T: Element> Ahead<T> {
    /// To be asked for while a block of `width` lanes at a time is filled.
    #[inline(always)]
    fn while_filling(source: &Source<'_, T>, width: usize) -> Self {
        let tiles = (BLOCK / width) * source.columns().div_ceil(width);
        Self::new(source, true, tiles)
    }

    /// To be asked for while scores of `k` centers are computed, each in so many steps.
    #[inline(always)]
    pub(super) fn while_scoring(source: &Source<'_, T>, k: usize, steps: usize) -> Self {
        Self::new(source, false, k.div_ceil(GROUP) * steps)
    }

    #[inline(always)]
    fn new(source: &Source<'_, T>, while_filling: bool, steps: usize) -> Self {
        let mut ahead = Self {
            starts: [std::ptr::null(); BLOCK],
            lines: 0,
            stretches: 0,
            stretch: 0,
            line: 0,
            at_a_time: 0,
            while_filling,
        };
        let row = source.columns() * size_of::<T>();
        if source.is_packed() {
            let next = source.row(0).wrapping_add(BLOCK * source.columns());
            ahead.starts[0] = next.wrapping_add(AHEAD / size_of::<T>());
            ahead.stretches = 1;
            ahead.lines = (BLOCK * row).div_ceil(CACHE_LINE);
        } else if source.across() == 1 {
            ahead.stretches = source.following(&mut ahead.starts);
            ahead.lines = row / CACHE_LINE + 1;
        }
        ahead.at_a_time = (ahead.stretches * ahead.lines).div_ceil(steps);
        ahead
    }

    #[inline(always)]
    pub(super) fn ask(&mut self, filling: bool) {
        if filling != self.while_filling {
            return;
        }
        for _ in 0..self.at_a_time {
            if self.stretch == self.stretches {
                return;
            }
            let line = self.starts[self.stretch].cast::<u8>();
            prefetch(line.wrapping_add(self.line * CACHE_LINE));
            self.line += 1;
            if self.line == self.lines {
                self.line = 0;
                self.stretch += 1;
            }
        }
    }
}

/// Writes the block, transposed and shifted: `block[j].0[i] = x[i][first + j] - shift[first + j]`.
#[inline(always)]
pub(super) unsafe fn fill<V: Lanes>(
    source: &Source<'_, V::Elem>,
    rows: usize,
    (first, shift): (usize, &[V::Elem]),
    block: &mut [Line<V::Elem>],
    mut at_each_tile: impl FnMut(),
) {
    let shift = &shift[first..];
    let columns = (source.columns() - first).min(shift.len()).min(block.len());
    let across = source.across();
    if across == 1 && (2..=V::NARROW).contains(&source.columns()) && columns == source.columns() {
        // SAFETY: the caller vouches for the instruction set; the block has all columns.
        unsafe { fill_narrow::<V>(source, rows, shift, block) };
        at_each_tile();
        return;
    }
    if across == 1 && source.columns() > 1 {
        // Lanes without a row get the first one.
        let mut from = [source.row(0); BLOCK];
        if let Some(down) = source.down() {
            for (i, from) in (0..).zip(&mut from).take(rows) {
                *from = from.wrapping_offset(i * down);
            }
        } else {
            for (i, from) in from.iter_mut().enumerate().take(rows) {
                *from = source.row(i);
            }
        }
        let mut lane = 0;
        while lane < rows {
            let from = &from[lane..lane + V::WIDTH];
            let mut j = 0;
            while j < columns {
                let part = (first + j, V::WIDTH.min(columns - j));
                // SAFETY: these rows and columns lie within the view; lane is a multiple of WIDTH, which divides BLOCK.
                unsafe { V::transpose(from, part, &shift[j..], &mut block[j..], lane) };
                at_each_tile();
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
                let column = source.row(0).offset((first + j).cast_signed() * across);
                std::slice::from_raw_parts(column, rows)
            };
            for (out, &x) in line.0.iter_mut().zip(column) {
                *out = x.minus(shift);
            }
        } else {
            for (i, out) in line.0.iter_mut().enumerate().take(rows) {
                // SAFETY: column first + j of row i < rows lies within the view.
                *out = unsafe { *source.row(i).offset((first + j).cast_signed() * across) }
                    .minus(shift);
            }
        }
    }
}

/// [`fill`] for rows of at most [`Lanes::NARROW`] features, of which a register holds several. Rows with gaps between
/// them are brought together first.
#[inline(always)]
unsafe fn fill_narrow<V: Lanes>(
    source: &Source<'_, V::Elem>,
    rows: usize,
    shift: &[V::Elem],
    block: &mut [Line<V::Elem>],
) {
    let d = source.columns();
    assert!(d <= WIDEST / 2 && shift.len() >= d && block.len() >= d);
    let mut together;
    let from = if source.is_packed() && rows == BLOCK {
        source.row(0)
    } else {
        // A whole register is written for each row, over what the one before it left.
        together = [V::Elem::default(); BLOCK * WIDEST / 2 + WIDEST];
        for i in 0..rows {
            // SAFETY: a row has d numbers, fewer than a register; there is room for one after each place.
            unsafe {
                let row = V::load_first(source.row(i), d);
                row.store(together.as_mut_ptr().add(i * d));
            }
        }
        together.as_ptr()
    };
    let mut lane = 0;
    while lane < BLOCK {
        // SAFETY: `from` has BLOCK rows of d numbers, and the assertion holds for shift and block.
        unsafe {
            let from = from.add(lane * d);
            match d {
                2 => V::part::<2>(from, shift, block, lane),
                3 => V::part::<3>(from, shift, block, lane),
                4 => V::part::<4>(from, shift, block, lane),
                5 => V::part::<5>(from, shift, block, lane),
                6 => V::part::<6>(from, shift, block, lane),
                _ => V::part::<7>(from, shift, block, lane),
            }
        }
        lane += V::WIDTH;
    }
}

/// [`fill`] with all features, asking for what comes next.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn fill_all<V: Lanes>(
    source: &Source<'_, V::Elem>,
    shift: &[V::Elem],
    block: &mut [Line<V::Elem>],
) {
    let rows = source.len().min(BLOCK);
    let mut ahead = Ahead::while_filling(source, V::WIDTH);
    // SAFETY: the caller vouches for the instruction set.
    unsafe { fill::<V>(source, rows, (0, shift), block, || ahead.ask(true)) };
}

/// Screens M registers of samples from `lane` on against one panel of features; after the last one, the bits of those
/// proven by the bound for all rows, at their places in the block.
#[inline(always)]
unsafe fn tile<V: Lanes, const M: usize, const MARGINS: bool>(
    packed: &Packed<V::Elem>,
    scratch: &mut Scratch<V::Elem>,
    lane: usize,
    panel: &Panel,
    ahead: &mut Ahead<V::Elem>,
) -> u64 {
    assert!(lane + M * V::WIDTH <= BLOCK && packed.half.len() >= packed.k);
    assert!(scratch.block.len() >= panel.count && panel.first + panel.count <= packed.d);
    assert!(packed.centers.len() >= packed.k * packed.d);
    assert!(!panel.is_one_of_many() || scratch.scores.len() >= packed.k);
    // SAFETY: the assertions above bound every access: lines have BLOCK entries, groups d × their size.
    unsafe {
        let mut running = Running::<V, M>::new();
        let samples = scratch.block.as_ptr().cast::<V::Elem>().add(lane);
        let scores = scratch.scores.as_mut_ptr().cast::<V::Elem>().add(lane);
        let mut first = 0;
        while first + GROUP <= packed.k {
            group::<V, M, GROUP>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            );
            first += GROUP;
        }
        match packed.k - first {
            1 => group::<V, M, 1>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            ),
            2 => group::<V, M, 2>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            ),
            3 => group::<V, M, 3>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            ),
            4 => group::<V, M, 4>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            ),
            5 => group::<V, M, 5>(
                packed,
                (samples, scores),
                first,
                (panel, ahead),
                &mut running,
            ),
            _ => {}
        }
        // The squares of one panel alone can still be summed when they are asked for.
        if MARGINS || panel.is_one_of_many() {
            let mut negated = [V::splat(V::Elem::default()); M];
            if !panel.is_first() {
                for (m, negated) in negated.iter_mut().enumerate() {
                    *negated = V::load(scratch.negated.0.as_ptr().add(lane + m * V::WIDTH));
                }
            }
            let mut sample = samples;
            for _ in 0..panel.count {
                for (m, sum) in negated.iter_mut().enumerate() {
                    let x = V::load(sample.add(m * V::WIDTH));
                    *sum = sum.minus_product(x, x);
                }
                sample = sample.add(BLOCK);
            }
            for (m, negated) in negated.into_iter().enumerate() {
                negated.store(scratch.negated.0.as_mut_ptr().add(lane + m * V::WIDTH));
            }
        }
        if !panel.is_last {
            return 0;
        }
        running.judge::<MARGINS>(packed, scratch, lane)
    }
}

/// Least score so far, second least, and the index of the least.
pub(super) struct Running<V, const M: usize> {
    best: [V; M],
    second: [V; M],
    index: [V; M],
}

impl<V: Lanes, const M: usize> Running<V, M> {
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let huge = V::splat(V::Elem::from_f64(f64::INFINITY));
            Self {
                best: [huge; M],
                second: [huge; M],
                index: [V::splat(V::Elem::from_index(0)); M],
            }
        }
    }

    /// Takes in the scores of one center.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn fold(&mut self, scores: [V; M], center: usize) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "labels are i32: k was checked"
        )]
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let index = V::splat(V::Elem::from_index(center as u32));
            for (m, score) in scores.into_iter().enumerate() {
                // Strictly less: of equal scores the lowest index stays (and the gap of 0 asks for a recheck).
                let better = score.less(self.best[m]);
                self.index[m] = V::select(better, index, self.index[m]);
                self.second[m] = self.second[m].min(score.max(self.best[m]));
                self.best[m] = self.best[m].min(score);
            }
        }
    }

    /// Writes what was found for the samples of a whole block: least and second least scores, and indices.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`; M × WIDTH must not exceed a block.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn write(
        &self,
        best: &mut [V::Elem; BLOCK],
        second: &mut [V::Elem; BLOCK],
        indices: &mut [V::Elem; BLOCK],
    ) {
        for m in 0..M {
            // SAFETY: the caller vouches for the instruction set and the places.
            unsafe {
                self.best[m].store(best.as_mut_ptr().add(m * V::WIDTH));
                self.second[m].store(second.as_mut_ptr().add(m * V::WIDTH));
                self.index[m].store(indices.as_mut_ptr().add(m * V::WIDTH));
            }
        }
    }

    /// Writes what was found for the samples from `lane` on; returns the bits of those proven by the bound for all rows,
    /// at their places in the block.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`; `lane` + M × WIDTH must not exceed a block.
    #[inline(always)]
    pub(super) unsafe fn judge<const MARGINS: bool>(
        &self,
        packed: &Packed<V::Elem>,
        scratch: &mut Scratch<V::Elem>,
        lane: usize,
    ) -> u64 {
        let mut sure = 0;
        // SAFETY: the caller vouches for the instruction set, and for the places within lines.
        unsafe {
            let bound = V::splat(packed.bound.for_all);
            for m in 0..M {
                let at = lane + m * V::WIDTH;
                if MARGINS {
                    self.best[m].store(scratch.best.0.as_mut_ptr().add(at));
                    self.second[m].store(scratch.second.0.as_mut_ptr().add(at));
                }
                let gap = self.second[m].minus(self.best[m]);
                gap.store(scratch.gaps.0.as_mut_ptr().add(at));
                self.index[m].store(scratch.indices.0.as_mut_ptr().add(at));
                sure |= V::bits(bound.less(gap)) << at;
            }
        }
        sure
    }
}

/// Adds one panel to the scores of C centers from `first` on, and folds them into `running` after the last one.
/// Between panels scores rest in `scores`, a line a center.
#[inline(always)]
unsafe fn group<V: Lanes, const M: usize, const C: usize>(
    packed: &Packed<V::Elem>,
    (samples, scores): (*const V::Elem, *mut V::Elem),
    first: usize,
    (panel, ahead): (&Panel, &mut Ahead<V::Elem>),
    running: &mut Running<V, M>,
) {
    // SAFETY: `tile` has checked that the block has the panel's lines and that C centers from `first` on exist; groups
    // are packed one after the other, feature by feature; there is a line of scores a center if there are more panels.
    unsafe {
        let resting = scores.wrapping_add(first * BLOCK);
        let mut scores = [[V::splat(V::Elem::default()); M]; C];
        if panel.is_first() {
            for (c, scores) in scores.iter_mut().enumerate() {
                *scores = [V::splat(*packed.half.as_ptr().add(first + c)); M];
            }
        } else {
            for (c, scores) in scores.iter_mut().enumerate() {
                for (m, score) in scores.iter_mut().enumerate() {
                    *score = V::load(resting.add(c * BLOCK + m * V::WIDTH));
                }
            }
        }
        let mut sample = samples;
        let start = first * packed.d + panel.first * C;
        let mut center = packed.centers.as_ptr().add(start);
        for _ in 0..panel.count {
            ahead.ask(false);
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
        if !panel.is_last {
            for (c, scores) in scores.iter().enumerate() {
                for (m, score) in scores.iter().enumerate() {
                    score.store(resting.add(c * BLOCK + m * V::WIDTH));
                }
            }
            return;
        }
        for (c, scores) in scores.into_iter().enumerate() {
            running.fold(scores, first + c);
        }
    }
}

/// Judges all rows of the block again, each by the bound for its own norm; the bits of those proven.
#[inline(always)]
unsafe fn second_look<V: Lanes>(
    packed: &Packed<V::Elem>,
    scratch: &mut Scratch<V::Elem>,
    has_squares: bool,
) -> u64 {
    if !has_squares {
        let mut lane = 0;
        while lane < BLOCK {
            // SAFETY: lane + WIDTH <= BLOCK, the length of a line.
            unsafe {
                let mut sum = V::splat(V::Elem::default());
                for line in &scratch.block[..packed.d] {
                    let x = V::load(line.0.as_ptr().add(lane));
                    sum = sum.minus_product(x, x);
                }
                sum.store(scratch.negated.0.as_mut_ptr().add(lane));
            }
            lane += V::WIDTH;
        }
    }
    let mut sure = 0;
    for (i, (&gap, &squares)) in scratch.gaps.0.iter().zip(&scratch.negated.0).enumerate() {
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
    let d = work.block.len();
    for (centers, out) in centers
        .chunks(TOGETHER * d)
        .zip(work.out.chunks_mut(TOGETHER))
    {
        let mut lane = 0;
        while lane < BLOCK {
            // SAFETY: the caller vouches for the instruction set; M × WIDTH divides BLOCK.
            unsafe {
                match centers.len() / d {
                    1 => group_distances::<W, T, M, 1>(&work.block, centers, out, lane),
                    2 => group_distances::<W, T, M, 2>(&work.block, centers, out, lane),
                    3 => group_distances::<W, T, M, 3>(&work.block, centers, out, lane),
                    _ => group_distances::<W, T, M, TOGETHER>(&work.block, centers, out, lane),
                }
            }
            lane += M * W::WIDTH;
        }
    }
}

/// Squared distances of M registers of samples from `lane` on to C centers.
#[inline(always)]
unsafe fn group_distances<W: Lanes<Elem = f64>, T: Element, const M: usize, const C: usize>(
    block: &[Line<T>],
    centers: &[f64],
    out: &mut [Line<f64>],
    lane: usize,
) {
    let d = block.len();
    assert!(
        C <= TOGETHER && centers.len() >= C * d && out.len() >= C && lane + M * W::WIDTH <= BLOCK
    );
    // SAFETY: the assertion bounds every access.
    unsafe {
        let mut sums = [[W::splat(0.0); M]; C];
        for (j, line) in block.iter().enumerate() {
            let mut x = [W::splat(0.0); M];
            for (m, x) in x.iter_mut().enumerate() {
                *x = widened(line.0.as_ptr().add(lane + m * W::WIDTH));
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

/// Reads as many numbers as the register holds, and widens them in it: a block of wide rows in float64 would not fit into the
/// first-level cache.
///
/// # Safety
/// The CPU must have the instruction set of `W`; `from` must be valid for `WIDTH` reads.
#[inline(always)]
unsafe fn widened<W: Lanes<Elem = f64>, T: Element>(from: *const T) -> W {
    let mut numbers = [0.0; WIDEST];
    for (i, number) in numbers.iter_mut().enumerate().take(W::WIDTH) {
        // SAFETY: the caller vouches for this read.
        *number = unsafe { *from.add(i) }.into();
    }
    // SAFETY: the caller vouches for the instruction set; no register is wider.
    unsafe { W::load(numbers.as_ptr()) }
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

/// For each block of samples, the last of which may be shorter, the bits of those whose label is not proven by
/// `table[label] < margin`.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn doubtful<V: Lanes>(
    labels: &[i32],
    margins: &[V::Elem],
    table: &[V::Elem],
    out: &mut [u64],
) {
    let (labels, last_labels) = labels.as_chunks::<BLOCK>();
    let (margins, last_margins) = margins.as_chunks::<BLOCK>();
    let (out, last) = out.split_at_mut(labels.len());
    // SAFETY: the caller vouches for the instruction set.
    unsafe { V::doubtful(labels, margins, table, out) };
    if let Some(last) = last.first_mut() {
        *last = 0;
        for (i, (&label, &margin)) in last_labels.iter().zip(last_margins).enumerate() {
            let drift = usize::try_from(label).ok().and_then(|l| table.get(l));
            let sure = drift.is_some_and(|&drift| drift < margin);
            *last |= u64::from(!sure) << i;
        }
    }
}

/// Takes rows from the sums of their old clusters (if any) and adds them to those of their new ones.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
pub(super) unsafe fn move_rows<W: Lanes<Elem = f64>, T: Element>(
    table: &mut ExactTable,
    moving: &Moving<'_, '_, T>,
    moves: &[Move],
) {
    let d = moving.data.n_columns();
    let (high_grid, low_grid) = moving.grids.steps();
    let length = high_grid.len();
    let (high, low) = table.parts_mut();
    assert!(low_grid.len() == length && high.len() == low.len());
    assert!(length.is_multiple_of(STEP) && length > d && STEP.is_multiple_of(W::WIDTH));
    let clusters = high.len() / length;
    let (high, low) = (high.as_mut_ptr(), low.as_mut_ptr());
    for &Move { row, old, new } in moves {
        let weight = moving.weights.map_or(1.0, |weights| weights[row]);
        let new = usize::try_from(new).unwrap_or(0);
        let old = usize::try_from(old).ok();
        assert!(new < clusters && old.is_none_or(|old| old < clusters));
        // SAFETY: the caller vouches for the instruction set; the assertions bound the sums of both clusters.
        unsafe {
            let sum = |cluster| (high.add(cluster * length), low.add(cluster * length));
            if let Some(old) = old {
                cut_row::<W, T, 2>([sum(old), sum(new)], moving, row, weight);
            } else {
                cut_row::<W, T, 1>([sum(new)], moving, row, weight);
            }
        }
    }
}

/// Adds a row times its weight, and the weight, to the high and low parts of the last of N sums, and takes it away from the
/// first of two: each term is cut once, as cutting is symmetric.
///
/// # Safety
/// The CPU must have the instruction set of `W`; a sum must be valid for reads and writes of as many numbers as there are
/// grids, which is a multiple of [`STEP`] and more than there are features.
#[inline(always)]
unsafe fn cut_row<W: Lanes<Elem = f64>, T: Element, const N: usize>(
    sums: [(*mut f64, *mut f64); N],
    moving: &Moving<'_, '_, T>,
    row: usize,
    weight: f64,
) {
    let d = moving.data.n_columns();
    let (high_grid, low_grid) = moving.grids.steps();
    let length = high_grid.len();
    // What follows the row is read with its last features, which are then picked: no loop over a few numbers.
    let values = moving.data.tail_from(row).unwrap_or_default();
    let mut first = 0;
    while first < length {
        let mut terms = [0.0; STEP];
        match values.get(first..).and_then(<[T]>::first_chunk::<STEP>) {
            Some(values) if first + STEP <= d => {
                for (term, &x) in terms.iter_mut().zip(values) {
                    *term = x.into() * weight;
                }
            }
            Some(values) => {
                let left = d - first.min(d);
                for (i, (term, &x)) in terms.iter_mut().zip(values).enumerate() {
                    let x: f64 = x.into();
                    let x = if i < left { x } else { 0.0 };
                    *term = weight * if i == left { 1.0 } else { x };
                }
            }
            None => {
                for (j, term) in (first..=d).zip(&mut terms) {
                    *term = weight * if j < d { moving.data.at(row, j) } else { 1.0 };
                }
            }
        }
        let mut at = 0;
        while at < STEP {
            let place = first + at;
            // SAFETY: a step from `first` on lies within grids and sums, whose length is a multiple of steps.
            unsafe {
                let term = W::load(terms.as_ptr().add(at));
                let cut = W::load(high_grid.as_ptr().add(place));
                let high_term = term.plus(cut).minus(cut);
                for (i, (high, _)) in sums.iter().enumerate() {
                    change::<W>(high.add(place), high_term, i + 1 == N);
                }
                // Numbers of float32 have few bits: hardly one of them has a low part.
                if size_of::<T>() == size_of::<f64>() || !term.equals(high_term) {
                    let cut = W::load(low_grid.as_ptr().add(place));
                    let low_term = term.minus(high_term).plus(cut).minus(cut);
                    for (i, (_, low)) in sums.iter().enumerate() {
                        change::<W>(low.add(place), low_term, i + 1 == N);
                    }
                }
            }
            at += W::WIDTH;
        }
        first += STEP;
    }
}

/// Adds a register to what lies at an address, or takes it away.
///
/// # Safety
/// The CPU must have the instruction set of `W`; the address must be valid for `WIDTH` reads and writes.
#[inline(always)]
unsafe fn change<W: Lanes<Elem = f64>>(at: *mut f64, term: W, adds: bool) {
    // SAFETY: the caller vouches for the instruction set and the address.
    unsafe {
        let sum = W::load(at);
        let sum = if adds {
            sum.plus(term)
        } else {
            sum.minus(term)
        };
        sum.store(at);
    }
}

/// Distances of narrow rows that are summed side by side: one alone would wait for each addition.
const SIDE: usize = 8;
/// Features from which on squares are computed along the rows.
const PAIRED: usize = 5;
/// Sums side by side of one distance of a row that is at least as wide.
const WIDE: usize = 16;

/// Squared distances of at most a block of rows from `first` on to the centers their labels name.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
pub(super) unsafe fn own_distances<W: Lanes<Elem = f64>, T: Element>(
    data: &Rows<'_, T>,
    first: usize,
    (centers, labels): (&[f64], &[i32]),
    out: &mut [f64; BLOCK],
) {
    let d = data.n_columns();
    let center = |label: i32| {
        let start = usize::try_from(label).unwrap_or(0) * d;
        &centers[start..start + d]
    };
    if let (Some(values), true) = (data.packed(first, labels.len()), d >= WIDE) {
        for ((row, &label), out) in values.chunks_exact(d).zip(labels).zip(out) {
            // SAFETY: the caller vouches for the instruction set.
            *out = unsafe { wide_distance::<W, T>(row, center(label)) };
        }
        return;
    }
    for (chunk, (labels, out)) in (labels.chunks(SIDE).zip(out.chunks_mut(SIDE))).enumerate() {
        let first = first + chunk * SIDE;
        match (data.tail_from(first), <[i32; SIDE]>::try_from(labels)) {
            (Some(values), Ok(labels)) if d < WIDE => {
                let centers = labels.map(center);
                let distances = if d >= PAIRED && values.len() >= (SIDE - 1) * d + WIDE {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { middling_distances::<W, T>(values, centers) }
                } else {
                    narrow_distances(&values[..SIDE * d], centers)
                };
                out.copy_from_slice(&distances);
            }
            _ => {
                for (i, (out, &label)) in out.iter_mut().zip(labels).enumerate() {
                    let whole = d - d % WIDE;
                    let mut sums = [0.0; WIDE];
                    for (j, &c) in center(label).iter().enumerate() {
                        let difference = data.at(first + i, j) - c;
                        // As in `wide_distance`: what is left after whole steps goes to the last sums.
                        let sum = match j {
                            _ if d < WIDE => 0,
                            j if j < whole => j % WIDE,
                            j => j + WIDE - d,
                        };
                        sums[sum] += difference * difference;
                    }
                    *out = total(sums);
                }
            }
        }
    }
}

/// [`narrow_distances`] of rows that fill half of eight lanes and more: squares are computed along the rows, a few of them of
/// what follows a row, and then summed side by side.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn middling_distances<W: Lanes<Elem = f64>, T: Element>(
    values: &[T],
    centers: [&[f64]; SIDE],
) -> [f64; SIDE] {
    let d = centers[0].len();
    assert!(d < WIDE && values.len() >= (SIDE - 1) * d + WIDE);
    assert!(centers.iter().all(|center| center.len() == d));
    let mut sums = [0.0; SIDE];
    let mut first = 0;
    while first < d {
        let count = W::WIDTH.min(d - first);
        // SAFETY: the caller vouches for the instruction set. From each row on there are sixteen values, and first + WIDTH is
        // no more; of a center no more is read than it has.
        unsafe {
            let mut squares = [W::splat(0.0); SIDE];
            for (i, (square, center)) in squares.iter_mut().zip(&centers).enumerate() {
                let x = widened::<W, T>(values.as_ptr().add(i * d + first));
                let center = center.as_ptr().add(first);
                let c = if count == W::WIDTH {
                    W::load(center)
                } else {
                    W::load_first(center, count)
                };
                *square = square.plus_squared_difference(x, c);
            }
            W::add_in_order(squares, count, &mut sums);
        }
        first += W::WIDTH;
    }
    sums
}

/// Squared distances of narrow rows, each summed from the first feature to the last. Not inlined, so that no shell makes
/// slow gathers of it.
#[inline(never)]
fn narrow_distances<T: Element>(values: &[T], centers: [&[f64]; SIDE]) -> [f64; SIDE] {
    let d = values.len() / SIDE;
    let rows: [&[T]; SIDE] = std::array::from_fn(|i| &values[i * d..(i + 1) * d]);
    let mut sums = [0.0; SIDE];
    for j in 0..d {
        for (sum, (x, center)) in sums.iter_mut().zip(rows.iter().zip(&centers)) {
            let difference: f64 = x[j].into() - center[j];
            *sum += difference * difference;
        }
    }
    sums
}

/// A squared distance as sixteen sums side by side. What is left after whole steps is read with what is before it,
/// which is left out: no loop over a few numbers.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn wide_distance<W: Lanes<Elem = f64>, T: Element>(row: &[T], center: &[f64]) -> f64 {
    let mut sums = [0.0; WIDE];
    let (rows, rest) = row.as_chunks::<WIDE>();
    // SAFETY: the caller vouches for the instruction set; all reads and writes are of sixteen numbers, of which at
    // most eight registers are made.
    unsafe {
        let mut registers = [W::splat(0.0); 8];
        for (x, c) in rows.iter().zip(center.as_chunks::<WIDE>().0) {
            let x: [f64; WIDE] = x.map(Into::into);
            for (i, sum) in registers[..WIDE / W::WIDTH].iter_mut().enumerate() {
                let at = i * W::WIDTH;
                *sum = sum.plus_squared_difference(
                    W::load(x.as_ptr().add(at)),
                    W::load(c.as_ptr().add(at)),
                );
            }
        }
        for (i, sum) in registers[..WIDE / W::WIDTH].iter().enumerate() {
            sum.store(sums.as_mut_ptr().add(i * W::WIDTH));
        }
    }
    if !rest.is_empty()
        && let (Some(x), Some(c)) = (row.last_chunk::<WIDE>(), center.last_chunk::<WIDE>())
    {
        for i in 0..WIDE {
            let difference = x[i].into() - c[i];
            let square = difference * difference;
            sums[i] += if i >= WIDE - rest.len() { square } else { 0.0 };
        }
    }
    total(sums)
}

/// The sum of halves, quarters, ... on each other.
#[inline(always)]
fn total(mut sums: [f64; WIDE]) -> f64 {
    let mut half = WIDE / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// Rows that ranges are read and written for at a time.
const SIDE_BY_SIDE: usize = 4;

/// Widens ranges by rows as long as they are.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn widen_all<V: Lanes>(
    rows: &[V::Elem],
    (lowest, highest, zero): Ranges<'_, V::Elem>,
) {
    let width = lowest.len();
    assert!(highest.len() == width && zero.len() == width);
    let mut rest = rows;
    if width >= V::WIDTH {
        let groups = rows.chunks_exact(SIDE_BY_SIDE * width);
        rest = groups.remainder();
        for rows in groups {
            let mut next = rows.as_ptr().cast::<u8>().wrapping_add(AHEAD);
            let mut first = 0;
            while first < width {
                // The last register overlaps the one before it: to see a number twice widens no more.
                let at = first.min(width - V::WIDTH);
                // SAFETY: the caller vouches for the instruction set; a register from `at` on lies within each row.
                unsafe {
                    let mut low = V::load(lowest.as_ptr().add(at));
                    let mut high = V::load(highest.as_ptr().add(at));
                    let mut none = V::load(zero.as_ptr().add(at));
                    for row in 0..SIDE_BY_SIDE {
                        let x = V::load(rows.as_ptr().add(row * width + at));
                        low = x.min(low);
                        high = x.max(high);
                        none = none.minus(x.minus(x));
                        prefetch(next);
                        next = next.wrapping_add(V::WIDTH * size_of::<V::Elem>());
                    }
                    low.store(lowest.as_mut_ptr().add(at));
                    high.store(highest.as_mut_ptr().add(at));
                    none.store(zero.as_mut_ptr().add(at));
                }
                first += V::WIDTH;
            }
        }
    }
    for row in rest.chunks(width.max(1)) {
        let ranges = lowest.iter_mut().zip(&mut *highest).zip(&mut *zero);
        for (((lowest, highest), zero), &x) in ranges.zip(row) {
            widen((lowest, highest, zero), x);
        }
    }
}
