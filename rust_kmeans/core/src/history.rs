//! The inertia of each iteration, without another look at the samples.
//!
//! Let s be any point, and for each cluster W the weight of its samples, u = center − s and v = Σ w (x − s) over them. The
//! inertia of labels under centers is
//!
//! Σ w ‖x − s‖² + Σ over clusters of (W ‖u‖² − 2 u·v),
//!
//! of which the first sum is the same for all labels and centers. The second follows from the sums that an iteration has
//! made anyway; the first from one inertia that is known, that of the last pass.

use ndarray::ArrayView2;

use crate::assign::{check_columns, row_major};
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::ExactTable;
use crate::partial::Partial;
use crate::scale::Scale;

/// For each iteration of a run the part of its inertia that depends on labels and centers: the inertia of every iteration
/// follows from that and one inertia, so that blocks need not compute theirs each time. As [`crate::Fit::history`].
#[derive(Debug, Clone)]
pub struct History {
    /// The middle of the range of each feature, with so few bits that any number of samples times it is exact.
    point: Vec<f64>,
    parts: Vec<f64>,
}

impl History {
    /// Of no iterations; `scale` is that of all rows.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(scale: &Scale) -> Result<Self> {
        let mut point = try_vec("the middle of the data", scale.n_features(), 0.0)?;
        let bits_of_counts =
            (u64::BITS - scale.n_rows.leading_zeros()).min(f64::MANTISSA_DIGITS - 1);
        for (point, middle) in point.iter_mut().zip(scale.middle()) {
            *point = f64::from_bits(middle.to_bits() & (u64::MAX << bits_of_counts));
        }
        Ok(Self {
            point,
            parts: Vec::new(),
        })
    }

    /// Notes an iteration over blocks: the centers (`n_clusters`, `n_features`) that labels were found with and the merged
    /// partial of these labels.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NoClusters`], [`Error::NotFinite`], [`Error::Memory`].
    pub fn add<T: Element>(&mut self, centers: ArrayView2<'_, T>, partial: &Partial) -> Result<()> {
        let centers = self.fitting(centers, partial)?;
        self.note(&centers, &partial.sums)
    }

    /// The inertia of each iteration, given the centers and the merged partial, with its inertia, of the last step.
    ///
    /// # Errors
    /// As [`History::add`]; [`Error::ScaleMismatch`] if the partial has no inertia.
    pub fn inertias<T: Element>(
        &self,
        centers: ArrayView2<'_, T>,
        partial: &Partial,
    ) -> Result<Vec<f64>> {
        let centers = self.fitting(centers, partial)?;
        let inertia = partial.inertia().ok_or(Error::ScaleMismatch(
            "the last partial was computed without its inertia",
        ))?;
        Ok(self.clone().finish((&centers, &partial.sums), inertia))
    }

    /// The centers in row-major order, if they and the partial are of the run's data.
    fn fitting<T: Element>(&self, centers: ArrayView2<'_, T>, partial: &Partial) -> Result<Vec<T>> {
        let d = self.point.len();
        check_columns("the partial", partial.n_features(), d)?;
        let centers = row_major(centers, d)?;
        if centers.len() == partial.n_clusters() * d {
            return Ok(centers);
        }
        Err(Error::Shape {
            what: "the centers",
            axis: "clusters",
            found: centers.len() / d,
            expected: partial.n_clusters(),
        })
    }

    /// Notes an iteration: the centers that labels were found with and the sums of those labels.
    pub(crate) fn note<T: Element>(&mut self, centers: &[T], sums: &ExactTable) -> Result<()> {
        self.parts.try_reserve(1).map_err(|_| Error::Memory {
            what: "the history of the inertia",
            bytes: self.parts.len().saturating_mul(2 * size_of::<f64>()),
        })?;
        self.parts.push(self.varying_part(centers, sums));
        Ok(())
    }

    /// The inertia of each iteration, from that of the last pass: of its `centers` and the `sums` of its labels.
    pub(crate) fn finish<T: Element>(
        mut self,
        (centers, sums): (&[T], &ExactTable),
        inertia: f64,
    ) -> Vec<f64> {
        let last = self.varying_part(centers, sums);
        for part in &mut self.parts {
            // Rounding must not make an inertia negative.
            *part = (inertia + (*part - last)).max(0.0);
        }
        self.parts
    }

    /// The second sum. Sums are exact in two parts, and so are counts times the point: the rounding error is relative to
    /// the squared range of the data, not to their distance from 0. Weights have rounded the samples before.
    fn varying_part<T: Element>(&self, centers: &[T], sums: &ExactTable) -> f64 {
        let d = self.point.len();
        let mut total = 0.0;
        for (c, center) in centers.chunks_exact(d).enumerate() {
            let (high, low) = sums.parts(c);
            let weight = high[d] + low[d];
            let mut cluster = 0.0;
            for (((&center, point), high), low) in center.iter().zip(&self.point).zip(high).zip(low)
            {
                let center: f64 = center.into() - point;
                let sum = (high - weight * point) + low;
                cluster += center * (weight * center - 2.0 * sum);
            }
            total += cluster;
        }
        total
    }
}
