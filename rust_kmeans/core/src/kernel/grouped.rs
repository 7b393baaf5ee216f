//! Screening against the groups of centers that bounds do not exclude: along the rows, as in [`super::along`], so that the
//! rows that need a group are picked without a transposition.
//!
//! # Why it is exact
//! A row comes with a lower bound on its distances to the centers of each group, its own center left out. Its score with its own
//! center gives an upper bound u on that distance ([`super::margin`]): both hold for the computed float64 distances that
//! define labels. A group whose bound is above u holds no nearer center and no equal one, so the nearest is its own center
//! or one of the other groups, which are scored. Among those the proof is that of [`super::generic`]: the gap between the
//! two least scores, against the bound on their rounding.

use super::along::{Centers, Four, ROWS};
use super::generic::Running;
use super::lanes::Lanes;
use super::{BLOCK, Packed, Scratch, padded};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::view::Source;

/// Bytes a sample that bounds may take in any case, and how many bytes of a row allow them one more.
const BYTES: usize = 16;
const ROW_BYTES: usize = 16;
/// Least number of centers a group, on average: with fewer a group's bound costs as much as its centers.
const CENTERS: usize = 4;
/// Most groups: a row's groups are the bits of a number.
const MOST: usize = u64::BITS as usize;

/// Into how many groups bounds for `k` centers of `d` features put them, so that one bound a group and the margin of a sample
/// take at most 16 bytes or a sixteenth of a row, whichever is more; 0 if that leaves fewer than two groups.
pub(crate) fn groups_for<T>(k: usize, d: usize) -> usize {
    let numbers = BYTES.max(d * size_of::<T>() / ROW_BYTES) / size_of::<T>();
    let groups = (numbers - 1).min(k / CENTERS).min(MOST);
    if groups < 2 { 0 } else { groups }
}

/// Centers in groups, laid out for the kernel and reused from iteration to iteration.
#[derive(Debug)]
pub(crate) struct Grouped<T> {
    /// The centers, group by group, and where each group starts and the last ends.
    order: Vec<usize>,
    starts: Vec<usize>,
    /// For each center its place in the order, and its group.
    places: Vec<usize>,
    groups: Vec<usize>,
    /// Less the shift, in that order, each filled up with 0 to the width of [`Packed::width`].
    rows: Vec<T>,
    /// ½‖c‖² of each, in that order.
    half: Vec<T>,
}

/// What [`screen`] found beside labels and margins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screened {
    /// The bits of the rows whose label is not proven.
    pub(crate) unproven: u64,
    /// Scores computed.
    pub(crate) pairs: usize,
}

impl<T: Element> Grouped<T> {
    /// Room for centers of `d` features, of which each belongs to the group that `group_of` names.
    pub(crate) fn new(group_of: &[i32], d: usize) -> Result<Self> {
        let (what, k) = ("the groups of centers", group_of.len());
        let mut order = try_vec(what, k, 0)?;
        for (c, order) in order.iter_mut().enumerate() {
            *order = c;
        }
        order.sort_by_key(|&c| group_of[c]);
        let mut grouped = Self {
            order,
            starts: vec![0],
            places: try_vec(what, k, 0)?,
            groups: try_vec(what, k, 0)?,
            rows: try_vec(what, k.saturating_mul(padded(d)), T::default())?,
            half: try_vec(what, k, T::default())?,
        };
        for (place, &c) in grouped.order.iter().enumerate() {
            if place > 0 && group_of[c] != group_of[grouped.order[place - 1]] {
                grouped.starts.push(place);
            }
            grouped.places[c] = place;
            grouped.groups[c] = grouped.starts.len() - 1;
        }
        grouped.starts.push(k);
        Ok(grouped)
    }

    /// Takes the centers that `packed` has taken.
    pub(crate) fn load(&mut self, packed: &Packed<T>) {
        let width = packed.width();
        for (place, &c) in self.order.iter().enumerate() {
            let center = &packed.exact[c * packed.d..(c + 1) * packed.d];
            let row = self.rows[place * width..].iter_mut();
            for (out, (&c, &shift)) in row.zip(center.iter().zip(&packed.shift)) {
                *out = T::from_f64(c - shift.into());
            }
            self.half[place] = packed.half[c];
        }
    }

    /// How many groups there are: none is empty.
    pub(crate) fn n_groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// The group of each center.
    pub(crate) fn group_of(&self) -> &[usize] {
        &self.groups
    }
}

