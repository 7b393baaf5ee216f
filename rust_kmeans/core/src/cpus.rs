//! How many processors this process may use.

use std::process;
use std::sync::Mutex;
use std::thread::available_parallelism;

/// Processors that this process may run on (affinity), and no more than the quota of its control group. The quota is read
/// anew when the affinity has changed, and after a fork: to read it takes 18 system calls, as long as a small fit.
pub(crate) fn usable() -> usize {
    /// Process, affinity and answer of the last time.
    static LAST: Mutex<Option<(u32, Affinity, usize)>> = Mutex::new(None);
    let ask = || available_parallelism().map_or(1, usize::from);
    // A lock that is held, perhaps for ever by a thread that a fork left behind, is not worth waiting for.
    let (Some(affinity), Ok(mut last)) = (affinity(), LAST.try_lock()) else {
        return ask();
    };
    let process = process::id();
    match *last {
        Some((by, of, cpus)) if by == process && of == affinity => cpus,
        _ => {
            let cpus = ask();
            *last = Some((process, affinity, cpus));
            cpus
        }
    }
}

/// A bit for each of 1024 processors.
type Affinity = [u64; 16];

/// Of the calling thread; nothing where the system has no such thing, or more processors.
#[cfg(target_os = "linux")]
fn affinity() -> Option<Affinity> {
    use std::ffi::c_int;

    // The C library, which the standard library is linked with: `man 2 sched_getaffinity`.
    unsafe extern "C" {
        fn sched_getaffinity(process: c_int, bytes: usize, mask: *mut Affinity) -> c_int;
    }
    let mut mask = Affinity::default();
    // SAFETY: the mask is as large as is said, and any bits are valid in it.
    let refused = unsafe { sched_getaffinity(0, size_of::<Affinity>(), &raw mut mask) };
    (refused == 0).then_some(mask)
}

#[cfg(not(target_os = "linux"))]
fn affinity() -> Option<Affinity> {
    None
}
