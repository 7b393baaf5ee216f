//! Which algorithm the next iteration uses. Decided from counts alone, so that a fit does the same work every time; no
//! decision changes a result.

use crate::params::Algorithm;

/// How an iteration finds the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The dense kernel on every sample.
    Dense,
    /// The same, storing margins for the iterations that follow.
    Fill,
    /// The dense kernel on the samples whose label the bounds do not prove.
    Bounded,
}

/// Of all samples, how many may change their label in an iteration for bounds to be worth storing; bounds by groups save
/// something sooner.
const SETTLING: f64 = 0.2;
const SETTLING_IN_GROUPS: f64 = 0.5;
/// Least n·d·k for which bounds are tried: below, an iteration takes microseconds.
const SMALL: usize = 50_000;
/// Least numbers of features and centers for which bounds by groups are taken: with fewer they save too little.
const WIDE: usize = 64;
const MANY: usize = 32;
/// Most iterations between two trials of the bounds.
const LONGEST_REST: usize = 32;

/// Chooses the way of each iteration from what the ones before found.
#[derive(Debug)]
pub(crate) struct Choice {
    asked: Algorithm,
    n: usize,
    /// Into how many groups bounds put the centers; 0 for a margin alone.
    groups: usize,
    /// Cost in operations: of a sample in a dense iteration, of the bounds' test, of a sample that it leaves in doubt, and of a
    /// distance from that to a center.
    dense: f64,
    test: f64,
    survivor: f64,
    pair: f64,
    next: Way,
    bounded: bool,
    /// Dense iterations left before bounds are tried again, and how many there will be after the next failure.
    resting: usize,
    rest: usize,
}

impl Choice {
    /// For `n` samples, `d` features, `k` centers, each sample taking as long as so many scores in a dense iteration, and bounds
    /// by `groups` if these are asked for or likely to pay.
    pub(crate) fn new(
        asked: Algorithm,
        (n, d, k): (usize, usize, usize),
        (groups, pairs_a_row): (usize, usize),
    ) -> Self {
        let groups = match asked {
            Algorithm::Yinyang => groups,
            Algorithm::Auto if d >= WIDE && k >= MANY => groups,
            _ => 0,
        };
        let asked = match asked {
            // One center is everybody's; then, and for tiny problems, there is nothing to save.
            _ if k == 1 => Algorithm::Lloyd,
            Algorithm::Auto if n.saturating_mul(d).saturating_mul(k) < SMALL => Algorithm::Lloyd,
            asked => asked,
        };
        let (pairs_a_row, d) = (pairs_a_row as f64, d as f64);
        Self {
            asked,
            n,
            groups,
            dense: (d + 4.0) * pairs_a_row + 4.0 * d + 20.0,
            test: 15.0,
            survivor: 5.0 * d + 60.0,
            pair: d + 4.0,
            next: if matches!(asked, Algorithm::Hamerly | Algorithm::Yinyang) {
                Way::Fill
            } else {
                Way::Dense
            },
            bounded: false,
            resting: 0,
            rest: 2,
        }
    }

    /// The way of the next iteration.
    pub(crate) fn next(&self) -> Way {
        self.next
    }

    /// Into how many groups bounds put the centers; 0 for a margin alone.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Takes note of an iteration: how many samples changed their label, how many the kernel looked at, and what comparing these
    /// with centers cost, in scores.
    pub(crate) fn observe(&mut self, changed: usize, looked_at: usize, pairs: usize) {
        self.bounded |= self.next == Way::Bounded;
        self.next = match (self.asked, self.next) {
            (Algorithm::Lloyd, _) => Way::Dense,
            (Algorithm::Hamerly | Algorithm::Yinyang, _) | (Algorithm::Auto, Way::Fill) => {
                Way::Bounded
            }
            (Algorithm::Auto, Way::Dense) => {
                self.resting = self.resting.saturating_sub(1);
                let settling = match self.groups {
                    0 => SETTLING,
                    _ => SETTLING_IN_GROUPS,
                };
                if self.resting == 0 && changed as f64 <= settling * self.n as f64 {
                    Way::Fill
                } else {
                    Way::Dense
                }
            }
            (Algorithm::Auto, Way::Bounded) => {
                let cost = self.test * self.n as f64
                    + self.survivor * looked_at as f64
                    + self.pair * pairs as f64;
                if cost <= self.dense * self.n as f64 {
                    Way::Bounded
                } else {
                    self.resting = self.rest;
                    self.rest = (self.rest * 2).min(LONGEST_REST);
                    Way::Dense
                }
            }
        };
    }

    /// What the fit has used: [`Algorithm::Yinyang`] or [`Algorithm::Hamerly`] if bounds, by groups or not, proved labels in
    /// some iteration.
    pub(crate) fn used(&self) -> Algorithm {
        match (self.bounded, self.groups) {
            (false, _) => Algorithm::Lloyd,
            (true, 0) => Algorithm::Hamerly,
            (true, _) => Algorithm::Yinyang,
        }
    }
}