/// Screens at most one block of rows that have `labels`. `scratch.lower` has, a line a group, lower bounds on the distances of
/// each row to the group's centers but its own; it gets those that hold for the new labels, and `scratch.renewed` the bits of
/// the groups whose bounds are others than before. Labels and margins as in [`super::generic::screen`].
///
/// # Safety
/// The CPU must have the instruction set of `V`. The features of a row lie one after the other.
#[inline(always)]
pub(super) unsafe fn screen<V: Lanes>(
    packed: &Packed<V::Elem>,
    grouped: &Grouped<V::Elem>,
    source: &Source<'_, V::Elem>,
    labels: &[i32; BLOCK],
    scratch: &mut Scratch<V::Elem>,
) -> Screened {
    let rows = source.len().min(BLOCK);
    let place = |label: i32| usize::try_from(label).map_or(0, |c| grouped.places[c]);
    let own_places = labels.map(place);
    let all = Centers::new(&grouped.rows, &packed.shift, packed.d);
    for first in (0..rows).step_by(ROWS) {
        let four = Four::of(source, first);
        let places = std::array::from_fn(|i| own_places[(first + i).min(rows - 1)]);
        // SAFETY: the caller vouches for the instruction set; the rows are those of the source.
        unsafe {
            all.score_own::<V, true>(&four, places, &mut scratch.best, &mut scratch.negated);
        }
    }
    let mut nearest = Nearest::of_own(packed, grouped, (&own_places, rows), scratch);
    let mut pairs = rows;
    for (group, ends) in grouped.starts.windows(2).enumerate() {
        let (listed, count) = nearest.in_need_of(group, rows);
        if count == 0 {
            continue;
        }
        let size = ends[1] - ends[0];
        pairs += size * count;
        let rows = &grouped.rows[ends[0] * packed.width()..];
        let centers = Centers::new(rows, &packed.shift, packed.d);
        for first in (0..count).step_by(ROWS) {
            let pick = |i: usize| source.row(listed[(first + i).min(count - 1)]);
            let four = Four {
                rows: std::array::from_fn(pick),
                next: [std::ptr::null(); ROWS],
                at: first,
            };
            let Scratch {
                scores, negated, ..
            } = &mut *scratch;
            // SAFETY: as above.
            unsafe { centers.score_all::<V, false>(&four, &mut scores[..size], negated) };
        }
        let mut lane = 0;
        while lane < count {
            // SAFETY: lane + WIDTH <= BLOCK, the length of a line; there is a line a center.
            unsafe {
                let mut running = Running::<V, 1>::new();
                let lines = scratch.scores[..size].iter().zip(&grouped.half[ends[0]..]);
                for (c, (line, &half)) in lines.enumerate() {
                    let score = V::splat(half).plus(V::load(line.0.as_ptr().add(lane)));
                    running.fold([score], ends[0] + c);
                }
                running.judge::<true>(packed, scratch, lane);
            }
            lane += V::WIDTH;
        }
        nearest.take(group, &listed[..count], scratch);
    }
    let unproven = nearest.conclude(packed, grouped, (&own_places, rows), scratch);
    Screened { unproven, pairs }
}

/// What is known of each row of a block.
struct Nearest<T> {
    squares: [T; BLOCK],
    error: [T; BLOCK],
    /// Score of its own center.
    own: [T; BLOCK],
    /// Least and second least score, place of the least, and the second least score in the group of that.
    best: [T; BLOCK],
    second: [T; BLOCK],
    place: [usize; BLOCK],
    second_in_group: [T; BLOCK],
    /// Groups that bounds do not exclude.
    needed: [u64; BLOCK],
}

