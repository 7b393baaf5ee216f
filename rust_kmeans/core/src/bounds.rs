//! Bounds that prove labels without a look at the samples.
//!
//! # Method
//! When the kernel has labelled a sample it knows its *margin*: how much farther than its own center every other center
//! is, at least. Let centers move, center c by p(c). By the triangle inequality the distance of the sample to its own
//! center grows by at most p(own), that to any other center shrinks by at most max p(c) over c ≠ own. So while
//!
//! Σ over iterations of p(own) + max_{c ≠ own} p(c) < margin
//!
//! the label stands. The sum is the same for all samples of a cluster. It is kept for each center from the start of the
//! fit, and a sample stores its margin plus the sum of its center at that time: a sample whose label stands costs the
//! reading of its label and of one number, and no write.
//!
//! This is the test of G. Hamerly, *Making k-means even faster*, SDM 2010, with both of his bounds in one number; drift
//! taken relative to a cumulative sum is that of J. Drake and G. Hamerly, *Accelerated k-means with adaptive distance
//! bounds*, OPT 2012.
//!
//! # Groups
//! For many centers of many features a sample also keeps a lower bound on its distance to each of a few groups of centers, its own
//! center left out. Such a bound shrinks by the largest movement of the group's centers, kept and stored in the same way. A
//! sample in doubt computes the distance to its own center, and then only those to groups whose bound is not above it. Groups
//! are formed once. This is the filter of Y. Ding, Y. Zhao, X. Shen, M. Musuvathi, T. Mytkowicz, *Yinyang k-means*, ICML 2015.
//!
//! # Why it is exact
//! Sums of drift are rounded up where they are compared and down where they are stored, margins down
//! ([`crate::kernel`]), and movements, computed in float64, are enlarged by more than their rounding. Margins and
//! movements are moved apart by the relative error of the float64 distance that defines labels, so what is proven is
//! the order of the computed distances. A sample that is not proven gets its label from the kernel, as without bounds.

use crate::element::Element;
use crate::error::{Result, try_vec};
use crate::kernel::{Grouped, slack};

/// What is known of the samples, and how far centers have moved.
pub(crate) struct Bounds<T> {
    /// For each sample its margin plus the drift of its label when that was found, rounded down.
    pub(crate) margins: Vec<T>,
    pub(crate) drift: Drift<T>,
    pub(crate) groups: Option<GroupBounds<T>>,
}

/// Bounds by groups of centers.
pub(crate) struct GroupBounds<T> {
    /// For each sample and group a lower bound on the distances to the group's centers but its own plus the drift of the group
    /// when that was found, rounded down; all of a sample together.
    pub(crate) lower: Vec<T>,
    /// For each group Σ max p(c).
    pub(crate) drift: Totals<T>,
    pub(crate) grouped: Grouped<T>,
}

/// For each center Σ p(c) + max_{c' ≠ c} p(c').
pub(crate) struct Drift<T> {
    totals: Totals<T>,
    movement: Vec<f64>,
}

/// Sums of movements that only grow.
pub(crate) struct Totals<T> {
    total: Vec<f64>,
    /// The same, rounded down and up.
    low: Vec<T>,
    high: Vec<T>,
}

impl<T: Element> Bounds<T> {
    /// Bounds that prove nothing, for `n` samples and `k` centers.
    pub(crate) fn new(n: usize, k: usize, grouped: Option<Grouped<T>>) -> Result<Self> {
        let what = "the bounds";
        let drift = Drift {
            totals: Totals::new(k)?,
            movement: try_vec(what, k, 0.0)?,
        };
        let groups = match grouped {
            None => None,
            Some(grouped) => Some(GroupBounds {
                lower: try_vec(what, n * grouped.n_groups(), T::default())?,
                drift: Totals::new(grouped.n_groups())?,
                grouped,
            }),
        };
        Ok(Self {
            margins: try_vec(what, n, T::default())?,
            drift,
            groups,
        })
    }

    /// Starts from 0: all margins are about to be stored anew.
    pub(crate) fn reset(&mut self) {
        self.drift.totals.reset();
        if let Some(groups) = &mut self.groups {
            groups.drift.reset();
        }
    }

    /// Centers have moved.
    pub(crate) fn advance(&mut self, old: &[T], new: &[T]) {
        self.drift.advance(old, new);
        if let Some(groups) = &mut self.groups {
            groups.advance(&self.drift.movement, old.len());
        }
    }
}

