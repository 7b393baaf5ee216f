//! Runs over blocks, driven from outside, give the bits of a fit of all rows.

use crate::common;
use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use rust_kmeans_core::{
    Algorithm, BlockRun, Element, Error, Fit, History, Isa, Params, Partial, Pool, Problem, Random,
    Rows, Scale, next_centers,
};

/// What is fitted, and how.
struct Case<'a, T> {
    data: &'a Array2<T>,
    weights: Option<&'a [f64]>,
    start: Array2<T>,
    /// Where blocks begin and end: 0, then the rest in ascending order.
    edges: Vec<usize>,
    isa: Isa,
    max_iter: usize,
    tol: f64,
}

/// One block with its run, and its number.
struct Block<'a, T> {
    first: usize,
    rows: Rows<'a, T>,
    weights: Option<&'a [f64]>,
    run: BlockRun<T>,
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Auto,
    Algorithm::Lloyd,
    Algorithm::Hamerly,
    Algorithm::Yinyang,
];

impl<'a, T: Element> Case<'a, T> {
    fn params(&self, algorithm: Algorithm) -> rust_kmeans_core::ValidParams {
        let params = Params {
            max_iter: self.max_iter,
            algorithm,
            n_threads: Some(2),
            isa: Some(self.isa),
            ..Params::default()
        };
        params.check().expect("valid parameters")
    }

    fn blocks(&self, pool: &Pool, first_algorithm: usize) -> Result<Vec<Block<'a, T>>, Error> {
        let scale = self.scale(pool)?;
        let edges = self.edges.windows(2).enumerate();
        edges
            .map(|(i, edges)| {
                let (first, end) = (edges[0], edges[1]);
                let rows = Rows::new(self.data.slice(s![first..end, ..]));
                let weights = self.weights.map(|weights| &weights[first..end]);
                let algorithm = ALGORITHMS[(first_algorithm + i) % ALGORITHMS.len()];
                let engine = (pool, self.isa);
                let run = BlockRun::new(rows, weights, &scale, true, algorithm, engine)?;
                Ok(Block {
                    first,
                    rows,
                    weights,
                    run,
                })
            })
            .collect()
    }

    fn scale(&self, pool: &Pool) -> Result<Scale, Error> {
        Scale::of(Rows::new(self.data.view()), self.weights, pool)
    }

    /// The fit by blocks: the loop of a driver.
    fn driven(&self, pool: &Pool, mut blocks: Vec<Block<'a, T>>) -> Result<Fit<T>, Error> {
        let mut centers = self.start.clone();
        let mut history = History::new(&self.scale(pool)?)?;
        let mut n_iter = 0;
        let strict = loop {
            let (partial, changed) = step(&mut blocks, &centers, false, pool)?;
            history.add(centers.view(), &partial)?;
            n_iter += 1;
            let (next, shift) = self.update(&partial, &centers, &blocks, pool)?;
            centers = next;
            if changed == 0 || shift <= self.tol || n_iter == self.max_iter {
                break changed == 0;
            }
        };
        let (partial, _) = step(&mut blocks, &centers, true, pool)?;
        let inertia = partial.inertia().expect("it was asked for");
        let mut labels = Vec::new();
        for block in &blocks {
            labels.extend(block.run.labels()?);
        }
        Ok(Fit {
            labels,
            inertia,
            history: history.inertias(centers.view(), &partial)?,
            centers,
            n_iter,
            strict,
            algorithm: Algorithm::Lloyd,
        })
    }

    fn update(
        &self,
        partial: &Partial,
        centers: &Array2<T>,
        blocks: &[Block<'_, T>],
        pool: &Pool,
    ) -> Result<(Array2<T>, f64), Error> {
        let empty = partial
            .counts()
            .iter()
            .filter(|&&count| count == 0.0)
            .count();
        let mut far = Vec::new();
        for block in blocks.iter().filter(|_| empty > 0) {
            for (distance, row, label) in block.run.farthest_rows(block.rows, empty, pool)? {
                far.push((distance, block.first + row, label));
            }
        }
        far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        far.truncate(empty);
        if far.first().is_none_or(|far| far.0 == 0.0) {
            far.clear();
        }
        let rows: Vec<_> = far.iter().map(|far| far.1).collect();
        let labels: Vec<_> = far.iter().map(|far| far.2).collect();
        let weights = self
            .weights
            .map(|weights| rows.iter().map(|&row| weights[row]).collect::<Vec<_>>());
        let rows = self.data.select(Axis(0), &rows);
        let rows = Rows::new(rows.view());
        next_centers(
            partial,
            centers.view(),
            rows,
            &labels,
            weights.as_deref(),
            self.isa,
        )
    }
}