impl<T: Element> Nearest<T> {
    /// From the products with the own centers in `scratch.best` and the sums of squares. Where the own group is needed, the own
    /// center is scored with it.
    #[inline(always)]
    fn of_own(
        packed: &Packed<T>,
        grouped: &Grouped<T>,
        (own_places, rows): (&[usize; BLOCK], usize),
        scratch: &Scratch<T>,
    ) -> Self {
        let infinite = T::from_f64(f64::INFINITY);
        let mut nearest = Self {
            squares: [T::default(); BLOCK],
            error: [T::default(); BLOCK],
            own: scratch.best.0,
            best: [infinite; BLOCK],
            second: [infinite; BLOCK],
            place: *own_places,
            second_in_group: [infinite; BLOCK],
            needed: [0; BLOCK],
        };
        let mut reach = [infinite; BLOCK];
        for i in 0..rows {
            let squares = T::default() - scratch.negated.0[i];
            let error = packed.margin.error(squares);
            nearest.own[i] = grouped.half[own_places[i]] + nearest.own[i];
            (nearest.squares[i], nearest.error[i]) = (squares, error);
            if error < infinite {
                reach[i] = packed.margin.at_most(squares, nearest.own[i], error);
            }
        }
        for (group, line) in scratch.lower[..grouped.n_groups()].iter().enumerate() {
            for (needed, (&lower, &reach)) in
                nearest.needed.iter_mut().zip(line.0.iter().zip(&reach))
            {
                let excluded = lower > reach;
                *needed |= u64::from(!excluded) << group;
            }
        }
        for (i, &place) in own_places.iter().enumerate().take(rows) {
            let own_group = grouped.groups[grouped.order[place]];
            if nearest.needed[i] >> own_group & 1 == 0 {
                nearest.best[i] = nearest.own[i];
            }
        }
        nearest
    }

    /// The rows that need a group, and how many they are.
    #[inline(always)]
    fn in_need_of(&self, group: usize, rows: usize) -> ([usize; BLOCK], usize) {
        let (mut listed, mut count) = ([0; BLOCK], 0);
        for (i, &needed) in self.needed.iter().enumerate().take(rows) {
            listed[count] = i;
            count += usize::from(needed >> group & 1 == 1);
        }
        (listed, count)
    }

    /// Takes in what was found for the listed rows in a group, and keeps its least scores in place of the bounds.
    #[inline(always)]
    fn take(&mut self, group: usize, listed: &[usize], scratch: &mut Scratch<T>) {
        for (at, &i) in listed.iter().enumerate() {
            let (best, second) = (scratch.best.0[at], scratch.second.0[at]);
            scratch.lower[group].0[i] = best;
            if best < self.best[i] {
                self.second[i] = least(self.best[i], second);
                self.best[i] = best;
                self.place[i] = scratch.indices.0[at].to_index() as usize;
                self.second_in_group[i] = second;
            } else {
                self.second[i] = least(self.second[i], best);
            }
        }
    }

    /// Writes labels, margins and bounds; the bits of the rows that are not proven.
    #[inline(always)]
    fn conclude(
        &mut self,
        packed: &Packed<T>,
        grouped: &Grouped<T>,
        (own_places, rows): (&[usize; BLOCK], usize),
        scratch: &mut Scratch<T>,
    ) -> u64 {
        let group_at = |place: usize| grouped.groups[grouped.order[place]];
        let mut unproven = 0;
        for (i, &own_place) in own_places.iter().enumerate().take(rows) {
            let (own_group, group) = (group_at(own_place), group_at(self.place[i]));
            if self.needed[i] >> group & 1 == 1 {
                scratch.lower[group].0[i] = self.second_in_group[i];
            }
            let mut next = T::from_f64(T::HUGE);
            for (at, line) in scratch.lower[..grouped.n_groups()].iter_mut().enumerate() {
                let lower = &mut line.0[i];
                if self.needed[i] >> at & 1 == 1 {
                    // Finite also where the group has no center but its own, so that it can be stored.
                    let distance = packed
                        .margin
                        .at_least(self.squares[i], *lower, self.error[i]);
                    *lower = least(distance, T::from_f64(T::HUGE));
                } else if at == own_group && self.place[i] != own_place {
                    // Its old center is one of the others now.
                    let distance =
                        packed
                            .margin
                            .at_least(self.squares[i], self.own[i], self.error[i]);
                    *lower = least(distance, *lower);
                    self.needed[i] |= 1 << at;
                }
                next = least(next, *lower);
            }
            let reach = packed
                .margin
                .at_most(self.squares[i], self.best[i], self.error[i]);
            scratch.margins.0[i] = next - reach;
            let gap = self.second[i].minus(self.best[i]);
            let sure = packed.bound.for_all < gap
                || packed.bound.proves(gap.into(), self.squares[i].into());
            unproven |= u64::from(!sure) << i;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "labels are i32: k was checked"
            )]
            let label = grouped.order[self.place[i]] as u32;
            scratch.indices.0[i] = T::from_index(label);
        }
        scratch.renewed = self.needed;
        unproven
    }
}

/// The smaller; the second if one is not a number.
#[inline(always)]
fn least<T: Element>(a: T, b: T) -> T {
    if a < b { a } else { b }
}
