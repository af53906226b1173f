//! How full the ring buffer is: the kernel shows the positions of its reader and its writer, each in a page of its own
//! (`kernel/bpf/ringbuf.c`). aya does not.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The two pages, mapped for reading.
#[derive(Debug)]
pub(super) struct RingFill {
    pages: NonNull<u8>,
    page_bytes: usize,
}

// SAFETY: the pages are only read, through atomics.
unsafe impl Send for RingFill {}
// SAFETY: as above.
unsafe impl Sync for RingFill {}

impl RingFill {
    pub(super) fn of(ring: &impl AsRawFd) -> io::Result<Self> {
        // A page has at least 4 KiB, and always fits.
        let page_bytes = usize::try_from(procfs::page_size()).unwrap_or(4096);
        Self::map(ring.as_raw_fd(), page_bytes)
    }

    fn map(ring: RawFd, page_bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice; the kernel checks the descriptor, the length and that
        // it is not writable. It outlives the descriptor.
        let pages = unsafe {
            libc::mmap(std::ptr::null_mut(), 2 * page_bytes, libc::PROT_READ, libc::MAP_SHARED, ring, 0)
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pages, page_bytes })
    }

    /// Bytes that are reserved or written and not read yet.
    pub(super) fn used(&self) -> u64 {
        // The reader's first: it only moves on, and never past the writer.
        let read = self.position(0);
        self.position(self.page_bytes).saturating_sub(read)
    }

    /// Each position is an `unsigned long` at the start of its page.
    fn position(&self, at: usize) -> u64 {
        // SAFETY: `at` is the start of one of the two mapped pages, which are aligned and live as long as `self`; the kernel
        // writes words there.
        unsafe { self.pages.add(at).cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
    }
}

impl Drop for RingFill {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), 2 * self.page_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    #[test]
    fn what_is_between_the_positions_is_used() {
        let page_bytes = usize::try_from(procfs::page_size()).unwrap();
        let mut pages = tempfile::tempfile().unwrap();
        pages.set_len(2 * page_bytes as u64).unwrap();
        let fill = RingFill::of(&pages).unwrap();
        assert_eq!(fill.used(), 0);
        let mut move_to = |at: usize, position: u64| {
            pages.seek(SeekFrom::Start(at as u64)).unwrap();
            pages.write_all(&position.to_ne_bytes()).unwrap();
        };
        move_to(page_bytes, 5000);
        move_to(0, 904);
        assert_eq!(fill.used(), 4096);
    }
}
