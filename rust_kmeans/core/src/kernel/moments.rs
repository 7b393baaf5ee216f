//! Sums of features less their middles, and of the squares of these differences: what variances follow from.
//!
//! A sum would wait for its own last addition at every row. A power of two of rows (64 numbers or more, fixed by the number
//! of features alone) is therefore one long row, each of whose places has sums of its own, added row by row and at the
//! end to those of its feature, from the first place to the last. So the order of additions depends on neither the
//! registers nor the strides.

use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Isa, PANEL_BYTES, WIDEST};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::view::Rows;

/// What memory is asked for.
const SUMS: &str = "the sums of the features";
/// Least numbers of a long row: no tile of any instruction set is wider.
const LONG_ROW: usize = 64;
/// Long rows read at least before the next tile is, so that sums are seldom loaded and stored.
const LEAST_ROWS: usize = 8;

/// Room for the sums of some rows.
#[derive(Debug)]
pub(crate) struct FeatureSums<T> {
    isa: Isa,
    /// Subtracted from each place of a long row.
    middle: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// A block of rows that do not lie one after the other, copied so that they do; else empty.
    gathered: Vec<T>,
}

impl<T: Element> FeatureSums<T> {
    /// For rows of `data`; `middle` is subtracted from their features. Sums are the same on any instruction set; whoever
    /// forces one that is not here is told by what needs one.
    pub(crate) fn new(data: &Rows<'_, T>, middle: &[f64]) -> Result<Self> {
        let d = middle.len();
        // At most a block, of which it is a divisor: both are powers of two.
        let together = LONG_ROW.div_ceil(d).next_power_of_two();
        let mut repeated = try_vec(SUMS, together * d, 0.0)?;
        for row in repeated.chunks_exact_mut(d) {
            row.copy_from_slice(middle);
        }
        Ok(Self {
            isa: Isa::choose().unwrap_or(Isa::Scalar),
            middle: repeated,
            sums: try_vec(SUMS, together * d, 0.0)?,
            squares: try_vec(SUMS, together * d, 0.0)?,
            gathered: match data.packed(0, 0) {
                Some(_) => Vec::new(),
                None => try_vec("a block of samples", BLOCK.saturating_mul(d), T::default())?,
            },
        })
    }

    /// Adds the sums of the differences and of their squares, over `count` rows from `first` on, for each feature.
    pub(crate) fn add_to(
        &mut self,
        (sums, squares): (&mut [f64], &mut [f64]),
        data: &Rows<'_, T>,
        (first, count): (usize, usize),
    ) {
        let d = sums.len();
        self.sums.fill(0.0);
        self.squares.fill(0.0);
        if let Some(values) = data.packed(first, count) {
            add_all(
                self.isa,
                values,
                &self.middle,
                (&mut self.sums, &mut self.squares),
            );
        } else {
            for start in (0..count).step_by(BLOCK) {
                let rows = BLOCK.min(count - start);
                let values = &mut self.gathered[..rows * d];
                gather(data, first + start, values);
                add_all(
                    self.isa,
                    values,
                    &self.middle,
                    (&mut self.sums, &mut self.squares),
                );
            }
        }
        for (total, places) in [(sums, &self.sums), (squares, &self.squares)] {
            for row in places.chunks_exact(d) {
                for (total, &place) in total.iter_mut().zip(row) {
                    *total += place;
                }
            }
        }
    }
}

/// Copies rows from `first` on, as many as there is room for.
fn gather<T: Element>(data: &Rows<'_, T>, first: usize, to: &mut [T]) {
    let d = data.n_columns();
    if data.row(first).is_some() {
        for (i, to) in to.chunks_exact_mut(d).enumerate() {
            if let Some(row) = data.row(first + i) {
                to.copy_from_slice(row);
            }
        }
        return;
    }
    let last = first + to.len() / d;
    let block = data.as_array().slice_move(ndarray::s![first..last, ..]);
    for (j, column) in block.columns().into_iter().enumerate() {
        for (to, &x) in to[j..].iter_mut().step_by(d).zip(column) {
            *to = x;
        }
    }
}

