//! What must be known of all data before their sums can be exact: ranges, largest weight, number of rows.

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{Grid, Grids};
use crate::kernel::{Isa, widen, widen_all};
use crate::pool::{Pool, rows_per_piece};
use crate::view::Rows;

/// Ranges of the features, the largest weight and the number of rows of a data set, from which the grids of
/// [`crate::exact_sum`] follow. Computed from blocks and merged, it is the same for any split of the rows: a
/// distributed driver computes it first and hands it to every block.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Number of rows.
    pub n_rows: u64,
    /// Smallest value of each feature.
    pub lowest: Vec<f64>,
    /// Largest value of each feature.
    pub highest: Vec<f64>,
    /// Largest weight; 1 without weights.
    pub max_weight: f64,
    /// Whether some weight is positive.
    pub weighty: bool,
}

impl Scale {
    /// Reads all data once: the scale, and the proof that every value is finite and every weight valid.
    ///
    /// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::TooLarge`], [`Error::Shape`] (number of weights), [`Error::Weight`],
    /// [`Error::NotFinite`] with the first row and column, [`Error::Overflow`]; [`Error::Memory`].
    pub fn of<T: Element>(data: Rows<'_, T>, weights: Option<&[f64]>, pool: &Pool) -> Result<Self> {
        data.check_shape()?;
        let (n, d) = (data.n_rows(), data.n_columns());
        let (max_weight, weighty) = check_weights(weights, n)?;
        let threads = pool.useful_threads(n, d * 8);
        let piece = rows_per_piece(n, threads);
        let mut locals = Vec::with_capacity(threads);
        for _ in 0..threads {
            locals.push(Ranges::<T>::new(data, piece.min(n))?);
        }
        pool.for_each((0..n).step_by(piece), &mut locals, |local, first| {
            local.read(data, first, piece.min(n - first));
        });
        if let Some(first_bad) = locals.iter().filter_map(|local| local.bad_piece).min() {
            return Err(locate(data, "X", first_bad));
        }
        let mut scale = Self {
            n_rows: n as u64,
            lowest: try_vec("the ranges of the features", d, f64::INFINITY)?,
            highest: try_vec("the ranges of the features", d, f64::NEG_INFINITY)?,
            max_weight,
            weighty,
        };
        for local in &locals {
            local.fold_into(&mut scale);
        }
        scale.check_overflow()?;
        Ok(scale)
    }

    /// A scale from its fields, as stored before.
    ///
    /// # Errors
    /// [`Error::Shape`] if the numbers of lowest and highest values differ; [`Error::Damaged`] if no data have such a
    /// scale; [`Error::Overflow`] as [`Scale::of`].
    pub fn new(
        n_rows: u64,
        lowest: Vec<f64>,
        highest: Vec<f64>,
        max_weight: f64,
        weighty: bool,
    ) -> Result<Self> {
        if lowest.len() != highest.len() {
            return Err(Error::Shape {
                what: "the stored scale",
                axis: "highest values",
                found: highest.len(),
                expected: lowest.len(),
            });
        }
        let damaged = |reason| Error::Damaged {
            what: "the stored scale",
            reason,
        };
        // Written so that NaN fails.
        if !lowest.iter().zip(&highest).all(|(low, high)| low <= high) {
            return Err(damaged("a lowest value is above the highest"));
        }
        if !(max_weight >= 0.0 && max_weight.is_finite()) {
            return Err(damaged("the largest weight is no weight"));
        }
        if n_rows == 0 || lowest.is_empty() {
            return Err(damaged("it has no rows or no features"));
        }
        let scale = Self {
            n_rows,
            lowest,
            highest,
            max_weight,
            weighty,
        };
        scale.check_overflow()?;
        Ok(scale)
    }

