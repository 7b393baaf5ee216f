//! The inertia of each iteration, without another look at the samples.
//!
//! Let s be any point, and for each cluster W the weight of its samples, u = center − s and v = Σ w (x − s) over them. The
//! inertia of labels under centers is
//!
//! Σ w ‖x − s‖² + Σ over clusters of (W ‖u‖² − 2 u·v),
//!
//! of which the first sum is the same for all labels and centers. The second follows from the sums that an iteration has
//! made anyway; the first from one inertia that is known, that of the last pass.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::exact_sum::ExactTable;
use crate::scale::Scale;

/// For each iteration of a run the part of its inertia that depends on labels and centers.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<f64>);

impl History {
    /// Notes an iteration: the centers that labels were found with and the sums of those labels.
    pub(crate) fn note<T: Element>(
        &mut self,
        scale: &Scale,
        centers: &[T],
        sums: &ExactTable,
    ) -> Result<()> {
        self.0.try_reserve(1).map_err(|_| Error::Memory {
            what: "the history of the inertia",
            bytes: self.0.len().saturating_mul(2 * size_of::<f64>()),
        })?;
        self.0.push(varying_part(scale, centers, sums));
        Ok(())
    }

    /// The inertia of each iteration, from that of the last pass: of its `centers` and the `sums` of its labels.
    pub(crate) fn finish<T: Element>(
        self,
        scale: &Scale,
        (centers, sums): (&[T], &ExactTable),
        inertia: f64,
    ) -> Vec<f64> {
        let last = varying_part(scale, centers, sums);
        let mut history = self.0;
        for part in &mut history {
            // Rounding must not make an inertia negative.
            *part = (inertia + (*part - last)).max(0.0);
        }
        history
    }
}

/// The second sum. Sums are exact in two parts, and so is each part less its multiple of s: the rounding error is relative
/// to the squared range of the data, not to their distance from 0, but for what weights have rounded before.
fn varying_part<T: Element>(scale: &Scale, centers: &[T], sums: &ExactTable) -> f64 {
    let d = scale.n_features();
    let mut total = 0.0;
    for (c, center) in centers.chunks_exact(d).enumerate() {
        let (high, low) = sums.parts(c);
        let (weight_high, weight_low) = (high[d], low[d]);
        let weight = weight_high + weight_low;
        let mut cluster = 0.0;
        for (j, (&center, middle)) in center.iter().zip(scale.middle()).enumerate() {
            let center: f64 = center.into() - middle;
            let sum =
                (-weight_high).mul_add(middle, high[j]) + (-weight_low).mul_add(middle, low[j]);
            cluster += center * (weight * center - 2.0 * sum);
        }
        total += cluster;
    }
    total
}
