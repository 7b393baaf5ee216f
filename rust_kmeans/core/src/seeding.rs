//! Starting centers: greedy k-means++ and random rows.

use std::collections::BinaryHeap;

use ndarray::Array2;

use crate::assign::squared_distance;
use crate::element::Element;
use crate::error::{Error, Result, try_vec};
use crate::exact_sum::{ExactSum, Grid};
use crate::interrupt::{self, Interrupt};
use crate::kernel::{BLOCK, Distances};
use crate::params::ValidParams;
use crate::pool::{Pool, rows_per_piece};
use crate::problem::Problem;
use crate::scale::Scale;
use crate::view::Rows;

/// Rows whose potential is kept as one sum, so that sampling need not walk all rows; any value gives the same seeds,
/// since prefix sums are exact.
const SEGMENT: usize = 2 * BLOCK;

/// More trials than help: memory grows with them as with centers.
const MAX_TRIALS: usize = 1024;

/// Starting centers.
#[derive(Debug, Clone, PartialEq)]
pub struct Seeds<T> {
    /// Shape (`n_clusters`, `n_features`): rows of the data.
    pub centers: Array2<T>,
    /// Which rows.
    pub indices: Vec<usize>,
}

/// `SplitMix64`: G. L. Steele, D. Lea, C. H. Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// Greedy k-means++: the first center a row drawn by weight; each next one the best of `n_local_trials` rows (`None`:
/// 2 + ⌊ln k⌋) drawn with probability proportional to weight times squared distance to the nearest center so far, best
/// meaning the least potential. Distances are float64; each step reads the data once, for all its trials.
///
/// `data` has shape (`n_samples`, `n_features`), `weights` one number a sample. The result depends on the data, the
/// weights and the seed, not on threads or the instruction set.
///
/// Sources: D. Arthur, S. Vassilvitskii, *k-means++: the advantages of careful seeding*, SODA 2007 (the greedy variant
/// of its section 6, with scikit-learn's number of trials).
///
/// # Errors
/// [`Error::NoClusters`], [`Error::TooFewRows`], [`Error::NoWeight`], [`Error::Interrupted`], and those of
/// [`Scale::of`].
pub fn kmeans_plusplus<T: Element>(
    data: Rows<'_, T>,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
    n_local_trials: Option<usize>,
    params: &ValidParams,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    check_clusters(&data, n_clusters)?;
    Problem::new(data, n_clusters, weights, params)?.kmeans_plusplus(
        n_clusters,
        seed,
        n_local_trials,
        interrupt,
    )
}

/// [`kmeans_plusplus`] on a problem.
pub(crate) fn spread<T: Element>(
    problem: &Problem<'_, T>,
    n_clusters: usize,
    seed: u64,
    n_local_trials: Option<usize>,
    interrupt: &mut Interrupt<'_>,
) -> Result<Seeds<T>> {
    let Problem {
        data,
        weights,
        scale,
        pool,
        params,
    } = problem;
    let (data, weights) = (*data, *weights);
    check_clusters(&data, n_clusters)?;
    let trials = n_local_trials.unwrap_or(2 + floor_ln(n_clusters));
    if !(1..=MAX_TRIALS).contains(&trials) {
        return Err(Error::Parameter {
            name: "n_local_trials",
            value: trials.to_string(),
            rule: "it must be from 1 to 1024",
        });
    }
    let mut random = Random::new(seed);
    let mut search = Search::new(data, weights, scale, trials, (pool, params))?;
    let mut indices = try_vec("the seeds", n_clusters, 0)?;
    indices[0] = first_row(data.n_rows(), weights, scale, &mut random);
    search.candidates[0] = indices[0];
    search.evaluate(1, None);
    let mut best = 0;
    for c in 1..n_clusters {
        interrupt::check(interrupt)?;
        let chosen = indices[c - 1];
        let potentials: Vec<_> = search.segment_sums(best).collect();
        let total = total(&potentials).value();
        let drawn: Vec<_> = (0..trials)
            .map(|_| {
                // Below the total, so that some row's prefix exceeds it; a total of 0 means all rows lie on centers.
                let target = (random.unit() * total).min(total.next_down()).max(0.0);
                search
                    .row_at(&potentials, target, chosen)
                    .unwrap_or_else(|| unused(&indices[..c]))
            })
            .collect();
        search.candidates[..trials].copy_from_slice(&drawn);
        search.evaluate(trials, Some(chosen));
        best = search.best(trials);
        indices[c] = search.candidates[best];
    }
    Ok(seeds(&data, indices))
}

