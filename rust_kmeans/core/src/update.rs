//! The update of an iteration: new centers from sums, and what clusters without weight get.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::element::Element;
use crate::exact_sum::ExactTable;
use crate::kernel::Move;

/// The mean of each cluster; a cluster without weight goes to the center of the heaviest, as scikit-learn intends.
pub(crate) fn means<T: Element>(sums: &ExactTable, d: usize, out: &mut [T]) {
    let mut heaviest = (0.0, 0);
    let mut some_empty = false;
    for (c, out) in out.chunks_exact_mut(d).enumerate() {
        let weight = sums.value(c, d);
        if weight > heaviest.0 {
            heaviest = (weight, c);
        }
        if weight > 0.0 {
            for (out, sum) in out.iter_mut().zip(sums.values(c)) {
                *out = T::from_f64(sum / weight);
            }
        } else {
            some_empty = true;
        }
    }
    if some_empty {
        for c in (0..out.len() / d).filter(|&c| sums.value(c, d) <= 0.0) {
            out.copy_within(heaviest.1 * d..(heaviest.1 + 1) * d, c * d);
        }
    }
}

/// Scales each of `centers` (`d` columns) to unit length, in float64 and rounded once; one of length zero becomes what
/// it was in `old`.
///
/// Source: I. S. Dhillon, D. S. Modha, *Concept decompositions for large sparse text data using clustering*, Machine
/// Learning 42 (2001): the concept vectors of its section 2.
pub(crate) fn to_unit_length<T: Element>(old: &[T], d: usize, centers: &mut [T]) {
    for (center, old) in centers.chunks_exact_mut(d).zip(old.chunks_exact(d)) {
        let values = || center.iter().map(|&x| -> f64 { x.into() });
        let largest = values().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        if largest == 0.0 {
            center.copy_from_slice(old);
            continue;
        }
        // Relative to the largest, so that no square underflows that matters and none overflows.
        let squares: f64 = values().map(|x| (x / largest) * (x / largest)).sum();
        let length = squares.sqrt();
        for x in center {
            let value: f64 = (*x).into();
            *x = T::from_f64(value / largest / length);
        }
    }
}

/// Sums in which each cluster without weight has got one of the samples farthest from their centers (farthest first, ties
/// to the lowest index), taken from the sum of its cluster. Labels stay. `None` if no cluster is empty or all samples lie
/// on their centers.
///
/// `farthest(count)` gives those samples with their squared distances; `move_row` moves one between the sums of `d`
/// features and the weight.
pub(crate) fn relocate_empty_clusters(
    sums: &ExactTable,
    (labels, d): (&[i32], usize),
    farthest: impl FnOnce(usize) -> Vec<(f64, usize)>,
    mut move_row: impl FnMut(&mut ExactTable, Move),
) -> Option<ExactTable> {
    let empty: Vec<_> = (0..sums.rows())
        .filter(|&c| sums.value(c, d) == 0.0)
        .collect();
    if empty.is_empty() {
        return None;
    }
    let farthest = farthest(empty.len());
    if farthest
        .first()
        .is_none_or(|&(distance, _)| distance == 0.0)
    {
        return None;
    }
    let mut relocated = sums.clone();
    for (&new, &(_, row)) in empty.iter().zip(&farthest) {
        relocated.clear_row(new);
        let (old, new) = (labels[row], i32::try_from(new).unwrap_or(0));
        move_row(&mut relocated, Move { row, old, new });
    }
    Some(relocated)
}

/// The samples farthest from their centers among those seen; of equally far ones those with the lowest index.
pub(crate) struct Farthest {
    /// Distances are not negative, and the bits of such numbers are ordered as the numbers are. The top is the nearest
    /// kept so far, of equals the one with the highest index.
    heap: BinaryHeap<Reverse<(u64, Reverse<usize>)>>,
    count: usize,
}

impl Farthest {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            count,
        }
    }

    #[inline]
    pub(crate) fn consider(&mut self, distance: f64, row: usize) {
        let seen = Reverse((distance.to_bits(), Reverse(row)));
        if self.heap.len() < self.count {
            self.heap.push(seen);
        } else if let Some(mut top) = self.heap.peek_mut()
            && seen < *top
        {
            *top = seen;
        }
    }

    /// The `count` farthest of all that several have kept, with their distances, farthest first.
    pub(crate) fn first(kept: Vec<Self>, count: usize) -> Vec<(f64, usize)> {
        let mut all: Vec<_> = kept.into_iter().flat_map(|kept| kept.heap).collect();
        all.sort_unstable();
        all.truncate(count);
        all.into_iter()
            .map(|Reverse((bits, Reverse(i)))| (f64::from_bits(bits), i))
            .collect()
    }
}
