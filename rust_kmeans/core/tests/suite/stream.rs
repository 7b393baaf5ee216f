//! Blocks of a stream, put together: the same bits as the data in one piece.

use crate::common;
use ndarray::{Array2, array, s};
use rust_kmeans_core::{
    Error, Moments, Partial, Pool, Rows, Scale, assign_block, farthest_rows, lloyd, mean_variance,
    next_centers,
};

#[test]
fn the_variance_of_blocks_at_multiples_of_4096_rows_is_that_of_all_rows() -> Result<(), Error> {
    let data = common::blobs::<f32>(20_000, 5, 4, 1);
    let pool = Pool::new(2)?;
    let scale = Scale::of(Rows::new(data.view()), None, &pool)?;
    let expected = mean_variance(Rows::new(data.view()), &pool)?;
    for cuts in [vec![4_096], vec![8_192, 12_288], vec![]] {
        let mut moments = Moments::new(&scale)?;
        let edges: Vec<_> = [0].into_iter().chain(cuts).chain([20_000]).collect();
        for edge in edges.windows(2) {
            let block = data.slice(s![edge[0]..edge[1], ..]);
            moments.add(Rows::new(block), &pool)?;
        }
        assert_eq!(moments.mean_variance().to_bits(), expected.to_bits());
    }
    let narrow = Array2::<f32>::zeros((3, 2));
    let refused = Moments::new(&scale)?.add(Rows::new(narrow.view()), &pool);
    assert!(matches!(
        refused,
        Err(Error::Shape {
            what: "the block",
            ..
        })
    ));
    Ok(())
}

#[test]
fn the_variance_is_the_same_bits_for_any_threads_and_strides() -> Result<(), Error> {
    for d in [1, 2, 10, 33, 100, 131] {
        let data = common::blobs::<f32>(9_001, d, 4, 1);
        let expected = mean_variance(Rows::new(data.view()), &Pool::new(1)?)?.to_bits();
        let columns = data.t();
        let fortran = columns.as_standard_layout().reversed_axes();
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads)?;
            for view in [data.view(), fortran.view()] {
                let found = mean_variance(Rows::new(view), &pool)?;
                assert_eq!(found.to_bits(), expected, "{threads} {:?}", view.strides());
            }
        }
    }
    Ok(())
}

#[test]
fn a_step_over_blocks_with_empty_clusters_is_that_of_lloyd() -> Result<(), Error> {
    let data = common::blobs::<f64>(600, 3, 4, 2);
    // Two clusters that no row is near to.
    let mut centers = data.slice(s![..5, ..]).to_owned();
    centers.slice_mut(s![3.., ..]).fill(1e3);
    let params = common::params(None, 2, 1);
    let engine = (&Pool::new(2)?, params.isa());
    let whole = Rows::new(data.view());
    let scale = Scale::of(whole, None, engine.0)?;
    let (mut merged, mut far): (Option<Partial>, Vec<_>) = (None, Vec::new());
    for first in (0..600).step_by(200) {
        let block = Rows::new(data.slice(s![first..first + 200, ..]));
        let (labels, partial) =
            assign_block(block, centers.view(), None, Some(&scale), true, engine)?;
        for (distance, row) in farthest_rows(block, centers.view(), &labels, 2, engine)? {
            far.push((distance, first + row, labels[row]));
        }
        match &mut merged {
            None => merged = Some(partial),
            Some(merged) => merged.merge(&partial)?,
        }
    }
    far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    far.truncate(2);
    let rows = Array2::from_shape_fn((2, 3), |(i, j)| data[(far[i].1, j)]);
    let labels: Vec<_> = far.iter().map(|far| far.2).collect();
    let merged = merged.ok_or(Error::NoClusters)?;
    let rows = Rows::new(rows.view());
    let (next, shift) = next_centers(&merged, centers.view(), rows, &labels, None, engine.1)?;
    let fit = lloyd(whole, centers.view(), None, &params, &mut common::go_on())?;
    assert_eq!(common::bits(&next), common::bits(&fit.centers));
    assert!(shift > 0.0);
    Ok(())
}

#[test]
fn what_does_not_fit_a_partial_is_refused() -> Result<(), Error> {
    let data = common::blobs::<f64>(50, 2, 2, 3);
    let centers = array![[0.0, 0.0], [1.0, 1.0]];
    let params = common::params(None, 1, 1);
    let engine = (&Pool::new(1)?, params.isa());
    let rows = Rows::new(data.view());
    let (_, partial) = assign_block(rows, centers.view(), None, None, true, engine)?;
    let one = Rows::new(data.slice(s![..1, ..]));
    let next = |old: &Array2<f64>, far, labels: &[i32], weights| {
        next_centers(&partial, old.view(), far, labels, weights, engine.1).map(drop)
    };
    assert_eq!(next(&centers, one, &[1], Some(&[1.0])), Ok(()));
    let shape =
        |what| move |refused| matches!(refused, Err(Error::Shape { what: w, .. }) if w == what);
    assert!(shape("the old centers")(next(
        &array![[0.0, 0.0]],
        one,
        &[1],
        None
    )));
    let narrow = Rows::new(data.slice(s![..1, ..1]));
    assert!(shape("the farthest rows")(next(
        &centers,
        narrow,
        &[1],
        None
    )));
    assert!(shape("labels")(next(&centers, one, &[], None)));
    assert!(shape("sample_weight")(next(&centers, one, &[1], Some(&[]))));
    for label in [-1, 2] {
        let wrong = |refused| matches!(refused, Err(Error::Parameter { name: "labels", .. }));
        assert!(wrong(next(&centers, one, &[label], None)));
        assert!(wrong(
            farthest_rows(one, centers.view(), &[label], 1, engine).map(drop)
        ));
    }
    Ok(())
}
