//! The heap of every tug process, Rust's and the C libraries' alike.
//!
//! A tug process lives for milliseconds and allocates little: musl's allocator asks the kernel for a
//! page per size class and gives it back as soon as it is empty, some two hundred mmap(2) and
//! munmap(2) in one `run`. This one (Doug Lea's, 64 KiB at a time) makes a dozen of them, and starts
//! with none. One lock serves all threads: what runs in parallel here hashes and inflates.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

static HEAP: Mutex<Dlmalloc> = Mutex::new(Dlmalloc::new());

fn heap() -> MutexGuard<'static, Dlmalloc> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For `#[global_allocator]`; on musl it is C's `malloc` as well.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

// SAFETY: Dlmalloc keeps GlobalAlloc's contracts (they are its own methods' contracts); the lock gives
// it the exclusive access that it needs.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is what the method asks for.
        unsafe { heap().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { heap().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller got the block from here, with this layout.
        unsafe { heap().free(block, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { heap().realloc(block, layout.size(), layout.align(), size) }
    }
}

/// The C library's names, for SQLite and the compressors. A static program may bring its own allocator
/// if it brings all of these (musl's documentation of malloc replacement). glibc's own does not have
/// the fault that this is here for.
#[cfg(all(target_env = "musl", not(test)))]
mod c {
    use super::heap;
    use libc::{EINVAL, ENOMEM, c_int, c_void};

    /// malloc(3)
    #[unsafe(no_mangle)]
    extern "C" fn malloc(size: usize) -> *mut c_void {
        // SAFETY: any size is accepted.
        failing(unsafe { heap().c_malloc(size) })
    }

    /// calloc(3)
    #[unsafe(no_mangle)]
    extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        let Some(size) = count.checked_mul(size) else {
            return failing(std::ptr::null_mut());
        };
        // SAFETY: any size is accepted, the alignment is a power of two.
        failing(unsafe { heap().calloc(size, 1) })
    }

    /// realloc(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the caller's block is from here, or null.
        failing(unsafe { heap().c_realloc(block.cast(), size) })
    }

    /// free(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(block: *mut c_void) {
        // SAFETY: the caller's block is from here, or null.
        unsafe { heap().c_free(block.cast()) }
    }

    /// aligned_alloc(3)
    #[unsafe(no_mangle)]
    extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
        if !align.is_power_of_two() {
            // SAFETY: the thread's own errno.
            unsafe { *libc::__errno_location() = EINVAL };
            return std::ptr::null_mut();
        }
        // SAFETY: a power of two.
        failing(unsafe { heap().c_memalign(align, size) })
    }

    /// memalign(3)
    #[unsafe(no_mangle)]
    extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
        aligned_alloc(align, size)
    }

    /// posix_memalign(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(
        place: *mut *mut c_void,
        align: usize,
        size: usize,
    ) -> c_int {
        if align < size_of::<*mut c_void>() || !align.is_power_of_two() {
            return EINVAL;
        }
        // SAFETY: a power of two.
        let block = unsafe { heap().c_memalign(align, size) };
        if block.is_null() {
            return ENOMEM;
        }
        // SAFETY: the caller's place is valid to write to.
        unsafe { *place = block.cast() };
        0
    }

    fn failing(block: *mut u8) -> *mut c_void {
        if block.is_null() {
            // SAFETY: the thread's own errno.
            unsafe { *libc::__errno_location() = ENOMEM };
        }
        block.cast()
    }
}