/// Distinct rows, drawn one after the other with probability proportional to weight.
///
/// Source: P. S. Efraimidis, P. G. Spirakis, *Weighted random sampling with a reservoir*, Information Processing
/// Letters 97 (2006), algorithm A.
///
/// # Errors
/// [`Error::NoClusters`]; [`Error::TooFewRows`] if fewer rows than clusters have a positive weight;
/// [`Error::Shape`] and [`Error::Weight`] for bad weights.
pub fn random_rows<T: Element>(
    data: Rows<'_, T>,
    n_clusters: usize,
    weights: Option<&[f64]>,
    seed: u64,
) -> Result<Seeds<T>> {
    check_clusters(&data, n_clusters)?;
    crate::scale::check_weights(weights, data.n_rows())?;
    let mut random = Random::new(seed);
    // The rows with the least keys; keys are not negative, so their bits are ordered as they are.
    let mut kept: BinaryHeap<(u64, usize)> = BinaryHeap::new();
    let mut positive = 0;
    for row in 0..data.n_rows() {
        let unit = random.unit();
        let key = match weights.map(|weights| weights[row]) {
            None => unit,
            Some(weight) if weight > 0.0 => -(1.0 - unit).ln() / weight,
            Some(_) => continue,
        };
        positive += 1;
        kept.push((key.abs().to_bits(), row));
        if kept.len() > n_clusters {
            kept.pop();
        }
    }
    if positive < n_clusters {
        return Err(Error::TooFewRows {
            rows: positive,
            clusters: n_clusters,
        });
    }
    Ok(seeds(
        &data,
        kept.into_sorted_vec()
            .into_iter()
            .map(|(_, row)| row)
            .collect(),
    ))
}

/// What the steps of k-means++ share.
struct Search<'a, 'd, T> {
    data: Rows<'d, T>,
    weights: Option<&'a [f64]>,
    grid: Grid,
    pool: &'a Pool,
    workers: Vec<Distances<T>>,
    /// Squared distance of each row to the nearest center up to, but without, the last one chosen: each step adds the
    /// center chosen before while it evaluates its trials, which saves a pass.
    nearest: Vec<f64>,
    /// Potential of each segment for each trial of the last step.
    potentials: Vec<ExactSum>,
    candidates: Vec<usize>,
    /// Float64 copies of the center chosen before, if any, and the trials.
    centers: Vec<f64>,
}

impl<'a, 'd, T: Element> Search<'a, 'd, T> {
    fn new(
        data: Rows<'d, T>,
        weights: Option<&'a [f64]>,
        scale: &Scale,
        trials: usize,
        (pool, params): (&'a Pool, &ValidParams),
    ) -> Result<Self> {
        let (n, d) = (data.n_rows(), data.n_columns());
        let threads = pool.useful_threads(n, d * (trials + 1) * 2);
        let what = "the potentials";
        let lines = trials.checked_add(1).ok_or(Error::Memory {
            what,
            bytes: usize::MAX,
        })?;
        Ok(Self {
            data,
            weights,
            grid: scale.distance_grid(&[]),
            pool,
            workers: (0..threads)
                .map(|_| Distances::new(params.isa, d, lines))
                .collect::<Result<_>>()?,
            nearest: try_vec(what, n, f64::INFINITY)?,
            potentials: try_vec(
                what,
                n.div_ceil(SEGMENT).saturating_mul(trials),
                ExactSum::default(),
            )?,
            candidates: try_vec(what, trials, 0)?,
            centers: try_vec(what, lines.saturating_mul(d), 0.0)?,
        })
    }

    /// Potential of each segment for the first `trials` candidates, given all centers up to and with `chosen`.
    fn evaluate(&mut self, trials: usize, chosen: Option<usize>) {
        let (data, weights, grid) = (self.data, self.weights, self.grid);
        let d = data.n_columns();
        let rows = chosen.iter().chain(&self.candidates[..trials]);
        let mut centers = 0;
        for (&row, out) in rows.zip(self.centers.chunks_exact_mut(d)) {
            data.read_row(row, out);
            centers += 1;
        }
        let centers = &self.centers[..centers * d];
        let stride = self.candidates.len();
        let piece = rows_per_piece(data.n_rows(), self.workers.len()).next_multiple_of(SEGMENT);
        let segments = self
            .nearest
            .chunks_mut(piece)
            .zip(self.potentials.chunks_mut(piece / SEGMENT * stride));
        self.pool.for_each(
            segments.enumerate(),
            &mut self.workers,
            |distances, (at, (nearest, potentials))| {
                for (block, nearest) in nearest.chunks_mut(BLOCK).enumerate() {
                    let first = at * piece + block * BLOCK;
                    distances.compute(&data, first, centers);
                    let mut lines = distances.out.iter();
                    if chosen.is_some()
                        && let Some(line) = lines.next()
                    {
                        for (nearest, &distance) in nearest.iter_mut().zip(&line.0) {
                            *nearest = nearest.min(distance);
                        }
                    }
                    let sums = &mut potentials[block * BLOCK / SEGMENT * stride..][..trials];
                    for (sum, line) in sums.iter_mut().zip(lines) {
                        if (block * BLOCK).is_multiple_of(SEGMENT) {
                            *sum = ExactSum::default();
                        }
                        let mut terms = line.0;
                        for (term, &nearest) in terms.iter_mut().zip(nearest.iter()) {
                            *term = nearest.min(*term);
                        }
                        if let Some(weights) = weights {
                            for (term, &weight) in terms.iter_mut().zip(&weights[first..]) {
                                *term *= weight;
                            }
                        }
                        sum.add_all(grid, &terms[..nearest.len()]);
                    }
                }
            },
        );
    }

    fn segment_sums(&self, trial: usize) -> impl Iterator<Item = ExactSum> + '_ {
        self.potentials
            .iter()
            .skip(trial)
            .step_by(self.candidates.len())
            .copied()
    }

