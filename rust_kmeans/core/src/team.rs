//! Threads that wait for calls awake, so that a pass of some microseconds is worth sharing.
//!
//! A thread that sleeps takes tens of microseconds to wake up, on virtual machines a hundred and more; a fit is many short passes,
//! with a few microseconds between them. Threads therefore look for the next call for a while before they sleep, and nobody
//! waits for a thread that has not begun: what it would have done, others do.

use std::any::Any;
use std::fmt;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// How long a thread looks for what it waits for before it sleeps: longer than most fits need between two passes.
const AWAKE: Duration = Duration::from_micros(200);
/// Looks between two offers of the processor to other threads.
const LOOKS: usize = 64;

/// What a call asks each thread to do, which is told its number. Its borrows end with the call, not before (see [`Team::call`]).
type Help = &'static (dyn Fn(usize) + Sync);

/// What the threads of a team share.
#[derive(Default)]
pub(crate) struct Team {
    state: Mutex<State>,
    /// Calls begun, the end of the team being one: what threads look at without the lock.
    calls: AtomicUsize,
    /// Threads at work for a call: what the caller looks at without the lock.
    inside: AtomicUsize,
    begun: Condvar,
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// While it lasts.
    help: Option<Help>,
    /// Whether somebody calls: the team serves one at a time.
    busy: bool,
    /// Whether the caller sleeps until nobody is inside.
    caller_asleep: bool,
    /// Threads that sleep until the next call.
    asleep: usize,
    dismissed: bool,
    /// Of the first thread that panicked in this call.
    panic: Option<Box<dyn Any + Send>>,
}

impl fmt::Debug for Team {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Team").finish_non_exhaustive()
    }
}

impl Team {
    /// Does `own`, while each thread of the team that is free in time does `help` once with its own number; returns when all that
    /// began are done. Threads that sleep are woken when `own` calls what it is given. If the team is at work already, for this
    /// thread or another, only `own` is done. A panic goes on here.
    pub(crate) fn call(&self, help: &(dyn Fn(usize) + Sync), own: impl FnOnce(&dyn Fn())) {
        // SAFETY: threads take the reference from the state, under the lock, and use it only while they are counted in `inside`.
        // `end` takes it out of the state and waits until nobody is inside, and it runs before this function ends in any way:
        // what might panic between is caught.
        let help = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Help>(help) };
        if !self.begin(help) {
            return own(&|| ());
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| own(&|| self.wake())));
        let panic = self.end();
        if let Some(panic) = outcome.err().or(panic) {
            resume_unwind(panic);
        }
    }

    /// Whether the team was free.
    fn begin(&self, help: Help) -> bool {
        let mut state = self.lock();
        let free = !state.busy;
        if free {
            state.busy = true;
            state.help = Some(help);
            self.calls.fetch_add(1, Ordering::Release);
        }
        free
    }

    fn wake(&self) {
        if self.lock().asleep > 0 {
            self.begun.notify_all();
        }
    }

    /// Waits for those who help, and says whether one of them panicked.
    fn end(&self) -> Option<Box<dyn Any + Send>> {
        self.lock().help = None;
        let inside = || self.inside.load(Ordering::Acquire);
        look_for(|| inside() == 0);
        let mut state = self.lock();
        while inside() > 0 {
            state.caller_asleep = true;
            state = wait(&self.left, state);
        }
        state.caller_asleep = false;
        state.busy = false;
        state.panic.take()
    }

    /// Helps with one call after the other, as thread `number`, until the team is dismissed.
    pub(crate) fn serve(&self, number: usize) {
        let mut seen = 0;
        loop {
            look_for(|| self.calls.load(Ordering::Acquire) != seen);
            let mut state = self.lock();
            if self.calls.load(Ordering::Relaxed) == seen {
                state.asleep += 1;
                while self.calls.load(Ordering::Relaxed) == seen {
                    state = wait(&self.begun, state);
                }
                state.asleep -= 1;
            }
            if state.dismissed {
                return;
            }
            seen = self.calls.load(Ordering::Relaxed);
            let Some(help) = state.help else { continue };
            self.inside.fetch_add(1, Ordering::Relaxed);
            drop(state);
            let outcome = catch_unwind(AssertUnwindSafe(|| help(number)));
            let mut state = self.lock();
            if let Err(panic) = outcome {
                state.panic.get_or_insert(panic);
            }
            let last = self.inside.fetch_sub(1, Ordering::Release) == 1;
            if last && state.caller_asleep {
                self.left.notify_one();
            }
        }
    }

    /// Lets the threads go.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.dismissed = true;
        // Under the lock: a thread that is about to sleep has looked before, or will see it.
        self.calls.fetch_add(1, Ordering::Release);
        drop(state);
        self.begun.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks whether something has come for as long as a thread stays awake.
