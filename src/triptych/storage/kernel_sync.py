"""``fdatasync`` that the kernel does by itself and then says so to the event loop: no thread waits for it.

Linux asynchronous I/O, io_submit(2) with IOCB_CMD_FDSYNC (Linux 4.18); the layouts are those of
<linux/aio_abi.h>. A thread in its place has to be woken, to win the interpreter from a busy loop twice, and
to wake the loop: that is most of what such a sync costs.
"""

import asyncio
import ctypes
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# io_setup, io_destroy, io_getevents, io_submit: <asm/unistd.h>; not in the C library.
_NUMBERS: Final = {
    "x86_64": (206, 207, 208, 209),
    "aarch64": (0, 1, 4, 2),
    "riscv64": (0, 1, 4, 2),
}
_FDSYNC: Final = 3
_TELL_BY_EVENTFD: Final = 1


class _Request(ctypes.Structure):
    """``struct iocb`` of a little-endian machine; what a sync does not use is zero."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """``struct io_event``: ``result`` is 0 or a negative errno."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("request", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class KernelSync:
    """One sync at a time. For the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError where the system has no such thing, or does not let us."""
        numbers = _NUMBERS.get(platform.machine())
        if sys.platform != "linux" or sys.byteorder != "little" or numbers is None:
            raise OSError("asynchronous I/O of the kernel is used on Linux only")
        self._loop = loop
        setup, self._destroy, self._get_events, self._submit = numbers
        # ``PyDLL``: these calls take microseconds, and the interpreter is not given away for them.
        self._syscall = ctypes.PyDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._call(setup, ctypes.c_uint(1), ctypes.byref(self._context))
        try:
            self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            self._call(self._destroy, self._context)
            raise
        self._request = _Request(opcode=_FDSYNC, flags=_TELL_BY_EVENTFD, eventfd=self._eventfd)
        self._requests = ctypes.pointer(ctypes.pointer(self._request))
        self._event = _Event()
        self._told: Callable[[OSError | None], None] | None = None
        loop.add_reader(self._eventfd, self._ready)

    def start(self, fd: int, told: Callable[[OSError | None], None]) -> None:
        """Sync the data of ``fd``; ``told`` is called in a later turn of the loop. Raises OSError when it
        could not be started."""
        self._request.fd = fd
        self._call(self._submit, self._context, ctypes.c_long(1), self._requests)
        self._told = told

    def close(self) -> None:
        """Waits for a sync that still runs, whose caller is not told any more."""
        self._loop.remove_reader(self._eventfd)
        self._call(self._destroy, self._context)
        os.close(self._eventfd)

    def _ready(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)
        least, most = ctypes.c_long(0), ctypes.c_long(1)
        found = self._call(self._get_events, self._context, least, most, ctypes.byref(self._event), None)
        if found and self._told is not None:
            told, self._told = self._told, None
            code = -self._event.result
            told(OSError(code, os.strerror(code)) if code > 0 else None)

    def _call(self, number: int, *arguments: object) -> int:
        done: int = self._syscall(ctypes.c_long(number), *arguments)
        if done < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return done