    /// The trial with the least potential, the first of equals.
    fn best(&self, trials: usize) -> usize {
        let mut best = (f64::INFINITY, 0);
        for trial in 0..trials {
            let mut sum = ExactSum::default();
            for segment in self.segment_sums(trial) {
                sum.merge(segment);
            }
            if sum.value() < best.0 {
                best = (sum.value(), trial);
            }
        }
        best.1
    }

    /// The first row up to which the potential, `chosen` included in the centers, sums to more than `target`. Prefix
    /// sums are exact and rounding is monotone, so the answer does not depend on the segments.
    fn row_at(&self, potentials: &[ExactSum], target: f64, chosen: usize) -> Option<usize> {
        let mut prefix = ExactSum::default();
        let segment = potentials.iter().position(|&segment| {
            let mut through = prefix;
            through.merge(segment);
            let found = through.value() > target;
            if !found {
                prefix = through;
            }
            found
        })?;
        let d = self.data.n_columns();
        let (mut center, mut row) = (vec![0.0; d], vec![0.0; d]);
        self.data.read_row(chosen, &mut center);
        let first = segment * SEGMENT;
        (first..self.data.n_rows().min(first + SEGMENT)).find(|&i| {
            self.data.read_row(i, &mut row);
            let nearest = self.nearest[i].min(squared_distance(&row, &center));
            prefix.add(
                self.grid,
                nearest * self.weights.map_or(1.0, |weights| weights[i]),
            );
            prefix.value() > target
        })
    }
}

fn total(sums: &[ExactSum]) -> ExactSum {
    let mut total = ExactSum::default();
    for &sum in sums {
        total.merge(sum);
    }
    total
}

/// A row drawn by weight.
fn first_row(n: usize, weights: Option<&[f64]>, scale: &Scale, random: &mut Random) -> usize {
    let unit = random.unit();
    let Some(weights) = weights else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below n, and n < 2^53"
        )]
        return ((unit * n as f64) as usize).min(n - 1);
    };
    let grid = Grid::new(scale.max_weight, scale.n_rows);
    let mut sum = ExactSum::default();
    for &weight in weights {
        sum.add(grid, weight);
    }
    let target = (unit * sum.value()).min(sum.value().next_down());
    let mut prefix = ExactSum::default();
    let found = weights.iter().position(|&weight| {
        prefix.add(grid, weight);
        prefix.value() > target
    });
    found.unwrap_or(n - 1)
}

/// The lowest row not among `used`, for when every row already lies on a center.
fn unused(used: &[usize]) -> usize {
    (0..=used.len())
        .find(|row| !used.contains(row))
        .unwrap_or(0)
}

fn floor_ln(n: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 44"
    )]
    let floor = (n as f64).ln() as usize;
    floor
}

fn check_clusters<T: Element>(data: &Rows<'_, T>, n_clusters: usize) -> Result<()> {
    data.check_shape()?;
    if n_clusters == 0 {
        return Err(Error::NoClusters);
    }
    if n_clusters > data.n_rows() {
        return Err(Error::TooFewRows {
            rows: data.n_rows(),
            clusters: n_clusters,
        });
    }
    Ok(())
}

fn seeds<T: Element>(data: &Rows<'_, T>, indices: Vec<usize>) -> Seeds<T> {
    Seeds {
        centers: data.as_array().select(ndarray::Axis(0), &indices),
        indices,
    }
}