fn look_for(come: impl Fn() -> bool) {
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if come() {
                return;
            }
            spin_loop();
        }
        if start.elapsed() > AWAKE {
            return;
        }
        yield_now();
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread::{scope, sleep, spawn};

    use super::*;

    /// Runs `test` with a team of `n_threads`, which it dismisses.
    fn with_team(n_threads: usize, test: impl FnOnce(&Team)) {
        let team = Team::default();
        scope(|scope| {
            let team = &team;
            for number in 0..n_threads {
                scope.spawn(move || team.serve(number));
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| test(team)));
            team.dismiss();
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
        });
    }

    #[test]
    fn what_helpers_wrote_is_there_after_each_of_many_calls() {
        with_team(3, |team| {
            for call in 0..20_000_usize {
                let left = AtomicUsize::new(10);
                let done = Mutex::new(Vec::new());
                let work = || {
                    while let Ok(item) =
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                            left.checked_sub(1)
                        })
                    {
                        done.lock().expect("no panic").push(item + call);
                    }
                };
                team.call(&|_| work(), |_| work());
                let mut done = done.into_inner().expect("no panic");
                done.sort_unstable();
                assert!(done.iter().copied().eq(1 + call..=10 + call));
            }
        });
    }

    #[test]
    fn threads_that_slept_help_again_and_a_caller_that_slept_goes_on() {
        with_team(2, |team| {
            for _ in 0..3 {
                // All three, or nobody gets on.
                let all = Barrier::new(3);
                sleep(3 * AWAKE);
                let help = |_| {
                    all.wait();
                    sleep(3 * AWAKE);
                };
                team.call(&help, |wake| {
                    wake();
                    all.wait();
                });
            }
        });
    }

    #[test]
    fn a_call_within_a_call_is_done_by_its_thread_alone() {
        with_team(1, |team| {
            let (outer, inner) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let both = Barrier::new(2);
            let work = || {
                both.wait();
                let nobody = |_| panic!("the team is at work");
                team.call(&nobody, |_| {
                    inner.fetch_add(1, Ordering::Relaxed);
                });
                outer.fetch_add(1, Ordering::Relaxed);
            };
            team.call(&|_| work(), |wake| {
                wake();
                work();
            });
            assert_eq!((outer.into_inner(), inner.into_inner()), (2, 2));
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_are_done_and_the_team_serves_on() {
        with_team(1, |team| {
            for own_panics in [false, true] {
                let both = Barrier::new(2);
                let done = AtomicUsize::new(0);
                let panics = |message: &str| {
                    both.wait();
                    done.fetch_add(1, Ordering::Relaxed);
                    // Not `panic!`, which would print.
                    resume_unwind(Box::new(message.to_owned()));
                };
                let call = || {
                    team.call(&|_| panics("help"), |wake| {
                        wake();
                        if own_panics {
                            panics("own");
                        }
                        both.wait();
                    });
                };
                let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("a panic");
                let expected = if own_panics { "own" } else { "help" };
                assert_eq!(
                    panic.downcast_ref::<String>().map(String::as_str),
                    Some(expected)
                );
                assert_eq!(done.into_inner(), 1 + usize::from(own_panics));
            }
            let helped = Barrier::new(2);
            let help = || {
                helped.wait();
            };
            team.call(&|_| help(), |wake| {
                wake();
                help();
            });
        });
    }

    #[test]
    fn calls_from_two_threads_at_a_time_do_not_mix() {
        with_team(2, |team| {
            scope(|scope| {
                for caller in 0..2_usize {
                    scope.spawn(move || {
                        for _ in 0..5_000 {
                            let sum = AtomicUsize::new(0);
                            let add = || {
                                sum.fetch_add(caller + 1, Ordering::Relaxed);
                            };
                            team.call(&|_| add(), |_| add());
                            let times = sum.into_inner() / (caller + 1);
                            assert!((1..=3).contains(&times));
                        }
                    });
                }
            });
        });
    }

    #[test]
    fn dismissed_threads_end_asleep_awake_or_just_falling_asleep() {
        let around = (0..200).map(|i| AWAKE / 2 + AWAKE * i / 200);
        for rest in [Duration::ZERO, 3 * AWAKE].into_iter().chain(around) {
            let team = Arc::new(Team::default());
            let served = Arc::clone(&team);
            let thread = spawn(move || served.serve(0));
            sleep(rest);
            team.dismiss();
            thread.join().expect("it ends");
        }
    }
}
