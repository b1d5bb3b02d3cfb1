"""How the process lies in memory: what is kept of what was freed, and in what pages the rest is."""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Final

# mallopt(3), <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_TRIM_BYTES: Final = 1 << 20
_MMAP_BYTES: Final = 1 << 17

# madvise(2), <sys/mman.h>; since Linux 6.1.
_MADV_COLLAPSE: Final = 25
_HUGE_BYTES: Final = 2 << 20


def give_back_memory() -> None:
    """Pin glibc's thresholds: left alone they grow with the largest body seen, to 32 and 64 MB, and a
    process that relayed one keeps as much for good. Elsewhere nothing happens."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def use_huge_pages() -> None:
    """Move the objects that are there by now into pages of 2 MB.

    A request touches objects all over the heap; in pages of 4 kB the processor must look up where most of
    them are, which is dearer still in a virtual machine: some 4 % of a request's CPU time. Only what is
    filled already is moved: the process grows by a megabyte. Where the system cannot, nothing happens.
    """
    with suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, access, _, _, inode, *name = line.split(maxsplit=5)
            if access == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
                first, last = (int(place, 16) for place in span.split("-"))
                start, end = -(-first // _HUGE_BYTES) * _HUGE_BYTES, last // _HUGE_BYTES * _HUGE_BYTES
                if start < end:
                    madvise(start, end - start, _MADV_COLLAPSE)
