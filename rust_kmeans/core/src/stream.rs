//! Steps of Lloyd's algorithm over data that come in blocks: what [`crate::assign_block`] and
//! [`Partial::merge`](crate::Partial::merge) leave to do, each the same bits as in [`crate::lloyd`].

use ndarray::{Array2, ArrayView2};

use crate::assign::{check_labels, row_major, widen};
use crate::bounds::squared_shift;
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::kernel::{Isa, Move, Moving, Packed};
use crate::lloyd::farthest;
use crate::partial::Partial;
use crate::pool::Pool;
use crate::update::means;
use crate::view::Rows;

/// The `count` rows of a block farthest from the centers their `labels` name, with their squared distances: farthest
/// first, of equally far ones the lowest index first. Those of all blocks, sorted, say where empty clusters go.
///
/// `data` has shape (`n_samples`, `n_features`), `centers` (`n_clusters`, `n_features`).
///
/// # Errors
/// [`Error::Empty`], [`Error::NoClusters`], [`Error::Shape`], [`Error::NotFinite`] (centers), [`Error::Parameter`] for a
/// label outside `0..n_clusters`.
pub fn farthest_rows<T: Element>(
    data: Rows<'_, T>,
    centers: ArrayView2<'_, T>,
    labels: &[i32],
    count: usize,
    (pool, isa): (&Pool, Isa),
) -> Result<Vec<(f64, usize)>> {
    data.check_shape()?;
    let centers = widen(&row_major(centers, data.n_columns())?)?;
    check_labels(labels, data.n_rows(), centers.len() / data.n_columns())?;
    let count = count.min(data.n_rows());
    let kernel = (pool, isa.check()?);
    Ok(farthest(&data, (&centers, labels), count, kernel))
}

/// The centers after a step whose merged partial is `partial`, and the summed squared shift from `old`.
///
/// Clusters without weight get the rows `far` (`n_far`, `n_features`), the farthest of all blocks first, one each: these are
/// taken from the clusters that `labels` names. Clusters that are still without weight go to the center of the heaviest.
///
/// # Errors
/// [`Error::Shape`], [`Error::Parameter`] for a label outside `0..n_clusters`, [`Error::Memory`].
pub fn next_centers<T: Element>(
    partial: &Partial,
    old: ArrayView2<'_, T>,
    far: Rows<'_, T>,
    labels: &[i32],
    weights: Option<&[f64]>,
    isa: Isa,
) -> Result<(Array2<T>, f64)> {
    let (k, d) = (partial.n_clusters(), partial.n_features());
    let shape = |what, axis, found, expected| {
        if found == expected {
            return Ok(());
        }
        Err(Error::Shape {
            what,
            axis,
            found,
            expected,
        })
    };
    shape("the old centers", "clusters", old.nrows(), k)?;
    shape("the farthest rows", "features", far.n_columns(), d)?;
    check_labels(labels, far.n_rows(), k)?;
    if let Some(weights) = weights {
        shape("sample_weight", "entries", weights.len(), far.n_rows())?;
    }
    let old = row_major(old, d)?;
    let packed = Packed::<T>::new(isa.check()?, k, d)?;
    let moving = Moving {
        data: &far,
        weights,
        grids: &partial.grids,
    };
    let mut sums = partial.sums.clone();
    let empty = (0..k).filter(|&c| partial.sums.value(c, d) == 0.0);
    for ((row, &old), new) in labels.iter().enumerate().zip(empty) {
        sums.clear_row(new);
        let new = i32::try_from(new).unwrap_or(0);
        packed.move_rows(&mut sums, &moving, &[Move { row, old, new }]);
    }
    let mut centers = try_vec("the centers", k * d, T::default())?;
    means(&sums, d, &mut centers);
    let shift = squared_shift(&centers, &old);
    let centers = Array2::from_shape_vec((k, d), centers).map_err(|_| Error::TooLarge {
        what: "the centers",
        rows: k,
        columns: d,
    })?;
    Ok((centers, shift))
}