/// A step of all blocks, their partials merged from the last to the first.
fn step<T: Element>(
    blocks: &mut [Block<'_, T>],
    centers: &Array2<T>,
    inertia: bool,
    pool: &Pool,
) -> Result<(Partial, usize), Error> {
    let (mut merged, mut changed): (Option<Partial>, _) = (None, 0);
    for block in blocks.iter_mut().rev() {
        let own = (block.rows, block.weights);
        let (partial, own) = block.run.step(own, centers.view(), inertia, pool)?;
        changed += own;
        match &mut merged {
            None => merged = Some(partial),
            Some(merged) => merged.merge(&partial)?,
        }
    }
    Ok((merged.ok_or(Error::NoClusters)?, changed))
}

type Outcome = (Vec<u64>, Vec<i32>, u64, Vec<u64>, usize, bool);

fn outcome<T: Element>(fit: &Fit<T>) -> Outcome {
    let history = fit.history.iter().map(|inertia| inertia.to_bits());
    (
        common::bits(&fit.centers),
        fit.labels.clone(),
        fit.inertia.to_bits(),
        history.collect(),
        fit.n_iter,
        fit.strict,
    )
}

/// By blocks, each with an algorithm of its own, against all rows at once.
fn check<T: Element>(case: &Case<'_, T>) -> Result<(), Error> {
    let pool = Pool::new(2)?;
    let params = case.params(Algorithm::Lloyd);
    let problem = Problem::new(
        Rows::new(case.data.view()),
        case.start.nrows(),
        case.weights,
        &params,
    )?;
    let expected = problem.lloyd(case.start.view(), case.tol, &mut common::go_on())?;
    for first_algorithm in 0..ALGORITHMS.len() {
        let fit = case.driven(&pool, case.blocks(&pool, first_algorithm)?)?;
        assert!(outcome(&fit) == outcome(&expected), "{first_algorithm}");
    }
    Ok(())
}

fn check_random<T: Element>(
    (n, d, k, seed): (usize, usize, usize, u64),
    weighted: bool,
    tol: f64,
    isa: Isa,
) -> Result<(), Error> {
    let data = common::blobs::<T>(n, d, k.min(5), seed);
    let mut random = Random::new(seed);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below n"
    )]
    let mut below = |n: usize| (random.unit() * n as f64) as usize;
    let weights: Vec<_> = (0..n).map(|_| [0.0, 0.3, 1.0, 7.0][below(4)]).collect();
    let mut start = Array2::from_shape_fn((k, d), |(c, j)| data[(c * n / k, j)]);
    // Now and then centers that no row is near to, which relocation moves.
    if seed.is_multiple_of(3) {
        start.row_mut(k - 1).fill(T::from_f64(50.0));
    }
    let mut edges: Vec<_> = (0..below(6))
        .map(|_| 1 + below(n - 1))
        .chain([0, n])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    check(&Case {
        data: &data,
        weights: (weighted && weights.iter().any(|&w| w > 0.0)).then_some(&weights),
        start,
        edges,
        isa,
        max_iter: 12,
        tol,
    })
}

proptest! {
    #![proptest_config(common::cases(40))]

    #[test]
    fn blocks_cut_anywhere_give_the_bits_of_a_fit_of_all_rows(
        shape in (20..3_000_usize, 1..20_usize, 1..20_usize, 0..1_000_u64),
        weighted: bool,
        single: bool,
        tol in prop_oneof![Just(0.0), Just(0.5)],
        isa in prop::sample::select(Isa::available()),
    ) {
        if single {
            check_random::<f32>(shape, weighted, tol, isa).expect("valid");
        } else {
            check_random::<f64>(shape, weighted, tol, isa).expect("valid");
        }
    }
}

#[test]
fn blocks_with_bounds_by_groups_give_the_bits_of_a_fit_of_all_rows() -> Result<(), Error> {
    let data = common::blobs::<f32>(3_000, 70, 40, 5);
    check(&Case {
        data: &data,
        weights: None,
        start: data.slice(s![..40, ..]).to_owned(),
        edges: vec![0, 1_111, 2_500, 3_000],
        isa: Isa::choose()?,
        max_iter: 15,
        tol: 0.0,
    })
}