/// Adds rows, one after the other without gaps, to the sums of each place; the last long row may be shorter.
fn add_all<T: Element>(isa: Isa, rows: &[T], middle: &[f64], sums: (&mut [f64], &mut [f64])) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::choose` names none that is not here.
        Isa::Avx512 => unsafe { avx512(rows, middle, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::choose` names none that is not here.
        Isa::Avx2 => unsafe { avx2(rows, middle, sums) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `Isa::choose` names none that is not here.
        Isa::Neon => unsafe { neon(rows, middle, sums) },
        // SAFETY: plain Rust needs no instruction set.
        _ => unsafe { add_rows::<<f64 as LanesOf>::Scalar, T, 2>(rows, middle, sums) },
    }
}

/// Declares the shell of [`add_rows`] for one instruction set, with so many registers of sums at a time, and as many of
/// sums of squares and of middles.
macro_rules! shell {
    ($name:ident, $lanes:ident, $together:literal, $feature:literal) => {
        /// As [`add_rows`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        unsafe fn $name<T: Element>(rows: &[T], middle: &[f64], sums: (&mut [f64], &mut [f64])) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { add_rows::<<f64 as LanesOf>::$lanes, T, $together>(rows, middle, sums) };
        }
    };
}

#[cfg(target_arch = "x86_64")]
shell!(avx512, Avx512, 4, "avx512f,avx512vl");
#[cfg(target_arch = "x86_64")]
shell!(avx2, Avx2, 4, "avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, Neon, 4, "neon");

/// As [`add_all`], `M` registers of places at a time, at most four.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn add_rows<W: Lanes<Elem = f64>, T: Element, const M: usize>(
    rows: &[T],
    middle: &[f64],
    (sums, squares): (&mut [f64], &mut [f64]),
) {
    let width = middle.len();
    assert!(width >= LONG_ROW && sums.len() == width && squares.len() == width);
    let whole = rows.len() - rows.len() % width;
    let (rows, rest) = rows.split_at(whole);
    let tile = M * W::WIDTH;
    // So many that the next tile finds them in the first-level cache.
    let cached = (PANEL_BYTES / 2 / (width * size_of::<T>())).max(LEAST_ROWS);
    for rows in rows.chunks(cached * width) {
        // SAFETY: the caller vouches for the instruction set; tiles end at the width, and none is wider.
        unsafe {
            for first in (0..=width - tile).step_by(tile) {
                add_tile::<W, T, M>(rows, (first, first), middle, (sums, squares));
            }
            let rest = width % tile;
            let registers = rest.div_ceil(W::WIDTH);
            let places = (width - registers * W::WIDTH, width - rest);
            match registers {
                0 => {}
                1 => add_tile::<W, T, 1>(rows, places, middle, (sums, squares)),
                2 => add_tile::<W, T, 2>(rows, places, middle, (sums, squares)),
                3 => add_tile::<W, T, 3>(rows, places, middle, (sums, squares)),
                _ => add_tile::<W, T, M>(rows, places, middle, (sums, squares)),
            }
        }
    }
    let places = sums.iter_mut().zip(squares).zip(middle);
    for (((sum, square), &middle), &x) in places.zip(rest) {
        let x: f64 = x.into();
        let x = x - middle;
        *sum += x;
        *square += x * x;
    }
}

