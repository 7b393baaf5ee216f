//! Squared distances of sparse rows, where a label alone is not enough.

use ndarray::ArrayView2;

use super::view::{Csr, Index};
use crate::element::Element;
use crate::kernel::{BLOCK, Isa, own_distances};
use crate::view::Rows;

/// The squared distance between two rows: [`crate::squared_distance`] of the dense rows, bit for bit, since a feature that
/// both lack adds nothing to the sum.
pub(super) fn between<T: Element, I: Index>(data: &Csr<'_, T, I>, row: usize, other: usize) -> f64 {
    const END: usize = usize::MAX;
    let (mut left, mut right) = (data.row(row), data.row(other));
    let (mut x, mut c) = (left.next(), right.next());
    let mut sum = 0.0;
    loop {
        let column = |cell: Option<(usize, f64)>| cell.map_or(END, |(column, _)| column);
        let first = column(x).min(column(c));
        if first == END {
            return sum;
        }
        let mut difference = 0.0;
        if let Some((_, value)) = x.filter(|&(column, _)| column == first) {
            difference = value;
            x = left.next();
        }
        if let Some((_, value)) = c.filter(|&(column, _)| column == first) {
            difference -= value;
            c = right.next();
        }
        sum += difference * difference;
    }
}

/// Squared distances of rows to their own centers.
pub(super) struct OwnDistances<'a> {
    /// Row-major.
    centers: &'a [f64],
    d: usize,
    /// ‖c‖² of each.
    squares: Vec<f64>,
    isa: Isa,
}

impl<'a> OwnDistances<'a> {
    /// Distances are at least this part of ‖x‖² + ‖c‖² where they are taken from these, so that few digits cancel.
    const LEAST_PART: f64 = 1.0 / 16.0;
    /// A row with at least one nonzero in so many features is made dense: it costs no more.
    const MANY: usize = 16;

    pub(super) fn new(centers: &'a [f64], d: usize, isa: Isa) -> Self {
        let squares = |center: &[f64]| center.iter().map(|x| x * x).sum();
        Self {
            centers,
            d,
            squares: centers.chunks_exact(d).map(squares).collect(),
            isa,
        }
    }

    /// The relative error of a distance is below this.
    pub(super) fn slack(&self) -> f64 {
        2.0 / Self::LEAST_PART * crate::kernel::slack(self.d)
    }

    /// The squared distance of a row to the center its label names, ‖c‖² + Σ x·(x − 2c) over its nonzeros; that of the
    /// dense row ([`OwnDistances::dense`]) where this cancels or costs no less.
    pub(super) fn distance<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        (row, label): (usize, i32),
        scratch: &mut [f64],
    ) -> f64 {
        let c = usize::try_from(label).unwrap_or(0);
        let center = &self.centers[c * self.d..(c + 1) * self.d];
        let nonzeros = data.row(row);
        if nonzeros.len() < self.d / Self::MANY {
            let (mut change, mut squares) = (0.0, self.squares[c]);
            for (column, x) in nonzeros {
                change += x * (x - 2.0 * center[column]);
                squares += x * x;
            }
            let distance = self.squares[c] + change;
            if distance > squares * Self::LEAST_PART {
                return distance;
            }
        }
        self.dense(data, (row, label), scratch)
    }

    /// The same bits as that of the dense data. `scratch` is zero and has the length of a row, before and after.
    pub(super) fn dense<T: Element, I: Index>(
        &self,
        data: &Csr<'_, T, I>,
        (row, label): (usize, i32),
        scratch: &mut [f64],
    ) -> f64 {
        data.scatter(row, scratch);
        let mut distances = [0.0; BLOCK];
        let view = ArrayView2::from_shape((1, self.d), &*scratch);
        if let Ok(view) = view {
            let centers = (self.centers, &[label][..]);
            own_distances(self.isa, &Rows::new(view), 0, centers, &mut distances);
        }
        data.clear(row, scratch);
        distances[0]
    }
}