#[test]
fn a_block_lost_in_the_middle_of_a_fit_is_computed_again_from_the_last_two_centers()
-> Result<(), Error> {
    let data = common::blobs::<f64>(2_000, 4, 5, 9);
    let pool = Pool::new(1)?;
    let case = Case {
        data: &data,
        weights: None,
        start: data.slice(s![..6, ..]).to_owned(),
        edges: vec![0, 900, 2_000],
        isa: Isa::choose()?,
        max_iter: 30,
        tol: 0.0,
    };
    let mut blocks = case.blocks(&pool, 0)?;
    let (mut old, mut centers) = (case.start.clone(), case.start.clone());
    for _ in 0..4 {
        let (partial, _) = step(&mut blocks, &centers, false, &pool)?;
        let (next, _) = case.update(&partial, &centers, &blocks, &pool)?;
        old = std::mem::replace(&mut centers, next);
    }
    let undisturbed = step(&mut blocks, &centers, false, &pool)?;
    let mut again = case.blocks(&pool, 1)?;
    step(&mut again, &old, false, &pool)?;
    assert!(step(&mut again, &centers, false, &pool)? == undisturbed);
    // A task may run twice.
    assert!(step(&mut again, &centers, false, &pool)? == undisturbed);
    let (with_inertia, changed) = step(&mut again, &centers, true, &pool)?;
    assert_eq!(changed, undisturbed.1);
    assert!(with_inertia.inertia().is_some() && undisturbed.0.inertia().is_none());
    assert_eq!(with_inertia.sums(), undisturbed.0.sums());
    Ok(())
}

#[test]
fn what_does_not_fit_a_block_is_refused() -> Result<(), Error> {
    let data = common::blobs::<f64>(50, 2, 2, 3);
    let pool = Pool::new(1)?;
    let engine = (&pool, Isa::choose()?);
    let rows = Rows::new(data.view());
    let short = Rows::new(data.slice(s![..20, ..]));
    let scale = Scale::of(rows, None, &pool)?;
    let own = Scale::of(short, None, &pool)?;
    let new = |rows, weights, scale, check| {
        BlockRun::new(rows, weights, scale, check, Algorithm::Auto, engine)
    };
    let refused = new(rows, None, &own, true).map(drop);
    assert!(matches!(refused, Err(Error::ScaleMismatch(_))));
    let refused = new(rows, Some(&[1.0]), &scale, false).map(drop);
    assert!(matches!(
        refused,
        Err(Error::Shape {
            what: "sample_weight",
            ..
        })
    ));
    let mut damaged = data.clone();
    damaged[(7, 1)] = f64::NAN;
    let refused = new(Rows::new(damaged.view()), None, &scale, true).map(drop);
    assert!(matches!(
        refused,
        Err(Error::NotFinite {
            row: 7,
            column: 1,
            ..
        })
    ));

    let mut run = new(rows, None, &scale, true)?;
    assert_eq!(run.labels()?, [-1; 50]);
    let refused = run.farthest_rows(rows, 1, &pool);
    assert!(matches!(
        refused,
        Err(Error::Parameter { name: "count", .. })
    ));
    let (two, three) = (data.slice(s![..2, ..]), data.slice(s![..3, ..]));
    let refused = run.step((short, None), two, false, &pool).map(drop);
    assert!(matches!(
        refused,
        Err(Error::Shape {
            what: "the block",
            ..
        })
    ));
    let (partial, changed) = run.step((rows, None), two, false, &pool)?;
    assert_eq!(changed, 50);
    let refused = run.step((rows, None), three, false, &pool).map(drop);
    assert!(matches!(
        refused,
        Err(Error::Shape {
            what: "the centers",
            ..
        })
    ));
    let (mut other, _) = new(rows, None, &scale, true)?.step((rows, None), two, true, &pool)?;
    assert!(matches!(
        other.merge(&partial),
        Err(Error::ScaleMismatch(_))
    ));
    let mut history = History::new(&scale)?;
    assert!(matches!(
        history.add(three, &partial),
        Err(Error::Shape {
            what: "the centers",
            ..
        })
    ));
    assert!(matches!(
        history.inertias(two, &partial),
        Err(Error::ScaleMismatch(_))
    ));
    Ok(())
}
