//! Sums of features less their middles, and of the squares of these differences: what variances follow from.
//!
//! Loops over a few features would be slow, and a sum would wait for its own last addition. Some rows that lie one after
//! the other, how many is fixed by the number of features alone, are therefore one long row, each of whose places has
//! sums of its own; these are added at the end to those of its feature, from the first place to the last. So the order
//! of additions depends on neither the registers nor the strides.

use super::lanes::{Lanes, LanesOf};
use super::{BLOCK, Isa};
use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::view::{Rows, prefetch};

/// What memory is asked for.
const SUMS: &str = "the sums of the features";
/// Numbers added at a time: whole registers of any instruction set.
const STEP: usize = 16;
/// Least numbers of a long row: the next comes when the last addition to each sum is done.
const LEAST: usize = 64;
/// Most numbers of a long row of several rows: its sums stay in the first-level cache.
const MOST: usize = 1024;

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
        let together = rows_together(d);
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

/// Rows of a long row: a power of two that makes it whole steps, so no more than a block, of which it is a divisor.
fn rows_together(d: usize) -> usize {
    let mut together = LEAST.div_ceil(d).next_power_of_two();
    while !(together * d).is_multiple_of(STEP) {
        together *= 2;
    }
    if together * d > MOST { 1 } else { together }
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
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512(rows, middle, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::choose` names none that is not here.
        Isa::Avx2 => unsafe { avx2(rows, middle, sums) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `Isa::choose` names none that is not here.
        Isa::Neon => unsafe { neon(rows, middle, sums) },
        // SAFETY: plain Rust needs no instruction set.
        _ => unsafe { add_rows::<<f64 as LanesOf>::Scalar, T>(rows, middle, sums) },
    }
}

/// Declares the shell of [`add_rows`] for one instruction set.
macro_rules! shell {
    ($name:ident, $lanes:ident, $feature:literal) => {
        /// As [`add_rows`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        unsafe fn $name<T: Element>(rows: &[T], middle: &[f64], sums: (&mut [f64], &mut [f64])) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { add_rows::<<f64 as LanesOf>::$lanes, T>(rows, middle, sums) };
        }
    };
}

#[cfg(target_arch = "x86_64")]
shell!(avx512, Avx512, "avx512f,avx512vl");
#[cfg(target_arch = "x86_64")]
shell!(avx2, Avx2, "avx2,fma");
#[cfg(target_arch = "aarch64")]
shell!(neon, Neon, "neon");

/// As [`add_all`]. Several long rows side by side load and store their sums once, but memory is read fastest from first to
/// last, which float64 data need more.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn add_rows<W: Lanes<Elem = f64>, T: Element>(
    rows: &[T],
    middle: &[f64],
    sums: (&mut [f64], &mut [f64]),
) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        if size_of::<T>() < size_of::<f64>() {
            add_groups::<W, T, 4>(rows, middle, sums);
        } else {
            add_groups::<W, T, 1>(rows, middle, sums);
        }
    }
}

/// As [`add_all`], `R` long rows at a time.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn add_groups<W: Lanes<Elem = f64>, T: Element, const R: usize>(
    rows: &[T],
    middle: &[f64],
    (sums, squares): (&mut [f64], &mut [f64]),
) {
    let width = middle.len();
    let whole = width - width % STEP;
    let mut groups = rows.chunks_exact(R * width);
    for rows in &mut groups {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { add_steps::<W, T, R>(rows, middle, (sums, squares)) };
        for row in rows.chunks_exact(width) {
            let sums = (&mut sums[whole..], &mut squares[whole..]);
            add(&row[whole..], &middle[whole..], sums);
        }
    }
    for row in groups.remainder().chunks(width) {
        add(row, middle, (sums, squares));
    }
}

/// As [`add`] for the whole steps of `R` rows, in registers: what the compiler makes of that loop gathers numbers one by
/// one.
///
/// # Safety
/// The CPU must have the instruction set of `W`.
#[inline(always)]
unsafe fn add_steps<W: Lanes<Elem = f64>, T: Element, const R: usize>(
    rows: &[T],
    middle: &[f64],
    (sums, squares): (&mut [f64], &mut [f64]),
) {
    let width = middle.len();
    let next = rows.as_ptr_range().end.cast::<u8>();
    let rows: [&[[T; STEP]]; R] =
        std::array::from_fn(|i| rows[i * width..(i + 1) * width].as_chunks().0);
    let sums = sums.as_chunks_mut::<STEP>().0.iter_mut();
    let places = sums.zip(squares.as_chunks_mut::<STEP>().0);
    for (step, ((sums, squares), middle)) in places.zip(middle.as_chunks::<STEP>().0).enumerate() {
        // Several rows are not read in order; the CPU sees by itself that one is.
        let bytes = if R > 1 { R * STEP * size_of::<T>() } else { 0 };
        for line in (0..bytes).step_by(64) {
            prefetch(next.wrapping_add(step * bytes + line));
        }
        let rows: [[f64; STEP]; R] = rows.map(|row| row[step].map(Into::into));
        for at in (0..STEP).step_by(W::WIDTH) {
            // SAFETY: the caller vouches for the instruction set; widths divide the step, so that all reads and writes lie
            // within it.
            unsafe {
                let middle = W::load(middle.as_ptr().add(at));
                let mut sum = W::load(sums.as_ptr().add(at));
                let mut square = W::load(squares.as_ptr().add(at));
                for row in &rows {
                    let x = W::load(row.as_ptr().add(at));
                    sum = sum.plus(x.minus(middle));
                    square = square.plus_squared_difference(x, middle);
                }
                sum.store(sums.as_mut_ptr().add(at));
                square.store(squares.as_mut_ptr().add(at));
            }
        }
    }
}

/// Adds each number, less its middle, and the square of that.
#[inline(always)]
fn add<T: Element>(row: &[T], middle: &[f64], (sums, squares): (&mut [f64], &mut [f64])) {
    for ((&x, middle), (sum, square)) in row.iter().zip(middle).zip(sums.iter_mut().zip(squares)) {
        let x: f64 = x.into();
        let x = x - middle;
        *sum += x;
        *square += x * x;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// The sums by their definition: first of each place of a long row, then of each feature.
    fn expected<T: Element>(data: &Array2<T>, middle: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let d = middle.len();
        let together = (0..7).map(|power| 1 << power);
        let together = together
            .filter(|rows| rows * d >= 64 && (rows * d).is_multiple_of(16))
            .find(|rows| rows * d <= 1024)
            .unwrap_or(1);
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
        let fortran = data
            .clone()
            .reversed_axes()
            .as_standard_layout()
            .reversed_axes()
            .into_owned();
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
