"""SQLite's account of the memory it uses, which nobody here reads."""

import ctypes
import importlib.util
from contextlib import suppress
from typing import Final

# sqlite3_config(), <sqlite3.h>.
_CONFIG_MEMSTATUS: Final = 9


def keep_no_account() -> None:
    """Spare SQLite the lock and the counters of each piece of memory, of which a request takes 45: 2 % of its
    instructions. SQLite recommends it (sqlite.org/compile.html, SQLITE_DEFAULT_MEMSTATUS=0).

    Once ``sqlite3`` is imported it is too late, and where the library cannot be found (built into the
    interpreter) it cannot be said: then nothing happens.
    """
    spec = importlib.util.find_spec("_sqlite3")
    if spec is not None and spec.origin is not None:
        with suppress(OSError, AttributeError):
            config = ctypes.CDLL(spec.origin).sqlite3_config
            # Of a variadic function: some systems pass the arguments behind these in another way.
            config.argtypes = (ctypes.c_int,)
            config(_CONFIG_MEMSTATUS, ctypes.c_int(0))
