//! Large pages for large arrays.

/// Bytes from which on an array is worth asking for. Below, the few large pages that would lie wholly within it save little.
const LARGE: usize = 4 << 20;

/// Asks the system to take large pages for an array that was not written to yet. A page is found and cleared when it is first
/// written to: with pages of 4 KiB that took a seventh of the time of a seeding. Nothing where the system does not offer
/// it, or lets nobody ask.
pub(crate) fn ask_for_large_pages<T>(room: &mut [std::mem::MaybeUninit<T>]) {
    let bytes = size_of_val(room);
    if bytes >= LARGE {
        advise(room.as_mut_ptr().cast(), bytes);
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn advise(start: *mut u8, bytes: usize) {
    use std::ffi::{c_int, c_void};

    // The C library, which the standard library is linked with: `man 2 madvise`.
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    /// A multiple of what pages are aligned to.
    const ALIGNMENT: usize = 2 << 20;
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
