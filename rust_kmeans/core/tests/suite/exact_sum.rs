//! Sums are the same bits in any order, and as good as float64 can say.

use crate::common;
use proptest::prelude::*;
use rust_kmeans_core::exact_sum::{ExactSum, Grid};

fn sum(grid: Grid, terms: impl IntoIterator<Item = f64>) -> ExactSum {
    let mut sum = ExactSum::default();
    for x in terms {
        sum.add(grid, x);
    }
    sum
}

proptest! {
    #![proptest_config(common::cases(500))]

    #[test]
    fn any_order_gives_the_same_bits(
        terms in prop::collection::vec((-1.0..1.0_f64, -320_i32..140), 1..300), cut in 0.0..1.0_f64, same_scale in any::<bool>(),
    ) {
        let terms: Vec<_> = terms.into_iter().map(|(x, e)| if same_scale { x } else { x * 10_f64.powi(e) }).collect();
        let bound = terms.iter().fold(0.0_f64, |bound, x| bound.max(x.abs()));
        let grid = Grid::new(bound, terms.len() as u64);
        let forward = sum(grid, terms.iter().copied());
        prop_assert_eq!(forward, sum(grid, terms.iter().rev().copied()));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let (first, second) = terms.split_at((terms.len() as f64 * cut) as usize);
        let mut merged = sum(grid, second.iter().copied());
        merged.merge(sum(grid, first.iter().copied()));
        prop_assert_eq!(forward, merged);
        // Taking terms away again leaves what the others sum to.
        let mut rest = forward;
        for &x in second {
            rest.add(grid, -x);
        }
        prop_assert_eq!(rest, sum(grid, first.iter().copied()));
        let naive: f64 = terms.iter().sum();
        prop_assert!((forward.value() - naive).abs() <= bound * terms.len() as f64 * 1e-15 + f64::MIN_POSITIVE);
    }
}

#[test]
fn cancellation_loses_nothing_that_fits_the_grid() {
    let grid = Grid::new(1e8, 1000);
    assert_eq!(
        sum(grid, [1e8, 1e-8, -1e8, 1.0]).value().to_bits(),
        (1.0_f64 + 1e-8).to_bits()
    );
}

#[test]
fn a_million_terms_are_summed_beyond_float64() {
    let grid = Grid::new(0.1, 1_000_000);
    let total = sum(grid, std::iter::repeat_n(0.1, 1_000_000)).value();
    // 10^6 times the float64 number nearest to 0.1, rounded once.
    assert_eq!(
        total.to_bits(),
        100_000.000_000_000_01_f64
            .to_bits()
            .min((100_000.0_f64).to_bits())
    );
}

#[test]
fn zeros_and_the_smallest_numbers_sum_exactly() {
    assert_eq!(
        sum(Grid::new(0.0, 10), [0.0, -0.0]).value().abs().to_bits(),
        0
    );
    let tiny = f64::from_bits(1);
    assert_eq!(sum(Grid::new(tiny, 10), [tiny; 7]).value().to_bits(), 7);
}