/// Adds `M` registers of places of whole long rows, from place `first` on; those before `fresh` have been added already,
/// and are read with the others but not stored: no loop over a few numbers.
///
/// # Safety
/// The CPU must have the instruction set of `W`; the places must lie within the long rows, which are as long as `middle`.
#[inline(always)]
unsafe fn add_tile<W: Lanes<Elem = f64>, T: Element, const M: usize>(
    rows: &[T],
    (first, fresh): (usize, usize),
    middle: &[f64],
    (sums, squares): (&mut [f64], &mut [f64]),
) {
    // SAFETY: the caller vouches for the instruction set and that all M registers lie within a long row.
    unsafe {
        let load = |from: &[f64]| -> [W; M] {
            std::array::from_fn(|i| W::load(from.as_ptr().add(first + i * W::WIDTH)))
        };
        let middles = load(middle);
        let (mut sum, mut square) = (load(sums), load(squares));
        for row in rows.chunks_exact(middle.len()) {
            let row = row.as_ptr().add(first);
            for i in 0..M {
                let mut x = [0.0; WIDEST];
                for (lane, x) in x.iter_mut().enumerate().take(W::WIDTH) {
                    *x = (*row.add(i * W::WIDTH + lane)).into();
                }
                let x = W::load(x.as_ptr());
                sum[i] = sum[i].plus(x.minus(middles[i]));
                square[i] = square[i].plus_squared_difference(x, middles[i]);
            }
        }
        let store = |registers: [W; M], to: &mut [f64]| {
            for (i, register) in registers.into_iter().enumerate() {
                let mut numbers = [0.0; WIDEST];
                register.store(numbers.as_mut_ptr());
                let at = first + i * W::WIDTH;
                let done = fresh.saturating_sub(at);
                to[at + done..at + W::WIDTH].copy_from_slice(&numbers[done..W::WIDTH]);
            }
        };
        store(sum, sums);
        store(square, squares);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// The sums by their definition: first of each place of a long row, then of each feature.
    fn expected<T: Element>(data: &Array2<T>, middle: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let d = middle.len();
        let mut together = 1;
        while together * d < 64 {
            together *= 2;
        }
        let sums = |of: fn(f64) -> f64| {
            let mut places = vec![0.0; together * d];
            for ((i, j), &x) in data.indexed_iter() {
                places[i % together * d + j] += of(x.into() - middle[j]);
            }
            let sum = |j| places.iter().skip(j).step_by(d).fold(0.0, |sum, x| sum + x);
            (0..d).map(sum).collect()
        };
        (sums(|x| x), sums(|x| x * x))
    }

    fn check<T: Element>(n: usize, d: usize) -> Result<()> {
        let data = Array2::from_shape_fn((n, d), |(i, j)| {
            T::from_f64(((i * 37 + j * 101) as f64).sin() * 3.0 + j as f64)
        });
        let middle: Vec<_> = (0..d).map(|j| j as f64 + 0.1).collect();
        let expected = expected(&data, &middle);
        let mut padded = Array2::from_elem((n, d + 3), T::default());
        padded.slice_mut(s![.., 1..=d]).assign(&data);
        let fortran = data.t().as_standard_layout().reversed_axes();
        let backward = data
            .slice(s![..;-1, ..;-1])
            .as_standard_layout()
            .into_owned();
        for view in [
            data.view(),
            padded.slice(s![.., 1..=d]),
            fortran.view(),
            backward.slice(s![..;-1, ..;-1]),
        ] {
            let rows = Rows::new(view);
            let mut work = FeatureSums::new(&rows, &middle)?;
            for isa in Isa::available() {
                work.isa = isa;
                let mut found = (vec![0.0; d], vec![0.0; d]);
                work.add_to((&mut found.0, &mut found.1), &rows, (0, n));
                assert!(found == expected, "{isa:?} {n} x {d} {:?}", view.strides());
            }
        }
        Ok(())
    }

    #[test]
    fn sums_are_those_of_their_definition_on_any_instruction_set_and_for_any_strides() -> Result<()>
    {
        for d in (1..=70).chain([95, 96, 100, 127, 128, 129, 131, 515]) {
            for n in [1, 7, 64, 333] {
                check::<f32>(n, d)?;
                check::<f64>(n, d)?;
            }
        }
        Ok(())
    }
}
