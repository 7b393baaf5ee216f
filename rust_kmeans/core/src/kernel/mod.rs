//! The screening kernel: labels of 64 samples at a time, with the proof that they are exact.
//!
//! # The rounding bound
//! Let s be the shift (any vector; the mean of the centers keeps numbers small), X = x − s, C = c − s, u the unit
//! roundoff of the data's type, γₘ = m·u / (1 − m·u). The kernel rounds X and C once each (relative error u an
//! entry), ½‖C‖² computed in float64 once more, and sums d products, each with at most two roundings, so that
//!
//! |score − (½‖C‖² − X·C)| ≤ γ_{d+8}·(½‖C‖² + ‖X‖‖C‖) + underflow,
//!
//! by Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 3.1, and Cauchy–Schwarz. The exact
//! value is half the squared distance less ½‖X‖², the same for all centers. The distance in float64 that defines labels
//! has an error of its own, at most γ⁶⁴_{d+4}·(‖X‖ + ‖C‖)². If two scores differ by more than twice both, the order of
//! the scores is the order of the distances. Underflow adds at most one smallest normal number a feature and term,
//! which also covers CPUs set to flush subnormal numbers.

/// The functions of an instruction set: the generic ones with its registers (`$screened` of samples at a time for scores,
/// `$measured` for distances), compiled for its features. All are unsafe for the same reason.
macro_rules! shell {
    ($lanes:ident, $screened:literal, $measured:literal, $feature:literal) => {
        /// As [`generic::screen`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn screen<T: Element, const MARGINS: bool>(
            packed: &super::Packed<T>,
            source: &crate::view::Source<'_, T>,
            scratch: &mut super::Scratch<T>,
        ) -> u64 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { generic::screen::<T::$lanes, $screened, MARGINS>(packed, source, scratch) }
        }

        /// As [`super::grouped::screen`].
        ///
        /// # Safety
        /// The CPU must have the instruction set; the features of a row lie one after the other.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn screen_groups<T: Element>(
            packed: &super::Packed<T>,
            grouped: &super::Grouped<T>,
            source: &crate::view::Source<'_, T>,
            labels: &[i32; super::BLOCK],
            scratch: &mut super::Scratch<T>,
        ) -> super::Screened {
            // SAFETY: the caller vouches for both.
            unsafe { super::grouped::screen::<T::$lanes>(packed, grouped, source, labels, scratch) }
        }

        /// As [`generic::distances`], of a block that is filled first.
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn distances<T: Element>(
            work: &mut super::Distances<T>,
            source: &crate::view::Source<'_, T>,
            centers: &[f64],
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                generic::fill_all::<T::$lanes>(source, &work.zero, &mut work.block);
                generic::distances::<<f64 as LanesOf>::$lanes, T, $measured>(work, centers);
            }
        }

        /// As [`generic::doubtful`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn doubtful<T: Element>(
            labels: &[i32],
            margins: &[T],
            table: &[T],
            out: &mut [u64],
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { generic::doubtful::<T::$lanes>(labels, margins, table, out) }
        }

        /// As [`generic::move_rows`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn move_rows<T: Element>(
            table: &mut crate::exact_sum::ExactTable,
            moving: &super::Moving<'_, '_, T>,
            moves: &[super::Move],
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { generic::move_rows::<<f64 as LanesOf>::$lanes, T>(table, moving, moves) }
        }

        /// As [`whole::add_block`](super::whole::add_block).
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn add_block<T: Element>(
            table: &mut crate::exact_sum::ExactTable,
            moving: &super::Moving<'_, '_, T>,
            block: (usize, &[i32; super::BLOCK]),
            room: &mut super::WholeBlock<T>,
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                super::whole::add_block::<T::$lanes, <f64 as LanesOf>::$lanes>(
                    table, moving, block, room,
                );
            }
        }

        /// As [`generic::own_distances`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn own_distances<T: Element>(
            data: &crate::view::Rows<'_, T>,
            first: usize,
            centers: (&[f64], &[i32]),
            out: &mut [f64; super::BLOCK],
        ) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                generic::own_distances::<<f64 as LanesOf>::$lanes, T>(data, first, centers, out);
            }
        }

        /// As [`generic::widen_all`].
        ///
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn widen_all<T: Element>(rows: &[T], ranges: super::Ranges<'_, T>) {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { generic::widen_all::<T::$lanes>(rows, ranges) };
        }
    };
}