impl<T: Element> GroupBounds<T> {
    fn advance(&mut self, movement: &[f64], size: usize) {
        let enlarged = enlarged(size / movement.len());
        for (group, total) in self.drift.total.iter_mut().enumerate() {
            let members = self.grouped.group_of().iter().zip(movement);
            let largest = members
                .filter(|&(&of, _)| of == group)
                .fold(0.0_f64, |largest, (_, &movement)| largest.max(movement));
            grow(total, largest * enlarged);
        }
        self.drift.round();
    }
}

impl<T: Element> Drift<T> {
    fn advance(&mut self, old: &[T], new: &[T]) {
        let d = old.len() / self.movement.len();
        let enlarged = enlarged(d);
        let (mut largest, mut fastest, mut second) = (0.0_f64, 0, 0.0_f64);
        let centers = old.chunks_exact(d).zip(new.chunks_exact(d));
        for (c, (movement, (old, new))) in self.movement.iter_mut().zip(centers).enumerate() {
            *movement = if old == new {
                0.0
            } else {
                (squared_shift(old, new) + d as f64 * f64::MIN_POSITIVE).sqrt() * enlarged
            };
            if *movement > largest {
                (largest, fastest, second) = (*movement, c, largest);
            } else {
                second = second.max(*movement);
            }
        }
        let totals = self.totals.total.iter_mut();
        for (c, (total, &own)) in totals.zip(&self.movement).enumerate() {
            let others = if c == fastest { second } else { largest };
            grow(total, (own + others) * enlarged);
        }
        self.totals.round();
    }

    /// What a sample that just got `label` with `margin` stores.
    #[inline(always)]
    pub(crate) fn store(&self, label: i32, margin: T) -> T {
        let at = usize::try_from(label).unwrap_or(usize::MAX);
        self.totals.store(at, margin)
    }

    /// What margins are compared with, one entry a center.
    pub(crate) fn high(&self) -> &[T] {
        &self.totals.high
    }
}

impl<T: Element> Totals<T> {
    fn new(count: usize) -> Result<Self> {
        let what = "the bounds";
        Ok(Self {
            total: try_vec(what, count, 0.0)?,
            low: try_vec(what, count, T::default())?,
            high: try_vec(what, count, T::default())?,
        })
    }

    fn reset(&mut self) {
        self.total.fill(0.0);
        self.round();
    }

    fn round(&mut self) {
        let unit = 4.0 * T::UNIT;
        for ((low, high), &total) in self.low.iter_mut().zip(&mut self.high).zip(&self.total) {
            (*low, *high) = if total == 0.0 {
                (T::default(), T::default())
            } else {
                let enough = total.max(T::TINY * 2.0);
                (
                    T::from_f64(total * (1.0 - unit)),
                    T::from_f64(enough * (1.0 + unit)),
                )
            };
            if total < T::TINY * 2.0 {
                *low = T::default();
            }
        }
    }

    /// A bound that holds now, to be stored: relative to the total `at` a place, rounded down.
    #[inline(always)]
    pub(crate) fn store(&self, at: usize, bound: T) -> T {
        let Some(&drift) = self.low.get(at) else {
            return T::from_f64(f64::NEG_INFINITY);
        };
        rounded_down(bound + drift)
    }

    /// The bound that holds now, from one stored before for the total `at` a place, rounded down.
    #[inline(always)]
    pub(crate) fn now(&self, at: usize, stored: T) -> T {
        rounded_down(stored.minus(self.high[at]))
    }
}

/// Less than a sum or difference by more than its rounding.
#[inline(always)]
fn rounded_down<T: Element>(sum: T) -> T {
    let size = if sum < T::default() {
        T::default() - sum
    } else {
        sum
    };
    sum - size * T::from_f64(4.0 * T::UNIT)
}

/// The factor by which movements are enlarged.
fn enlarged(d: usize) -> f64 {
    1.0 + 8.0 * slack(d)
}

/// Adds a movement, rounded up.
fn grow(total: &mut f64, movement: f64) {
    if movement > 0.0 {
        *total = (*total + movement).next_up();
    }
}

/// Σ (new − old)², in float64, as eight sums side by side.
pub(crate) fn squared_shift<T: Element>(old: &[T], new: &[T]) -> f64 {
    const SIDE: usize = 8;
    let mut sums = [0.0; SIDE];
    let mut add = |old: &[T], new: &[T]| {
        for (sum, (&old, &new)) in sums.iter_mut().zip(old.iter().zip(new)) {
            let shift = new.into() - old.into();
            *sum += shift * shift;
        }
    };
    let (olds, old_rest) = old.as_chunks::<SIDE>();
    let (news, new_rest) = new.as_chunks::<SIDE>();
    for (old, new) in olds.iter().zip(news) {
        add(old, new);
    }
    add(old_rest, new_rest);
    sums.iter().sum()
}
