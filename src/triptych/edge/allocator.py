"""What the C library keeps of memory that was freed: little, also after large bodies."""

import ctypes
from contextlib import suppress
from typing import Final

# mallopt(3), <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_TRIM_BYTES: Final = 1 << 20
_MMAP_BYTES: Final = 1 << 17


def give_back_memory() -> None:
    """Pin glibc's thresholds: left alone they grow with the largest body seen, to 32 and 64 MB, and a
    process that relayed one keeps as much for good. Elsewhere nothing happens."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
