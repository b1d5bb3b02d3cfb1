"""Takes away what is past its retention, in a thread, once a minute."""

import logging
import threading
from typing import Protocol

from triptych.storage.errors import reason

logger = logging.getLogger("triptych.pruning")

PRUNE_S = 60.0


class Prunable(Protocol):
    def prune(self) -> int:
        """Returns how many of it went."""
        ...


class Pruning:
    """Any number of nodes may do this at once."""

    def __init__(self, *stored: Prunable) -> None:
        self._stored = stored
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="pruning", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            for kind in self._stored:
                try:
                    kind.prune()
                except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
                    logger.warning("could not prune %s: %s", type(kind).__name__, reason(error))
            if self._stopping.wait(PRUNE_S):
                return
