//! Threads: a private pool, and work handed out in pieces.

use std::cell::Cell;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cpus;
use crate::error::{Error, Result};
use crate::team::Team;

/// `RAYON_NUM_THREADS` if it is a positive number, else the CPUs this process may use (affinity and cgroup quota), but no
/// more than `OMP_NUM_THREADS`: by that joblib, Dask and batch systems share the CPUs among the processes they start.
#[must_use]
pub fn default_threads() -> usize {
    threads_in("RAYON_NUM_THREADS").unwrap_or_else(|| {
        let cpus = cpus::usable();
        threads_in("OMP_NUM_THREADS").map_or(cpus, |most| most.min(cpus))
    })
}

/// A positive number in the environment; of a list, as OpenMP has for nested regions, the first.
fn threads_in(variable: &str) -> Option<usize> {
    let value = std::env::var(variable).ok()?;
    let first = value.split(',').next()?.trim().parse().ok()?;
    (first > 0).then_some(first)
}

/// Workers of pools that are no longer used, for the next ones: starting a thread takes longer than a small fit.
static IDLE: Mutex<Vec<Workers>> = Mutex::new(Vec::new());
/// How many are kept at most.
const MOST_IDLE: usize = 4;

/// Started threads, each of which serves the team.
#[derive(Debug)]
struct Workers {
    team: Arc<Team>,
    /// Ends its threads when it is dropped, once the team lets them go.
    _threads: ThreadPool,
    n_threads: usize,
    /// After a fork the child has none of its parent's threads.
    process: u32,
}

impl Workers {
    /// Idle ones if there are such, else new ones.
    fn take(n_threads: usize) -> Result<Self> {
        let process = process::id();
        // A lock that is held, perhaps for ever by a thread that a fork left behind, is not worth waiting for.
        if let Ok(mut idle) = IDLE.try_lock() {
            while let Some(at) = idle.iter().position(|workers| workers.process != process) {
                // To end threads that are not there would wait for them.
                std::mem::forget(idle.swap_remove(at));
            }
            let fitting = |workers: &Self| workers.n_threads == n_threads;
            if let Some(at) = idle.iter().position(fitting) {
                return Ok(idle.swap_remove(at));
            }
        }
        let threads = ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|i| format!("rust_kmeans-{i}"))
            .build()
            .map_err(|error| Error::Threads {
                n_threads,
                reason: error.to_string(),
            })?;
        let team = Arc::new(Team::default());
        let served = Arc::clone(&team);
        threads.spawn_broadcast(move |context| served.serve(context.index()));
        Ok(Self {
            team,
            _threads: threads,
            n_threads,
            process,
        })
    }

    fn give_back(self) {
        if let Ok(mut idle) = IDLE.try_lock()
            && idle.len() < MOST_IDLE
        {
            idle.push(self);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.team.dismiss();
    }
}

/// Threads of all pools of this process, those that call included, and the process: its number, then 32 bits of theirs.
/// After a fork none of the parent's threads works in the child.
static AT_WORK: AtomicU64 = AtomicU64::new(0);

/// Counts threads in: of those wanted as many as all pools together leave of `limit`, at least the calling one.
fn count_in(wanted: usize, limit: usize) -> usize {
    let mut granted = wanted;
    change(|at_work| {
        granted = wanted.min(limit.saturating_sub(at_work).max(1));
        at_work + granted
    });
    granted
}

fn count_out(n_threads: usize) {
    change(|at_work| at_work.saturating_sub(n_threads));
}

fn change(mut count: impl FnMut(usize) -> usize) {
    let process = u64::from(process::id()) << 32;
    let change = |seen: u64| {
        let at_work = if seen >> 32 == process >> 32 {
            seen & u64::from(u32::MAX)
        } else {
            0
        };
        let at_work = count(usize::try_from(at_work).unwrap_or(usize::MAX));
        Some(process | u64::try_from(at_work).map_or(0, |count| count & u64::from(u32::MAX)))
    };
    let _ = AT_WORK.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
}

/// How long the calling thread works alone while the others sleep. A fit that is over sooner wakes nobody.
const PATIENCE: Duration = Duration::from_micros(20);

/// Private worker threads. The calling thread works too, so that one thread needs no pool at all, and interrupts are
/// checked where Python delivers signals.
#[derive(Debug)]
pub struct Pool {
    workers: Option<Workers>,
    n_threads: usize,
    /// When work began.
    taken: Instant,
}

impl Drop for Pool {
    fn drop(&mut self) {
        count_out(self.n_threads);
        if let Some(workers) = self.workers.take() {
            workers.give_back();
        }
    }
}

impl Pool {
    /// Takes `n_threads - 1` workers: idle ones of an earlier pool, or new ones.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system refuses.
    pub fn new(n_threads: usize) -> Result<Self> {
        Self::sharing(n_threads, usize::MAX)
    }

    /// As [`Pool::new`], but all pools of this process together have at most `limit` threads, if the calling ones are not more:
    /// many fits side by side shall not start as many threads as each would alone.
    pub(crate) fn sharing(n_threads: usize, limit: usize) -> Result<Self> {
        let mut pool = Self {
            workers: None,
            n_threads: count_in(n_threads.max(1), limit),
            taken: Instant::now(),
        };
        if pool.n_threads > 1 {
            pool.workers = Some(Workers::take(pool.n_threads - 1)?);
        }
        Ok(pool)
    }