mod along;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod bytes;
mod closer;
mod generic;
mod grouped;
mod heights;
pub(crate) mod lanes;
mod margin;
mod moments;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod whole;

pub(crate) use closer::{Candidates, Closer, ones};
pub(crate) use grouped::{Grouped, Screened, groups_for};
pub(crate) use heights::{Heights, PARTS};
use margin::MarginBound;
pub(crate) use margin::slack;
pub(crate) use moments::FeatureSums;
pub(crate) use whole::Room as WholeBlock;

use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactTable, Grids};
use crate::kernel::lanes::LanesOf;
use crate::scale::Scale;
use crate::view::{Rows, Source};

/// Samples the kernel works on at a time.
pub(crate) const BLOCK: usize = 64;
/// Centers whose scores are in registers at a time: with four registers of samples 24 sums, four samples and a center
/// fill 29 of AVX-512's 32 registers; with two, 15 of AVX2's 16.
const GROUP: usize = 6;
/// Most numbers of a register.
const WIDEST: usize = 16;
/// Bytes of a block that stay in a first-level cache of 32 KiB beside the centers that stream by.
const PANEL_BYTES: usize = 28 << 10;

/// One feature of a block of samples.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Line<T>(pub(crate) [T; BLOCK]);

/// An instruction set the kernel is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, on any CPU.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F and VL.
    Avx512,
    /// The same with BW and VNNI, which multiplies bytes.
    Avx512Vnni,
    /// 64-bit Arm with NEON.
    Neon,
}

impl Isa {
    const ALL: [Self; 5] = [
        Self::Scalar,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Vnni,
    ];

    /// Its name, as `RUST_KMEANS_ISA` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Neon => "neon",
        }
    }

    /// Those this machine has, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_here()).collect()
    }

    /// The one the environment variable `RUST_KMEANS_ISA` names, else the fastest of this machine.
    ///
    /// # Errors
    /// [`Error::Isa`] if the variable names something else than one of [`Isa::available`].
    pub fn choose() -> Result<Self> {
        match std::env::var_os("RUST_KMEANS_ISA") {
            None => Ok(Self::available().pop().unwrap_or(Self::Scalar)),
            Some(name) => {
                let name = name.to_string_lossy();
                Self::ALL
                    .into_iter()
                    .find(|isa| isa.name() == name && isa.is_here())
                    .ok_or_else(|| not_here(&name))
            }
        }
    }

    /// Refuses an instruction set this machine lacks.
    pub(crate) fn check(self) -> Result<Self> {
        if self.is_here() {
            Ok(self)
        } else {
            Err(not_here(self.name()))
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_here()
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "x86_64")]
            Self::Neon => false,
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Avx512Vnni => false,
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            Self::Neon => false,
        }
    }
}

fn not_here(name: &str) -> Error {
    let available: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    Error::Isa {
        value: name.to_owned(),
        available: available.join(", "),
    }
}

/// Centers laid out for the kernel, reused from iteration to iteration.
#[derive(Debug)]
pub(crate) struct Packed<T> {
    isa: Isa,
    k: usize,
    d: usize,
    /// Groups of six (the last may be smaller) centers less the shift, feature by feature.
    centers: Vec<T>,
    /// The same row by row, each filled up with 0 to [`Packed::width`], if rows are screened that way; else empty.
    rows: Vec<T>,
    /// The same as bytes, if they are screened that way first.
    #[cfg(target_arch = "x86_64")]
    bytes: Option<bytes::Bytes>,
    /// ½‖c‖² of each.
    half: Vec<T>,
    /// As wide as a row.
    shift: Vec<T>,
    /// Room for the mean of the centers.
    mean: Vec<f64>,
    bound: Bound<T>,
    margin: MarginBound<T>,
    /// The centers as they are, row-major.
    exact: Vec<f64>,
}