    /// The scale of the rows of both. Associative and commutative.
    ///
    /// # Errors
    /// [`Error::Shape`] if the numbers of features differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.lowest.len() != other.lowest.len() {
            return Err(Error::Shape {
                what: "the other scale",
                axis: "features",
                found: other.lowest.len(),
                expected: self.lowest.len(),
            });
        }
        self.n_rows = self.n_rows.saturating_add(other.n_rows);
        self.max_weight = self.max_weight.max(other.max_weight);
        self.weighty |= other.weighty;
        for (mine, theirs) in self.lowest.iter_mut().zip(&other.lowest) {
            *mine = mine.min(*theirs);
        }
        for (mine, theirs) in self.highest.iter_mut().zip(&other.highest) {
            *mine = mine.max(*theirs);
        }
        Ok(())
    }

    /// Number of features.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.lowest.len()
    }

    /// The scale of `n_rows` rows among these, each of weight 1.
    pub(crate) fn of_drawn(&self, n_rows: usize) -> Self {
        Self {
            n_rows: n_rows as u64,
            max_weight: 1.0,
            ..self.clone()
        }
    }

    /// The middle of the range of each feature.
    pub(crate) fn middle(&self) -> impl Iterator<Item = f64> + '_ {
        let ranges = self.lowest.iter().zip(&self.highest);
        ranges.map(|(lowest, highest)| lowest / 2.0 + highest / 2.0)
    }

    /// Refuses an `other` scale, that of a block, which this one does not cover.
    pub(crate) fn check_covers(&self, other: &Self) -> Result<()> {
        let covers = other.n_rows <= self.n_rows
            && other.max_weight <= self.max_weight
            && self
                .lowest
                .iter()
                .zip(&other.lowest)
                .all(|(mine, theirs)| mine <= theirs)
            && self
                .highest
                .iter()
                .zip(&other.highest)
                .all(|(mine, theirs)| mine >= theirs);
        if covers {
            Ok(())
        } else {
            Err(Error::ScaleMismatch(
                "the block does not lie within the scale",
            ))
        }
    }

    /// Grids of the weighted features and, last, of the weight.
    pub(crate) fn grids(&self) -> Result<Grids> {
        let largest = (self.lowest.iter().zip(&self.highest))
            .map(|(lowest, highest)| lowest.abs().max(highest.abs()) * self.max_weight)
            .chain([self.max_weight]);
        let (high, low): (Vec<_>, Vec<_>) = largest
            .map(|bound| Grid::new(bound, self.n_rows).parts())
            .unzip();
        Grids::from_parts(&high, &low)
    }

    /// The grid of weighted squared distances from any row to any of `centers` (row-major, `n_features` columns).
    pub(crate) fn distance_grid(&self, centers: &[f64]) -> Grid {
        let d = self.n_features();
        let mut bound = 0.0;
        for j in 0..d {
            let column = centers.iter().skip(j).step_by(d);
            let (lowest, highest) = column.fold(
                (self.lowest[j], self.highest[j]),
                |(lowest, highest), &c| (lowest.min(c), highest.max(c)),
            );
            bound += (highest - lowest) * (highest - lowest);
        }
        // The slack covers the rounding of this bound and of the distances, and the largest number of features.
        Grid::new((bound * self.max_weight * 1.01).min(f64::MAX), self.n_rows)
    }

    /// Refuses ranges in which a weighted inertia could overflow.
    fn check_overflow(&self) -> Result<()> {
        let largest = self
            .lowest
            .iter()
            .chain(&self.highest)
            .fold(0.0_f64, |m, x| m.max(x.abs()));
        let squares: f64 = self
            .lowest
            .iter()
            .zip(&self.highest)
            .map(|(a, b)| (a.abs().max(b.abs()) * 2.0).powi(2))
            .sum();
        let total = squares.max(largest) * self.max_weight.max(1.0) * self.n_rows as f64 * 64.0;
        if total.is_finite() {
            Ok(())
        } else {
            Err(Error::Overflow {
                largest: largest.max(self.max_weight),
            })
        }
    }
}

/// Refuses centers that are not finite or so far away that squared distances overflow.
pub(crate) fn check_centers(centers: &[f64], columns: usize) -> Result<()> {
    if let Some(at) = centers.iter().position(|c| !c.is_finite()) {
        return Err(Error::NotFinite {
            what: "the centers",
            value: centers[at],
            row: at / columns,
            column: at % columns,
        });
    }
    let largest = centers.iter().fold(0.0_f64, |m, c| m.max(c.abs()));
    if (largest * largest * 64.0 * columns as f64).is_finite() {
        Ok(())
    } else {
        Err(Error::Overflow { largest })
    }
}