    /// Threads that work, the calling one included.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Calls `work(local, item)` for every item; each thread has one of `locals` to itself. As many threads work as there are
    /// locals and threads. Each begins with a share of its own, the same from call to call, so that what it read and wrote
    /// stays in its caches, and then takes from the end of what others have left. Which thread takes which item is not
    /// defined: results must not depend on it, which [`crate::exact_sum`] makes possible.
    pub(crate) fn for_each<I, L, F>(&self, items: I, locals: &mut [L], work: F)
    where
        I: Iterator + Send,
        I::Item: Send,
        L: Send,
        F: Fn(&mut L, I::Item) + Sync,
    {
        let Some((own, others)) = locals.split_first_mut() else {
            return;
        };
        let workers = match &self.workers {
            Some(workers) if !others.is_empty() => workers,
            _ => {
                for item in items {
                    work(own, item);
                }
                return;
            }
        };
        let seats: Vec<_> = others
            .iter_mut()
            .take(workers.n_threads)
            .map(Seat::new)
            .collect();
        let shares = shares(items.collect(), seats.len() + 1);
        let run = |local: &mut L, first: usize, each: &dyn Fn()| {
            let mut work = |item| {
                each();
                work(local, item);
            };
            while let Some(item) = take(&shares[first], Iterator::next) {
                work(item);
            }
            let (before, after) = shares.split_at(first);
            for share in after.iter().chain(before) {
                while let Some(item) = take(share, DoubleEndedIterator::next_back) {
                    work(item);
                }
            }
        };
        let help = |thread: usize| {
            if let Some(local) = seats.get(thread).and_then(Seat::take) {
                run(local, thread + 1, &|| ());
            }
        };
        workers.team.call(&help, |wake| {
            let woken = Cell::new(false);
            run(own, 0, &|| {
                if !woken.get() && self.taken.elapsed() >= PATIENCE {
                    woken.set(true);
                    wake();
                }
            });
        });
    }

    /// How many threads `rows` rows of `cost` operations each are worth: waking a thread takes microseconds.
    pub(crate) fn useful_threads(&self, rows: usize, cost: usize) -> usize {
        useful_threads(self.n_threads, rows, cost)
    }
}

/// The local of a worker, until it takes it.
struct Seat<'a, L>(Mutex<Option<&'a mut L>>);

impl<'a, L> Seat<'a, L> {
    fn new(local: &'a mut L) -> Self {
        Self(Mutex::new(Some(local)))
    }

    fn take(&self) -> Option<&'a mut L> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What is left of a share.
type Share<T> = Mutex<IntoIter<T>>;

/// Cuts items into so many shares of consecutive ones, as equal as can be.
fn shares<T>(mut items: Vec<T>, count: usize) -> Vec<Share<T>> {
    let all = items.len();
    let mut shares: Vec<_> = (0..count)
        .rev()
        .map(|at| Mutex::new(items.split_off(all * at / count).into_iter()))
        .collect();
    shares.reverse();
    shares
}

fn take<T>(share: &Share<T>, next: impl FnOnce(&mut IntoIter<T>) -> Option<T>) -> Option<T> {
    // A panic elsewhere ends the whole call after all threads return, so a poisoned lock is no news.
    next(&mut share.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Operations a sample costs with `k` centers of `d` features, roughly: a register of them is one. What does not grow with
/// either, like looking at a label, is the last term.
pub(crate) fn cost(d: usize, k: usize) -> usize {
    d.saturating_mul(k.saturating_add(4)).saturating_add(160)
}

/// Of `n_threads`, how many are worth starting for `rows` rows of `cost` operations each.
pub(crate) fn useful_threads(n_threads: usize, rows: usize, cost: usize) -> usize {
    /// Tests are built with assertions; there threads work on small data too.
    const OPERATIONS_PER_THREAD: usize = if cfg!(debug_assertions) {
        20_000
    } else {
        1_000_000
    };
    (rows.saturating_mul(cost) / OPERATIONS_PER_THREAD).clamp(1, n_threads.max(1))
}

/// Rows handed to a thread at a time: whole blocks, small enough to balance, large enough to be rare.
pub(crate) fn rows_per_piece(rows: usize, threads: usize) -> usize {
    use crate::kernel::BLOCK;
    if threads <= 1 {
        return rows.max(1);
    }
    (rows / (threads * 8))
        .next_multiple_of(BLOCK)
        .clamp(BLOCK, 128 * BLOCK)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread::{ThreadId, current, sleep};

    use super::*;

    fn threads_of(pool: &Pool) -> HashSet<ThreadId> {
        let all = Barrier::new(pool.n_threads());
        let mut locals = vec![None; pool.n_threads()];
        // The caller would wait for others before it wakes them.
        sleep(PATIENCE);
        // Nobody takes a second item before all have one.
        pool.for_each(0..pool.n_threads(), &mut locals, |local, _| {
            all.wait();
            *local = Some(current().id());
        });
        locals.into_iter().flatten().collect()
    }

    #[test]
    fn the_next_pool_of_the_same_size_works_with_the_same_threads() -> Result<()> {
        // A size that no other test asks for.
        let first = threads_of(&Pool::new(6)?);
        let second = threads_of(&Pool::new(6)?);
        assert_eq!(first.len(), 6);
        assert_eq!(first, second);
        Ok(())
    }

    #[test]
    fn two_pools_at_a_time_have_threads_of_their_own() -> Result<()> {
        let (one, other) = (Pool::new(7)?, Pool::new(7)?);
        let shared: Vec<_> = threads_of(&one)
            .intersection(&threads_of(&other))
            .copied()
            .collect();
        assert_eq!(shared, [current().id()]);
        Ok(())
    }
}