impl<T: Element> Packed<T> {
    /// Room for `k` centers of `d` features.
    pub(crate) fn new(isa: Isa, k: usize, d: usize) -> Result<Self> {
        let cells = k
            .checked_mul(d)
            .filter(|_| i32::try_from(k).is_ok())
            .ok_or(Error::TooLarge {
                what: "the centers",
                rows: k,
                columns: d,
            })?;
        let what = "the centers";
        Ok(Self {
            isa: isa.check()?,
            k,
            d,
            centers: try_vec(what, cells, T::default())?,
            rows: if in_bytes(isa, k, d) || k <= along::most_centers(d) {
                try_vec(what, k.saturating_mul(padded(d)), T::default())?
            } else {
                Vec::new()
            },
            #[cfg(target_arch = "x86_64")]
            bytes: if in_bytes(isa, k, d) {
                Some(bytes::Bytes::new(k, d)?)
            } else {
                None
            },
            half: try_vec(what, k, T::default())?,
            shift: try_vec(what, padded(d), T::default())?,
            mean: try_vec(what, d, 0.0)?,
            bound: Bound::default(),
            margin: MarginBound::default(),
            exact: try_vec(what, cells, 0.0)?,
        })
    }

    /// Takes new centers (row-major, finite); `scale` covers the samples to be screened.
    pub(crate) fn load(&mut self, centers: &[T], scale: &Scale) {
        let (k, d) = (self.k, self.d);
        for (exact, &c) in self.exact.iter_mut().zip(centers) {
            *exact = c.into();
        }
        // Any shift will do; the mean keeps numbers small.
        let share = 1.0 / k as f64;
        self.mean.fill(0.0);
        for center in self.exact.chunks_exact(d) {
            for (mean, &c) in self.mean.iter_mut().zip(center) {
                *mean += c * share;
            }
        }
        for (shift, &mean) in self.shift.iter_mut().zip(&self.mean) {
            *shift = T::from_f64(mean);
        }
        let mut largest = 0.0_f64;
        for (i, center) in self.exact.chunks_exact(d).enumerate() {
            let first = i - i % GROUP;
            let size = GROUP.min(k - first);
            let places = self.centers[first * d + i % GROUP..].iter_mut();
            let mut squares = 0.0;
            let shifted = center.iter().zip(&self.shift);
            for (place, (&c, &shift)) in places.step_by(size).zip(shifted) {
                let c = c - shift.into();
                squares += c * c;
                *place = T::from_f64(c);
            }
            if !self.rows.is_empty() {
                let row = &mut self.rows[i * padded(d)..];
                for (place, (&c, &shift)) in row.iter_mut().zip(center.iter().zip(&self.shift)) {
                    *place = T::from_f64(c - shift.into());
                }
            }
            self.half[i] = T::from_f64(0.5 * squares);
            largest = largest.max(squares);
        }
        let reach: f64 = self
            .shift
            .iter()
            .zip(scale.lowest.iter().zip(&scale.highest))
            .map(|(&shift, (lowest, highest))| {
                (highest - shift.into()).max(shift.into() - lowest).powi(2)
            })
            .sum();
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) = &mut self.bytes {
            bytes.load(&self.exact, &self.shift, reach.sqrt());
        }
        self.bound = Bound::new(d, largest, reach);
        self.margin = MarginBound::new(d, self.bound.largest);
    }

    /// The centers as they are, row-major.
    pub(crate) fn exact(&self) -> &[f64] {
        &self.exact
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Numbers from one row of centers to the next.
    fn width(&self) -> usize {
        padded(self.d)
    }

    /// What screening a row of `source` costs: see [`pairs_a_row_in_bytes`].
    pub(crate) fn pairs_a_row(&self, source: &Source<'_, T>) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) = &self.bytes
            && bytes.are_fit_for(source.across())
        {
            return bytes::pairs_a_row(self.k, self.d);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = source;
        self.k
    }

    /// Number of centers.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Screens at most one block of rows, for their margins too if wanted. Bits of the result name the rows that are not
    /// proven.
    #[inline]
    pub(crate) fn screen<const MARGINS: bool>(
        &self,
        source: &Source<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> u64 {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512Vnni => unsafe {
                if bytes::screen::<T, MARGINS>(self, source, scratch) {
                    0
                } else {
                    avx512::screen::<T, MARGINS>(self, source, scratch)
                }
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512 => unsafe { avx512::screen::<T, MARGINS>(self, source, scratch) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2::screen::<T, MARGINS>(self, source, scratch) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Neon => unsafe { neon::screen::<T, MARGINS>(self, source, scratch) },
            _ => scalar::screen::<T, MARGINS>(self, source, scratch),
        }
    }

    /// Screens at most one block of rows, which have `labels`, against the groups of centers that the bounds in `scratch` do
    /// not exclude; for their margins too.
    #[inline]
    pub(crate) fn screen_groups(
        &self,
        grouped: &Grouped<T>,
        source: &Source<'_, T>,
        labels: &[i32; BLOCK],
        scratch: &mut Scratch<T>,
    ) -> Screened {
        assert!(source.across() == 1 && source.columns() == self.d);
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it; the assertion, how rows lie.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe {
                avx512::screen_groups(self, grouped, source, labels, scratch)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::screen_groups(self, grouped, source, labels, scratch) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { neon::screen_groups(self, grouped, source, labels, scratch) },
            _ => scalar::screen_groups(self, grouped, source, labels, scratch),
        }
    }

    /// For each block of samples the bits of those whose label is not proven by `table[label] < margin`.
    #[inline]
    pub(crate) fn doubtful(&self, labels: &[i32], margins: &[T], table: &[T], out: &mut [u64]) {
        // SAFETY: `new` checked that the CPU has the instruction set.
        unsafe { doubtful(self.isa, labels, margins, table, out) }
    }

    /// Takes rows from the sums of their old clusters (if any) and adds them to those of their new ones.
    #[inline]
    pub(crate) fn move_rows(
        &self,
        table: &mut ExactTable,
        moving: &Moving<'_, '_, T>,
        moves: &[Move],
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512::move_rows(table, moving, moves) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2::move_rows(table, moving, moves) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Neon => unsafe { neon::move_rows(table, moving, moves) },
            _ => scalar::move_rows(table, moving, moves),
        }
    }

    /// Adds a block of new rows, from the first on, to the sums of their labels, if that is faster all at once than row by row;
    /// whether it has.
    #[inline]
    pub(crate) fn add_block(
        &self,
        table: &mut ExactTable,
        moving: &Moving<'_, '_, T>,
        block: (usize, &[i32; BLOCK]),
        room: &mut WholeBlock<T>,
    ) -> bool {
        if !whole::is_faster(self.k, self.d) {
            return false;
        }
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe {
                avx512::add_block(table, moving, block, room);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2::add_block(table, moving, block, room) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Neon => unsafe { neon::add_block(table, moving, block, room) },
            // SAFETY: plain Rust needs no instruction set.
            _ => unsafe {
                whole::add_block::<T::Scalar, <f64 as LanesOf>::Scalar>(table, moving, block, room);
            },
        }
        true
    }
}

/// Whether rows of `d` features are first screened as bytes against `k` centers.
#[cfg(target_arch = "x86_64")]
fn in_bytes(isa: Isa, k: usize, d: usize) -> bool {
    isa == Isa::Avx512Vnni && bytes::is_faster(k, d)
}

/// No other architecture has such an instruction set.
#[cfg(not(target_arch = "x86_64"))]
fn in_bytes(_: Isa, _: usize, _: usize) -> bool {
    false
}

/// What screening a row against all centers costs, in scores computed in the type of the data, if rows are screened as bytes
/// first: that costs less than all scores.
pub(crate) fn pairs_a_row_in_bytes(isa: Isa, k: usize, d: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if in_bytes(isa, k, d) {
        return Some(bytes::pairs_a_row(k, d));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (isa, k, d);
    None
}

/// Whole registers of any instruction set.
fn padded(d: usize) -> usize {
    d.next_multiple_of(WIDEST)
}

/// What moving rows between sums reads.
#[derive(Clone, Copy)]
pub(crate) struct Moving<'a, 'd, T> {
    pub(crate) data: &'a Rows<'d, T>,
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) grids: &'a Grids,
}

/// A row that changes its cluster; a negative old one is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Move {
    pub(crate) row: usize,
    pub(crate) old: i32,
    pub(crate) new: i32,
}

/// As [`Packed::doubtful`].
///
/// # Safety
/// The CPU must have the instruction set.
#[inline]
unsafe fn doubtful<T: Element>(
    isa: Isa,
    labels: &[i32],
    margins: &[T],
    table: &[T],
    out: &mut [u64],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller vouches for the instruction set.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512::doubtful(labels, margins, table, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller vouches for the instruction set.
        Isa::Avx2 => unsafe { avx2::doubtful(labels, margins, table, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the caller vouches for the instruction set.
        Isa::Neon => unsafe { neon::doubtful(labels, margins, table, out) },
        _ => scalar::doubtful(labels, margins, table, out),
    }
}

/// γₘ for a unit roundoff.
pub(crate) fn gamma(unit: f64, m: usize) -> f64 {
    let mu = m as f64 * unit;
    if mu < 0.5 {
        mu / (1.0 - mu)
    } else {
        f64::INFINITY
    }
}

/// When a gap between the two least scores proves the label.
#[derive(Debug, Clone, Copy, Default)]
struct Bound<T> {
    /// A gap above this proves the label of any row.
    for_all: T,
    /// Of the bound for a row of norm r, a₀ + a₁·r + a₂·r².
    coefficients: [f64; 3],
    /// Largest ‖C‖.
    largest: f64,
    /// Error of a sum of d squares of the data's type, relative and absolute.
    square_error: (f64, f64),
}

impl<T: Element> Bound<T> {
    /// From the largest squared norm of a shifted center and of a shifted row, both nearly exact.
    fn new(d: usize, largest_square: f64, reach_square: f64) -> Self {
        let (own, wide) = (gamma(T::UNIT, d + 8), gamma(f64::EPSILON / 2.0, d + 8));
        // 1.01 covers the rounding of everything below, of the gap, and of the two norms.
        let largest = largest_square.sqrt() * 1.01;
        let underflow = (d + 8) as f64 * T::TINY;
        let coefficients = [
            2.02 * (own * 0.5 * largest * largest
                + wide * largest * largest
                + underflow * (1.0 + largest)),
            2.02 * (own * largest + 2.0 * wide * largest + underflow),
            2.02 * wide,
        ];
        let mut bound = Self {
            for_all: T::from_f64(f64::INFINITY),
            coefficients,
            largest,
            square_error: (1.01 + 2.0 * own, underflow),
        };
        let reach = reach_square.sqrt() * 1.01;
        if bound.in_range(reach) {
            bound.for_all = T::from_f64(bound.at(reach) * 1.01);
        }
        bound
    }

    /// The bound for rows of norm at most `norm`.
    fn at(&self, norm: f64) -> f64 {
        let [a, b, c] = self.coefficients;
        a + norm * (b + norm * c)
    }

    /// Whether no score of a row of this norm can overflow.
    fn in_range(&self, norm: f64) -> bool {
        let magnitude = (norm + self.largest) * (norm + self.largest);
        magnitude < T::HUGE / 8.0
    }

    /// Whether `gap` proves the label of a row whose squared norm, in the data's type, came out as `squares`.
    #[inline]
    fn proves(&self, gap: f64, squares: f64) -> bool {
        let norm = (squares * self.square_error.0 + self.square_error.1).sqrt();
        self.in_range(norm) && gap > self.at(norm)
    }
}

/// Lowest and highest values by place, and differences of values with themselves: not a number where one was not finite.
pub(crate) type Ranges<'a, T> = (&'a mut [T], &'a mut [T], &'a mut [T]);

/// Widens ranges by one value.
#[inline(always)]
pub(crate) fn widen<T: Element>((lowest, highest, zero): (&mut T, &mut T, &mut T), x: T) {
    *lowest = if x < *lowest { x } else { *lowest };
    *highest = if x > *highest { x } else { *highest };
    // 0 for a finite x, NaN else; adding keeps a NaN.
    *zero = zero.minus(x.minus(x));
}

/// Widens ranges by rows as long as they are; the last row may be shorter.
pub(crate) fn widen_all<T: Element>(isa: Isa, rows: &[T], ranges: Ranges<'_, T>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512::widen_all(rows, ranges) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Avx2 => unsafe { avx2::widen_all(rows, ranges) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Neon => unsafe { neon::widen_all(rows, ranges) },
        // SAFETY: plain Rust needs no instruction set.
        _ => unsafe { generic::widen_all::<T::Scalar>(rows, ranges) },
    }
}

/// Squared distances of at most a block of rows from `first` on to the centers (row-major) their labels name: the same
/// bits on every instruction set, those of [`crate::squared_distance`] below 16 features.
pub(crate) fn own_distances<T: Element>(
    isa: Isa,
    data: &Rows<'_, T>,
    first: usize,
    (centers, labels): (&[f64], &[i32]),
    out: &mut [f64; BLOCK],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe {
            avx512::own_distances(data, first, (centers, labels), out);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Avx2 => unsafe { avx2::own_distances(data, first, (centers, labels), out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        Isa::Neon => unsafe { neon::own_distances(data, first, (centers, labels), out) },
        _ => scalar::own_distances(data, first, (centers, labels), out),
    }
}

/// The bits of the labels, of at most a block of rows, that are not the fresh ones.
#[inline]
pub(crate) fn differing(isa: Isa, labels: &[i32], fresh: &[i32; BLOCK]) -> u64 {
    match (isa, <&[i32; BLOCK]>::try_from(labels)) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: whoever hands an instruction set on has checked that the CPU has it.
        (Isa::Avx512 | Isa::Avx512Vnni, Ok(labels)) => unsafe { avx512::differing(labels, fresh) },
        // Compiled for just so many.
        (_, Ok(labels)) => scalar::differing(labels, fresh),
        (_, Err(_)) => scalar::differing(labels, fresh),
    }
}

/// Room for one block, one for each thread.
#[derive(Debug)]
pub(crate) struct Scratch<T> {
    /// The samples: all features, or one panel of them.
    block: Vec<Line<T>>,
    /// The scores between two panels or along rows, a line a center.
    scores: Vec<Line<T>>,
    gaps: Line<T>,
    indices: Line<T>,
    best: Line<T>,
    second: Line<T>,
    /// The negatives of the sums of squares of the rows.
    negated: Line<T>,
    margins: Line<T>,
    /// Lower bounds on distances to groups of centers, a line a group, and for each row the bits of those renewed.
    lower: Vec<Line<T>>,
    renewed: [u64; BLOCK],
    #[cfg(target_arch = "x86_64")]
    bytes: Option<bytes::Room>,
}

impl<T: Element> Scratch<T> {
    pub(crate) fn new(isa: Isa, k: usize, d: usize) -> Result<Self> {
        #[cfg(not(target_arch = "x86_64"))]
        let _ = isa;
        let zero = Line([T::default(); BLOCK]);
        // Panels of nearly the same size, each but the last of whole registers.
        let panels = d.div_ceil(PANEL_BYTES / size_of::<Line<T>>()).max(1);
        let panel = d.div_ceil(panels).next_multiple_of(WIDEST).min(d);
        // Runs with fewer centers share it.
        let groups = groups_for::<T>(k, d);
        let scores = if d > panel || groups > 0 {
            k
        } else {
            k.min(along::most_centers(d))
        };
        Ok(Self {
            block: try_vec("a block of samples", panel, zero)?,
            scores: try_vec("a block of scores", scores, zero)?,
            gaps: zero,
            indices: zero,
            best: zero,
            second: zero,
            negated: zero,
            margins: zero,
            lower: try_vec("a block of bounds", groups, zero)?,
            renewed: [0; BLOCK],
            #[cfg(target_arch = "x86_64")]
            bytes: if in_bytes(isa, k, d) {
                Some(bytes::Room::new(k, d)?)
            } else {
                None
            },
        })
    }

    /// Begins a piece of the rows: the work on it shall not depend on what was done before.
    pub(crate) fn restart(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) = &mut self.bytes {
            bytes.restart();
        }
    }

    /// Index of the center with the least score, for each row of the last block screened.
    #[inline]
    pub(crate) fn write_labels(&self, labels: &mut [i32; BLOCK]) {
        for (label, index) in labels.iter_mut().zip(&self.indices.0) {
            *label = index.to_index().cast_signed();
        }
    }

    /// Lower bounds on the distances of each row to the centers of each group but its own, for and after
    /// [`Packed::screen_groups`], and the bits of the groups for which that has changed them.
    pub(crate) fn lower(&mut self) -> (&mut [Line<T>], &[u64; BLOCK]) {
        (&mut self.lower, &self.renewed)
    }

    /// How much farther than this center every other one is, at least, for each row of the last block screened with
    /// margins; holds for rows whose label the screening proved.
    pub(crate) fn margins(&self) -> [T; BLOCK] {
        self.margins.0
    }
}

/// Float64 distances from a block of samples to a few centers, for seeding.
#[derive(Debug)]
pub(crate) struct Distances<T> {
    isa: Isa,
    block: Vec<Line<T>>,
    /// Squared distances, one line a center.
    pub(crate) out: Vec<Line<f64>>,
    zero: Vec<T>,
}

impl<T: Element> Distances<T> {
    /// Room for `d` features and `centers` centers.
    pub(crate) fn new(isa: Isa, d: usize, centers: usize) -> Result<Self> {
        let what = "a block of samples";
        Ok(Self {
            isa: isa.check()?,
            block: try_vec(what, d, Line([T::default(); BLOCK]))?,
            out: try_vec(what, centers, Line([0.0; BLOCK]))?,
            zero: try_vec(what, d, T::default())?,
        })
    }

    /// Squared distances ([`crate::squared_distance`]) of at most one block of rows to each of `centers` (row-major),
    /// into `out`.
    pub(crate) fn compute(&mut self, source: &Source<'_, T>, centers: &[f64]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512::distances(self, source, centers) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Avx2 => unsafe { avx2::distances(self, source, centers) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `new` checked that the CPU has it.
            Isa::Neon => unsafe { neon::distances(self, source, centers) },
            _ => scalar::distances(self, source, centers),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::exact_sum::Grid;
    use crate::squared_distance;

    /// Numbers of very different sizes, zeros and both signs among them: of some, sums have low parts.
    fn numbers<T: Element>(n: usize, d: usize) -> Array2<T> {
        Array2::from_shape_fn((n, d), |(i, j)| {
            let number = ((i * 37 + j * 101) as f64).sin();
            let size = [1.0, 1e3, 0.0, 1e-4, 1e-7][(i + 3 * j) % 5];
            T::from_f64(number * size)
        })
    }

    fn labels(n: usize, k: usize) -> Vec<i32> {
        let label = |i: usize| i32::try_from(i * i % 7 % k).expect("few");
        (0..n).map(label).collect()
    }

    fn distances_are_their_definition<T: Element>(n: usize, d: usize) {
        const K: usize = 5;
        let (data, labels) = (numbers::<T>(n, d), labels(n, K));
        let centers: Vec<_> = (0..K * d).map(|i| (i as f64).cos() * 3.0).collect();
        let expected: Vec<_> = data
            .rows()
            .into_iter()
            .zip(&labels)
            .map(|(row, &label)| {
                let row: Vec<f64> = row.iter().map(|&x| x.into()).collect();
                let at = usize::try_from(label).expect("not negative") * d;
                squared_distance(&row, &centers[at..at + d])
            })
            .collect();
        for isa in Isa::available() {
            let mut found = [0.0; BLOCK];
            own_distances(
                isa,
                &Rows::new(data.view()),
                0,
                (&centers, &labels),
                &mut found,
            );
            assert_eq!(found[..n], expected, "{isa:?} {n} x {d}");
        }
    }

    #[test]
    fn narrow_rows_have_the_distances_that_define_labels_to_the_last_row() {
        for d in 1..16 {
            for n in [1, 7, 8, 9, 15, 16, 17, 63, 64] {
                distances_are_their_definition::<f32>(n, d);
                distances_are_their_definition::<f64>(n, d);
            }
        }
    }

    fn sums_are_their_definition<T: Element>(d: usize, k: usize) -> Result<()> {
        let (data, labels) = (numbers::<T>(BLOCK, d), labels(BLOCK, k));
        let grids: Vec<_> = (0..=d)
            .map(|j| Grid::new(1e3 + j as f64, 1 << 20))
            .collect();
        let (high, low): (Vec<_>, Vec<_>) = grids.iter().map(|grid| grid.parts()).unzip();
        let grids_by_column = Grids::from_parts(&high, &low)?;
        let mut expected = vec![(0.0, 0.0); k * (d + 1)];
        for (row, &label) in data.rows().into_iter().zip(&labels) {
            let terms = row.iter().map(|&x| x.into()).chain([1.0]);
            for (j, (term, grid)) in terms.zip(&grids).enumerate() {
                let (high, low) = grid.split(term);
                let sum =
                    &mut expected[usize::try_from(label).expect("not negative") * (d + 1) + j];
                *sum = (sum.0 + high, sum.1 + low);
            }
        }
        assert!(expected.iter().any(|&(_, low)| low != 0.0));
        let rows = Rows::new(data.view());
        let moving = Moving {
            data: &rows,
            weights: None,
            grids: &grids_by_column,
        };
        let moves: Vec<_> = (0..BLOCK)
            .map(|row| Move {
                row,
                old: -1,
                new: labels[row],
            })
            .collect();
        let other = |label: i32| (label + 1) % i32::try_from(k).expect("few");
        let elsewhere: Vec<_> = (moves.iter().copied())
            .map(|there| Move {
                new: other(there.new),
                ..there
            })
            .collect();
        let back: Vec<_> = (elsewhere.iter().zip(&moves))
            .map(|(&there, here)| Move {
                old: there.new,
                ..*here
            })
            .collect();
        let block = <&[i32; BLOCK]>::try_from(&labels[..]).expect("a block");
        for isa in Isa::available() {
            let packed = Packed::<T>::new(isa, k, d)?;
            let mut by_row = ExactTable::new(k, d + 1)?;
            packed.move_rows(&mut by_row, &moving, &moves);
            let mut moved = ExactTable::new(k, d + 1)?;
            packed.move_rows(&mut moved, &moving, &elsewhere);
            packed.move_rows(&mut moved, &moving, &back);
            let mut by_block = ExactTable::new(k, d + 1)?;
            let mut tables = vec![by_row, moved];
            if packed.add_block(&mut by_block, &moving, (0, block), &mut WholeBlock::new()) {
                tables.push(by_block);
            }
            for table in tables {
                let (high, low) = table.to_parts();
                let found: Vec<_> = high.into_iter().zip(low).collect();
                assert_eq!(found, expected, "{isa:?} {d} features, {k} clusters");
            }
        }
        Ok(())
    }

    #[test]
    fn sums_of_clusters_have_their_low_parts_row_by_row_and_all_at_once_and_after_rows_moved()
    -> Result<()> {
        for (d, k) in [(1, 2), (2, 7), (3, 5), (10, 2), (16, 1), (17, 3), (100, 4)] {
            sums_are_their_definition::<f32>(d, k)?;
            sums_are_their_definition::<f64>(d, k)?;
        }
        Ok(())
    }

    #[test]
    fn ranges_are_those_of_all_rows_and_tell_what_is_not_finite() {
        for width in 1..40 {
            for n in 1..10 {
                let data = numbers::<f32>(n, width);
                for bad in [None, Some(f32::NAN), Some(f32::INFINITY)] {
                    let mut rows: Vec<_> = data.iter().copied().collect();
                    let at = n * width / 2;
                    rows[at] = bad.unwrap_or(rows[at]);
                    for isa in Isa::available() {
                        let (mut lowest, mut highest) =
                            (data.row(0).to_vec(), data.row(0).to_vec());
                        let mut zero = vec![0.0; width];
                        widen_all(isa, &rows, (&mut lowest, &mut highest, &mut zero));
                        let is_bad: Vec<_> = zero.iter().map(|zero| zero.is_nan()).collect();
                        let expected: Vec<_> = (0..width)
                            .map(|j| bad.is_some() && j == at % width)
                            .collect();
                        assert_eq!(is_bad, expected, "{isa:?} {n} x {width}");
                        for j in (0..width).filter(|&j| !expected[j]) {
                            let column = data.column(j);
                            let none = (f32::INFINITY, f32::NEG_INFINITY);
                            let range = column
                                .iter()
                                .fold(none, |range, &x| (range.0.min(x), range.1.max(x)));
                            assert_eq!((lowest[j], highest[j]), range, "{isa:?} {n} x {width}");
                        }
                    }
                }
            }
        }
    }
}
