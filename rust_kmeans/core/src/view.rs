//! A borrowed matrix of any strides, read in place.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result};

/// Samples, shape (`n_samples`, `n_features`), borrowed with any strides and never copied as a whole: rows in C order
/// (padded or not) are read directly, Fortran order and other strides are gathered a block of rows at a time.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    data: ArrayView2<'a, T>,
}

impl<'a, T: Element> Rows<'a, T> {
    /// Wraps a view.
    #[must_use]
    pub fn new(data: ArrayView2<'a, T>) -> Self {
        Self { data }
    }

    /// Number of samples.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.data.nrows()
    }

    /// Number of features.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.data.ncols()
    }

    /// The wrapped view.
    #[must_use]
    pub fn as_array(&self) -> ArrayView2<'a, T> {
        self.data
    }

    /// Refuses shapes without rows or columns, and more rows than a label or an offset can count.
    pub(crate) fn check_shape(&self) -> Result<()> {
        let (rows, columns) = self.data.dim();
        if rows == 0 || columns == 0 {
            return Err(Error::Empty { rows, columns });
        }
        let bytes = rows
            .checked_mul(columns)
            .and_then(|cells| cells.checked_mul(size_of::<f64>()));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Error::TooLarge {
                what: "the data",
                rows,
                columns,
            });
        }
        Ok(())
    }

    /// Copies one row as float64 into `out` (length `n_columns`).
    #[inline]
    pub(crate) fn read_row(&self, row: usize, out: &mut [f64]) {
        for (out, &x) in out.iter_mut().zip(self.data.row(row)) {
            *out = x.into();
        }
    }

    /// All rows `first..first + count` as one slice, if they lie one after the other without gaps.
    #[inline]
    pub(crate) fn packed(&self, first: usize, count: usize) -> Option<&'a [T]> {
        let columns = self.n_columns();
        let whole = self.data.to_slice()?;
        whole.get(first * columns..(first + count) * columns)
    }

    /// Address of row `first` and the strides, in elements.
    #[inline]
    pub(crate) fn source(&self, first: usize) -> Source<'a, T> {
        let strides = self.data.strides();
        let rows = self.data.slice_move(ndarray::s![first.., ..]);
        Source {
            start: rows.as_ptr(),
            row_stride: strides[0],
            column_stride: strides[1],
            rows,
        }
    }
}

/// Where a block of rows lies in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a, T> {
    /// First element of the first row.
    pub(crate) start: *const T,
    pub(crate) row_stride: isize,
    pub(crate) column_stride: isize,
    /// Keeps the borrow, and the bounds for checks.
    pub(crate) rows: ArrayView2<'a, T>,
}
