//! A borrowed sparse matrix in compressed rows.

use std::fmt::Debug;

use ndarray::Array2;

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::scale::{Scale, check_weights};

/// A type of indices: `i32` or `i64`, nothing else.
pub trait Index: Copy + Send + Sync + Debug + 'static {
    /// The index, unless it is negative or cannot be addressed.
    fn to_usize(self) -> Option<usize>;
    /// An index that passed [`Index::to_usize`] before.
    fn known(self) -> usize;
}

impl Index for i32 {
    fn to_usize(self) -> Option<usize> {
        usize::try_from(self).ok()
    }

    #[inline(always)]
    fn known(self) -> usize {
        self.cast_unsigned() as usize
    }
}

impl Index for i64 {
    fn to_usize(self) -> Option<usize> {
        usize::try_from(self).ok()
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "checked before")]
    fn known(self) -> usize {
        self.cast_unsigned() as usize
    }
}

/// Samples, shape (`n_samples`, `n_features`), in compressed rows: row i has the values
/// `data[indptr[i]..indptr[i + 1]]` in the columns `indices[indptr[i]..indptr[i + 1]]`, and zeros elsewhere. Columns of
/// a row rise strictly. Values and columns are borrowed; of `indptr` there is a copy.
#[derive(Debug, Clone)]
pub struct Csr<'a, T, I> {
    data: &'a [T],
    indices: &'a [I],
    starts: Vec<usize>,
    n_columns: usize,
}

impl<'a, T: Element, I: Index> Csr<'a, T, I> {
    /// Checks that the arrays describe a matrix with `n_columns` columns.
    ///
    /// # Errors
    /// [`Error::Sparse`] with the first row that is wrong; [`Error::Shape`] if the lengths do not fit together;
    /// [`Error::Empty`] without rows or columns; [`Error::Memory`].
    pub fn new(data: &'a [T], indices: &'a [I], indptr: &[I], n_columns: usize) -> Result<Self> {
        let rows = indptr.len().saturating_sub(1);
        if rows == 0 || n_columns == 0 {
            return Err(Error::Empty {
                rows,
                columns: n_columns,
            });
        }
        if data.len() != indices.len() {
            return Err(Error::Shape {
                what: "the data of X",
                axis: "entries",
                found: data.len(),
                expected: indices.len(),
            });
        }
        let mut starts = try_vec("the starts of the rows", indptr.len(), 0)?;
        let mut least = 0;
        for (row, (start, &given)) in starts.iter_mut().zip(indptr).enumerate() {
            *start = given
                .to_usize()
                .filter(|&start| start >= least && start <= data.len() && (row > 0 || start == 0))
                .ok_or(Error::Sparse {
                    reason: "indptr falls or leaves the data",
                    row: row.saturating_sub(1),
                })?;
            least = *start;
        }
        let csr = Self {
            data,
            indices,
            starts,
            n_columns,
        };
        for row in 0..rows {
            let mut least = 0;
            for index in csr.indices_of(row) {
                least = match index.to_usize() {
                    Some(column) if column >= n_columns => Err("a column is too high"),
                    Some(column) if column >= least => Ok(column + 1),
                    Some(_) => Err("columns do not rise strictly"),
                    None => Err("a column is negative"),
                }
                .map_err(|reason| Error::Sparse { reason, row })?;
            }
        }
        Ok(csr)
    }

    /// Number of samples.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of features.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Nonzeros of a row on average, rounded up.
    pub(super) fn per_row(&self) -> usize {
        self.starts[self.n_rows()].div_ceil(self.n_rows())
    }

    fn indices_of(&self, row: usize) -> &'a [I] {
        &self.indices[self.starts[row]..self.starts[row + 1]]
    }

    /// The stored columns and values of a row, from the first column to the last.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, f64)> + 'a {
        let range = self.starts[row]..self.starts[row + 1];
        let values = self.data[range.clone()].iter();
        self.indices[range]
            .iter()
            .zip(values)
            .map(|(index, &x)| (index.known(), x.into()))
    }

    /// Writes a row into `out`, which is zero and as long as there are columns.
    pub(super) fn scatter(&self, row: usize, out: &mut [f64]) {
        for (column, x) in self.row(row) {
            out[column] = x;
        }
    }

    /// Makes what [`Csr::scatter`] wrote zero again.
    pub(super) fn clear(&self, row: usize, out: &mut [f64]) {
        for (column, _) in self.row(row) {
            out[column] = 0.0;
        }
    }

    /// Some rows made dense, shape (their number, `n_columns`).
    pub(super) fn select(&self, rows: &[usize]) -> Result<Array2<T>> {
        let shape = (rows.len(), self.n_columns);
        let too_large = Error::TooLarge {
            what: "the centers",
            rows: shape.0,
            columns: shape.1,
        };
        let Some(cells) = shape.0.checked_mul(shape.1) else {
            return Err(too_large);
        };
        let cells = try_vec("the centers", cells, T::default())?;
        let mut dense = Array2::from_shape_vec(shape, cells).map_err(|_| too_large)?;
        for (mut out, &row) in dense.rows_mut().into_iter().zip(rows) {
            for (column, x) in self.row(row) {
                out[column] = T::from_f64(x);
            }
        }
        Ok(dense)
    }

    /// [`Scale::of`] the dense matrix.
    pub(super) fn scale(&self, weights: Option<&[f64]>) -> Result<Scale> {
        let (n, d) = (self.n_rows(), self.n_columns);
        let (max_weight, weighty) = check_weights(weights, n)?;
        let what = "the ranges of the features";
        let mut lowest = try_vec(what, d, f64::INFINITY)?;
        let mut highest = try_vec(what, d, f64::NEG_INFINITY)?;
        let mut stored = try_vec(what, d, 0_usize)?;
        for row in 0..n {
            for (column, x) in self.row(row) {
                if !x.is_finite() {
                    return Err(Error::NotFinite {
                        what: "X",
                        value: x,
                        row,
                        column,
                    });
                }
                lowest[column] = x.min(lowest[column]);
                highest[column] = x.max(highest[column]);
                stored[column] += 1;
            }
        }
        for ((lowest, highest), stored) in lowest.iter_mut().zip(&mut highest).zip(stored) {
            if stored < n {
                (*lowest, *highest) = (lowest.min(0.0), highest.max(0.0));
            }
        }
        Scale::new(n as u64, lowest, highest, max_weight, weighty)
    }
}
