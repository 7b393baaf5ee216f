//! Large arrays: zeros that are not written before they are used, and large pages.

use std::alloc::{Layout, alloc_zeroed};

/// Numbers of which all bits 0 is one.
///
/// # Safety
/// A value whose bytes are all 0 must be valid, and a vector of them must need nothing done when it is dropped.
pub(crate) unsafe trait Number: Copy {}

// SAFETY: its bits are those of 0.
unsafe impl Number for f64 {}
// SAFETY: its bits are those of 0.
unsafe impl Number for i32 {}
// SAFETY: its bits are those of 0.
unsafe impl Number for u16 {}

/// So many zeros, or `None` instead of an abort. Their pages are found and cleared by the threads that first write to them,
/// side by side: to write zeros here would take one thread that time.
#[expect(
    clippy::same_length_and_capacity,
    reason = "there is room for just so many"
)]
pub(crate) fn zeros<T: Number>(len: usize) -> Option<Vec<T>> {
    let layout = Layout::array::<T>(len).ok()?;
    if layout.size() == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the size is not 0.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        return None;
    }
    advise(start, layout.size());
    // SAFETY: the allocator gave this memory for an array of so many, all of which are valid as zeros.
    Some(unsafe { Vec::from_raw_parts(start.cast(), len, len) })
}

/// Asks the system to take large pages for an array before it is written to. A page is found and cleared when it is first
/// written to: with pages of 4 KiB that took a seventh of the time of a seeding. Nothing where the system does not offer
/// it, or lets nobody ask.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn advise(start: *mut u8, bytes: usize) {
    use std::ffi::{c_int, c_void};

    // Of the C library, which the standard library is linked with: `man 2 madvise`.
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    /// Bytes from which on it is worth asking. Below, the few large pages that would lie wholly within the array save little.
    const LARGE: usize = 4 << 20;
    /// Of large pages, a multiple of that of all others.
    const ALIGNMENT: usize = 2 << 20;
    if bytes < LARGE {
        return;
    }
    let before = start.align_offset(ALIGNMENT);
    let within = bytes.saturating_sub(before) / ALIGNMENT * ALIGNMENT;
    // SAFETY: the addresses lie within the array; the advice changes the pages that back them, not what is in them. A
    // refusal leaves things as they were.
    unsafe { madvise(start.wrapping_add(before).cast(), within, MADV_HUGEPAGE) };
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
fn advise(_: *mut u8, _: usize) {}
