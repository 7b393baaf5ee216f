//! The monoid of a k-means step: what a block contributes to the next centers.

use ndarray::{Array2, ArrayView2};

use crate::element::Element;
use crate::error::{Error, Result};
use crate::exact_sum::{ExactSum, ExactTable, Grid, Grids};
use crate::kernel::Packed;
use crate::scale::Scale;

/// Sums, counts and inertia of some rows under some centers. Partials of blocks that share a [`Scale`] and the centers
/// merge exactly: the result is the same bits for any split of the rows and any order of merging.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    /// Row-major (`n_clusters`, `n_features` + 1): weighted features, then the weight.
    pub(crate) sums: ExactTable,
    /// `None` where it was not computed.
    pub(crate) inertia: Option<ExactSum>,
    pub(crate) n_rows: u64,
    /// Rows the scale was made for: sums of more would not be exact.
    most_rows: u64,
    pub(crate) grids: Grids,
    pub(crate) inertia_grid: Grid,
    n_clusters: usize,
}

/// All of a [`Partial`], for storage.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialParts {
    /// Clusters.
    pub n_clusters: usize,
    /// Features.
    pub n_features: usize,
    /// Rows summed.
    pub n_rows: u64,
    /// Rows of the scale.
    pub most_rows: u64,
    /// High and low parts of the sums, row-major (`n_clusters`, `n_features` + 1).
    pub sums: (Vec<f64>, Vec<f64>),
    /// High and low numbers of the grids (`n_features` + 1).
    pub grids: (Vec<f64>, Vec<f64>),
    /// High and low part of the inertia, if it was computed.
    pub inertia: Option<(f64, f64)>,
    /// High and low number of the inertia's grid.
    pub inertia_grid: (f64, f64),
}

impl Partial {
    /// The partial of no rows, for `scale` and the centers in `packed`, without an inertia.
    pub(crate) fn empty<T: Element>(scale: &Scale, packed: &Packed<T>) -> Result<Self> {
        Ok(Self {
            sums: ExactTable::new(packed.k(), scale.n_features() + 1)?,
            inertia: None,
            n_rows: 0,
            most_rows: scale.n_rows,
            grids: scale.grids()?,
            inertia_grid: scale.distance_grid(packed.exact()),
            n_clusters: packed.k(),
        })
    }

    /// Number of clusters.
    #[must_use]
    pub fn n_clusters(&self) -> usize {
        self.n_clusters
    }

    /// Number of features.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.grids.columns() - 1
    }

    /// Rows summed.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Weighted sum of the rows of each cluster, shape (`n_clusters`, `n_features`), each rounded once.
    #[must_use]
    pub fn sums(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.n_clusters, self.n_features()), |(c, j)| {
            self.sums.value(c, j)
        })
    }

    /// Weight of the rows of each cluster, rounded once; without weights the number of rows.
    #[must_use]
    pub fn counts(&self) -> Vec<f64> {
        (0..self.n_clusters)
            .map(|c| self.sums.value(c, self.n_features()))
            .collect()
    }

    /// Weighted sum of squared distances to the centers used, rounded once; `None` where it was not asked for.
    #[must_use]
    pub fn inertia(&self) -> Option<f64> {
        self.inertia.map(ExactSum::value)
    }

    /// Adds the rows of another partial. Both have an inertia, or neither.
    ///
    /// # Errors
    /// [`Error::ScaleMismatch`] unless both were computed with the same scale and centers, or if they have more rows
    /// together than the scale, or if one of them alone has an inertia.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let same = self.n_clusters == other.n_clusters
            && self.most_rows == other.most_rows
            && self.grids == other.grids
            && self.inertia_grid == other.inertia_grid;
        if !same {
            return Err(Error::ScaleMismatch(
                "the partials were computed with different scales or centers",
            ));
        }
        if self.n_rows.saturating_add(other.n_rows) > self.most_rows {
            return Err(Error::ScaleMismatch(
                "the partials have more rows than their scale",
            ));
        }
        match (&mut self.inertia, other.inertia) {
            (None, None) => {}
            (Some(inertia), Some(other)) => inertia.merge(other),
            _ => {
                return Err(Error::ScaleMismatch(
                    "one of the partials was computed without its inertia",
                ));
            }
        }
        self.sums.merge(&other.sums);
        self.n_rows += other.n_rows;
        Ok(())
    }

    /// The mean of each cluster, computed in float64 and rounded to the type of `old`, shape (`n_clusters`,
    /// `n_features`); a cluster without weight keeps its center in `old`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `old` has another shape.
    pub fn centers<T: Element>(&self, old: ArrayView2<'_, T>) -> Result<Array2<T>> {
        for (axis, found, expected) in [
            ("clusters", old.nrows(), self.n_clusters),
            ("features", old.ncols(), self.n_features()),
        ] {
            if found != expected {
                return Err(Error::Shape {
                    what: "the old centers",
                    axis,
                    found,
                    expected,
                });
            }
        }
        let mut centers = old.to_owned();
        for (c, mut center) in centers.rows_mut().into_iter().enumerate() {
            let count = self.sums.value(c, self.n_features());
            if count > 0.0 {
                for (center, sum) in center.iter_mut().zip(self.sums.values(c)) {
                    *center = T::from_f64(sum / count);
                }
            }
        }
        Ok(centers)
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> PartialParts {
        PartialParts {
            n_clusters: self.n_clusters,
            n_features: self.n_features(),
            n_rows: self.n_rows,
            most_rows: self.most_rows,
            sums: self.sums.to_parts(),
            grids: self.grids.to_parts(),
            inertia: self.inertia.map(|inertia| (inertia.high, inertia.low)),
            inertia_grid: self.inertia_grid.parts(),
        }
    }

    /// Inverse of [`Partial::into_parts`].
    ///
    /// # Errors
    /// [`Error::Shape`] if the lengths do not fit together, [`Error::Damaged`] if a number is not finite or there are
    /// more rows than the scale has.
    pub fn from_parts(parts: PartialParts) -> Result<Self> {
        let columns = parts.n_features.saturating_add(1);
        let cells = parts.n_clusters.saturating_mul(columns);
        for (axis, found, expected) in [
            ("high sums", parts.sums.0.len(), cells),
            ("low sums", parts.sums.1.len(), cells),
            ("high grids", parts.grids.0.len(), columns),
            ("low grids", parts.grids.1.len(), columns),
        ] {
            if found != expected {
                return Err(Error::Shape {
                    what: "the stored partial",
                    axis,
                    found,
                    expected,
                });
            }
        }
        let tables = [&parts.sums.0, &parts.sums.1, &parts.grids.0, &parts.grids.1];
        let pairs = [parts.inertia.unwrap_or_default(), parts.inertia_grid];
        let finite = tables.into_iter().flatten().all(|x| x.is_finite())
            && pairs
                .iter()
                .all(|(high, low)| high.is_finite() && low.is_finite());
        if !finite || parts.n_rows > parts.most_rows {
            return Err(Error::Damaged {
                what: "the stored partial",
                reason: if finite {
                    "it has more rows than its scale"
                } else {
                    "a number is not finite"
                },
            });
        }
        Ok(Self {
            sums: ExactTable::from_parts((&parts.sums.0, &parts.sums.1), columns)?,
            inertia: (parts.inertia).map(|(high, low)| ExactSum { high, low }),
            n_rows: parts.n_rows,
            most_rows: parts.most_rows,
            grids: Grids::from_parts(&parts.grids.0, &parts.grids.1)?,
            inertia_grid: Grid::from_parts(parts.inertia_grid),
            n_clusters: parts.n_clusters,
        })
    }
}
