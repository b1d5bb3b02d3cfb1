"""Deletes contexts when their time is up, in a thread."""

import logging
import threading
from time import time

from triptych.core.clock import MICROSECONDS_PER_S
from triptych.storage.contexts import Contexts
from triptych.storage.errors import reason

logger = logging.getLogger("triptych.context_sweep")

LONGEST_SLEEP_S = 60.0
SHORTEST_SLEEP_S = 0.2


class ContextSweep:
    """Sleeps until the next context expires, at most a minute. Any number of nodes may do this at once."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._wake = threading.Event()
        self._stopping = False
        self._until_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._keep, name="context-sweep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def expires(self, expires_us: int) -> None:
        """A context will expire then: perhaps before the next pass."""
        if expires_us / MICROSECONDS_PER_S < self._until_s:
            self._wake.set()

    def _keep(self) -> None:
        while not self._stopping:
            sleep_s = LONGEST_SLEEP_S
            try:
                self._contexts.prune()
                earliest_us = self._contexts.earliest_expiry_us()
                if earliest_us is not None:
                    sleep_s = min(sleep_s, earliest_us / MICROSECONDS_PER_S - time())
            except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
                logger.warning("could not delete expired contexts: %s", reason(error))
            sleep_s = max(sleep_s, SHORTEST_SLEEP_S)
            self._until_s = time() + sleep_s
            self._wake.wait(sleep_s)
            self._wake.clear()
