//! A borrowed matrix of any strides, read in place.

use ndarray::ArrayView2;

use crate::element::Element;
use crate::error::{Error, Result};

/// Samples, shape (`n_samples`, `n_features`), borrowed with any strides and never copied as a whole: rows in C order
/// (padded or not) are read directly, Fortran order and other strides are gathered a block of rows at a time.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    data: ArrayView2<'a, T>,
    /// All elements, if rows lie one after the other without gaps.
    packed: Option<&'a [T]>,
}

impl<'a, T: Element> Rows<'a, T> {
    /// Wraps a view.
    #[must_use]
    pub fn new(data: ArrayView2<'a, T>) -> Self {
        Self {
            data,
            packed: data.to_slice(),
        }
    }

    /// The same, borrowed for less long.
    pub(crate) fn reborrow<'b>(self) -> Rows<'b, T>
    where
        'a: 'b,
    {
        Rows {
            data: self.data.reborrow(),
            packed: self.packed,
        }
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
        self.packed?.get(first * columns..(first + count) * columns)
    }

    /// A row and all that follow, if rows lie one after the other without gaps.
    #[inline(always)]
    pub(crate) fn tail_from(&self, row: usize) -> Option<&'a [T]> {
        self.packed?.get(row * self.n_columns()..)
    }

    /// One row, if its elements lie one after the other.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> Option<&'a [T]> {
        match self.packed {
            Some(_) => self.packed(row, 1),
            None => self.data.slice_move(ndarray::s![row, ..]).to_slice(),
        }
    }

    /// One number, which lies within the view.
    #[inline(always)]
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.data[[row, column]].into()
    }

    /// Asks for the first elements of a row, which will be read soon: two lines of the cache, or no more than it lies in.
    #[inline]
    pub(crate) fn prefetch(&self, row: usize) {
        let start = self
            .data
            .as_ptr()
            .wrapping_offset(row.cast_signed() * self.data.strides()[0])
            .cast::<u8>();
        prefetch(start);
        prefetch(start.wrapping_add((self.n_columns() * size_of::<T>() - 1).min(64)));
    }

    /// At most `most` rows from row `first` on.
    #[inline]
    pub(crate) fn source(&self, first: usize, most: usize) -> Source<'a, T> {
        Source {
            rows: self.data,
            first,
            len: (self.n_rows() - first).min(most),
            listed: None,
            packed: self.packed.is_some(),
            following: &[],
        }
    }

    /// The rows `listed`, each less than the number of rows. `following` will be read next.
    #[inline]
    pub(crate) fn listed<'b>(&self, listed: &'b [usize], following: &'b [usize]) -> Source<'b, T>
    where
        'a: 'b,
    {
        assert!(listed.iter().all(|&row| row < self.n_rows()));
        Source {
            rows: self.data,
            first: 0,
            len: listed.len(),
            listed: Some(listed),
            packed: false,
            following,
        }
    }
}

/// Where the rows of a block lie in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a, T> {
    rows: ArrayView2<'a, T>,
    first: usize,
    len: usize,
    /// Which rows; `None` for those from `first` on.
    listed: Option<&'a [usize]>,
    /// Whether the rows lie one after the other without gaps.
    packed: bool,
    /// Listed rows that will be read next.
    following: &'a [usize],
}

impl<T> Source<'_, T> {
    /// Number of rows.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Which row of the data row `i` is.
    #[inline(always)]
    pub(crate) fn index(&self, i: usize) -> usize {
        self.listed.map_or(self.first + i, |listed| listed[i])
    }

    /// Number of columns.
    #[inline(always)]
    pub(crate) fn columns(&self) -> usize {
        self.rows.ncols()
    }

    /// Elements from one column to the next.
    #[inline(always)]
    pub(crate) fn across(&self) -> isize {
        self.rows.strides()[1]
    }

    /// Elements from one row to the next, if it is the same for all.
    #[inline(always)]
    pub(crate) fn down(&self) -> Option<isize> {
        match self.listed {
            None => Some(self.rows.strides()[0]),
            Some(_) => None,
        }
    }

    /// Whether the rows lie one after the other without gaps.
    #[inline(always)]
    pub(crate) fn is_packed(&self) -> bool {
        self.packed
    }

    /// Address of the row that will be read `i` rows after the first of this block, in this one or the next; of some row,
    /// or of none, where that is not known.
    #[inline(always)]
    pub(crate) fn upcoming(&self, i: usize) -> *const T {
        match self.listed {
            None => self.address(self.first + i),
            Some(listed) => {
                let next = i.checked_sub(listed.len()).map(|i| self.following.get(i));
                next.map_or_else(
                    || self.row(i),
                    |row| self.address(row.copied().unwrap_or(0)),
                )
            }
        }
    }

    /// Writes the addresses of the rows that will be read next, as many as there is room for; returns how many.
    #[inline(always)]
    pub(crate) fn following(&self, starts: &mut [*const T]) -> usize {
        for (start, &row) in starts.iter_mut().zip(self.following) {
            *start = self.address(row);
        }
        starts.len().min(self.following.len())
    }

    /// Address of the first element of row `i`, which lies within the view if i is less than [`Source::len`].
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> *const T {
        self.address(self.index(i))
    }

    #[inline(always)]
    fn address(&self, row: usize) -> *const T {
        self.rows
            .as_ptr()
            .wrapping_offset(row.cast_signed() * self.rows.strides()[0])
    }
}

/// Bytes between memory that is read from first to last and what is asked for: more than arrives in the time one answer
/// takes.
pub(crate) const AHEAD: usize = 8 << 10;

/// Asks for the memory at an address, valid or not, before its turn comes: into the second-level cache. The first-level one
/// waits for some twenty lines at a time, which is less than memory can deliver.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 CPU has the instruction, and it reads nothing: any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