/// Largest weight and whether any is positive.
pub(crate) fn check_weights(weights: Option<&[f64]>, n: usize) -> Result<(f64, bool)> {
    let Some(weights) = weights else {
        return Ok((1.0, true));
    };
    if weights.len() != n {
        return Err(Error::Shape {
            what: "sample_weight",
            axis: "entries",
            found: weights.len(),
            expected: n,
        });
    }
    let mut largest = 0.0_f64;
    for (row, &value) in weights.iter().enumerate() {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::Weight { row, value });
        }
        largest = largest.max(value);
    }
    Ok((largest, largest > 0.0))
}

/// Ranges seen by one thread. Rows without gaps are read several at a time as one long row, so that narrow data fill
/// vector registers too.
struct Ranges<T> {
    isa: Isa,
    lowest: Vec<T>,
    highest: Vec<T>,
    /// Sum of x − x: NaN where some x was not finite.
    zero: Vec<T>,
    /// First row of the earliest piece with a value that is not finite.
    bad_piece: Option<usize>,
    seen: bool,
}

impl<T: Element> Ranges<T> {
    fn new(data: Rows<'_, T>, most_rows: usize) -> Result<Self> {
        const LONG_ROW: usize = 64;
        let d = data.n_columns();
        let together = if data.as_array().is_standard_layout() {
            LONG_ROW.div_ceil(d).min(most_rows)
        } else {
            1
        };
        let zero = T::default();
        let what = "the ranges of the features";
        Ok(Self {
            // Ranges are exact on any instruction set; whoever forces one that is not here is told by what needs one.
            isa: Isa::choose().unwrap_or(Isa::Scalar),
            lowest: try_vec(what, d * together, zero)?,
            highest: try_vec(what, d * together, zero)?,
            zero: try_vec(what, d * together, zero)?,
            bad_piece: None,
            seen: false,
        })
    }

    fn read(&mut self, data: Rows<'_, T>, first: usize, count: usize) {
        let d = data.n_columns();
        if let Some(values) = data.packed(first, count) {
            if !self.seen {
                for (j, (lowest, highest)) in
                    self.lowest.iter_mut().zip(&mut self.highest).enumerate()
                {
                    (*lowest, *highest) = (values[j % d], values[j % d]);
                }
            }
            let ranges = (&mut *self.lowest, &mut *self.highest, &mut *self.zero);
            widen_all(self.isa, values, ranges);
        } else {
            let block = data
                .as_array()
                .slice_move(ndarray::s![first..first + count, ..]);
            for (j, column) in block.columns().into_iter().enumerate() {
                let (mut lowest, mut highest, mut zero) = if self.seen {
                    (self.lowest[j], self.highest[j], self.zero[j])
                } else {
                    (column[0], column[0], T::default())
                };
                for &x in column {
                    widen((&mut lowest, &mut highest, &mut zero), x);
                }
                (self.lowest[j], self.highest[j], self.zero[j]) = (lowest, highest, zero);
            }
        }
        self.seen = true;
        if self.zero.iter().any(|&zero| zero != T::default()) {
            self.bad_piece = Some(self.bad_piece.map_or(first, |bad| bad.min(first)));
            self.zero.fill(T::default());
        }
    }

    fn fold_into(&self, scale: &mut Scale) {
        if !self.seen {
            return;
        }
        let d = scale.lowest.len();
        for (j, (&lowest, &highest)) in self.lowest.iter().zip(&self.highest).enumerate() {
            // Which zero is the lowest depends on the instruction set and the order of the rows: here it is always the same.
            scale.lowest[j % d] = scale.lowest[j % d].min(lowest.into()) + 0.0;
            scale.highest[j % d] = scale.highest[j % d].max(highest.into()) + 0.0;
        }
    }
}

/// The first value that is not finite, searched from row `first` on.
fn locate<T: Element>(data: Rows<'_, T>, what: &'static str, first: usize) -> Error {
    let found = data
        .as_array()
        .slice_move(ndarray::s![first.., ..])
        .indexed_iter()
        .map(|(at, &x)| (at, x.into()))
        .find(|(_, x): &(_, f64)| !x.is_finite());
    let ((row, column), value) = found.unwrap_or(((0, 0), f64::NAN));
    Error::NotFinite {
        what,
        value,
        row: first + row,
        column,
    }
}
