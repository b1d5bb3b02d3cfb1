"""The keys and policies this node knows: a snapshot in memory, confirmed several times a second.

One thread asks the database for the snapshot's version and loads a new snapshot when it moved; another
renews this node's lease and settles what dead nodes left open. Requests read one attribute.
"""

import logging
import math
import threading
import time
from collections.abc import Callable

from triptych.core.admission import BudgetScope, Metering
from triptych.core.clock import passed_s
from triptych.core.principal import Principal
from triptych.storage.database import Database
from triptych.storage.directory import KeyEntry, Snapshot, load_snapshot, read_version
from triptych.storage.errors import reason
from triptych.storage.nodes import (
    HEARTBEAT_S,
    LEASE_S,
    ORPHANS_AT_ONCE,
    Lease,
    Node,
    Orphan,
    Watch,
    ended_before_death,
    heartbeat,
    living_nodes,
    settle_orphans,
)
from triptych.storage.seeds import forget_books

logger = logging.getLogger("triptych.keyring")

POLL_S = 0.4
ORPHANS_S = 5.0
# A node that could not confirm its snapshot for this long no longer knows who was revoked.
STALE_S = 5.0


class KeyRing:
    """Keys by keyed hash, as of the last confirmed snapshot."""

    def __init__(
        self,
        database: Database,
        node: Node,
        *,
        exclusive: bool,
        baa_url: str | None = None,
        metered: Callable[[Metering], object] = lambda metering: None,
        orphaned: Callable[[Orphan], object] = lambda orphan: None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """``exclusive``: no other process can serve on this database (SQLite's lock is held).
        ``baa_url``: what callers without an agreement are told.
        ``metered`` hears which orgs have caps or credits, at the start and whenever the directory has
        changed, and ``orphaned`` of every exchange settled for a dead node, or ended by it shortly before;
        ``changed`` that the version moved; all in the thread."""
        self._living: dict[str, int] = {}
        self._told: dict[str, str] = {}
        """Why what could not be done last time failed, by purpose."""
        self.lease = Lease(-math.inf, math.inf if exclusive else -math.inf)
        """As this node knows it."""
        self.known_nodes = 1
        """How many processes serve on this database, as of the last renewal of the lease."""
        self._metered = metered
        self._orphaned = orphaned
        self._changed = changed
        self._database = database
        self._node = node
        self._exclusive = exclusive
        self._baa_url = baa_url
        self._refreshing = threading.Lock()
        self._snapshot: Snapshot = load_snapshot(database, baa_url)
        forget_books(database, self._snapshot.metering.metered)
        self._confirmed_s = time.monotonic()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watch = Watch(time.monotonic())
        self._found = 0
        """Orphans, when it was last looked for them."""

    def find(self, key_hash: bytes) -> KeyEntry | None:
        return self._snapshot.by_hash.get(key_hash)

    def budgets(self, principal: Principal, moment_us: int) -> tuple[BudgetScope, ...]:
        """Those of the principal's key as they are now, in the cycle of that moment; empty where nobody in
        the org has any. Finding them takes a look at every key."""
        snapshot = self._snapshot
        if principal.org_id not in snapshot.metering.metered:
            return ()
        key_id = principal.key_id
        for entry in snapshot.by_hash.values():
            if entry.principal.key_id == key_id:
                return entry.principal.budgets_at(moment_us)
        return ()

    @property
    def version(self) -> int:
        """Of the directory that requests are judged by."""
        return self._snapshot.version

    @property
    def guarded(self) -> bool:
        """Whether anybody's texts are scanned. Reads every key: not for requests."""
        return self._snapshot.guarded

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self._confirmed_s < STALE_S

    def refresh(self) -> None:
        """Confirm the snapshot now, in whichever thread: what was committed before is in it. Raises what
        the database raises."""
        with self._refreshing:  # an older snapshot must not take a newer one's place
            asked_s = time.monotonic()
            if read_version(self._database) != self._snapshot.version:
                snapshot = load_snapshot(self._database, self._baa_url)
                # Before the first exchange that is booked nowhere.
                forget_books(self._database, snapshot.metering.metered)
                self._snapshot = snapshot
                self._metered(snapshot.metering)
                self._changed()
            self._confirmed_s = asked_s

    def start(self) -> None:
        self._metered(self._snapshot.metering)
        if not self._exclusive:
            self._attempt("renew the node's lease", self._renew)
            self._attempt("count the nodes", self._count_nodes)
        works = {"keyring": self._keep_keys} | ({} if self._exclusive else {"lease": self._keep_lease})
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5.0)

    def _keep_keys(self) -> None:
        while not self._stopping.wait(POLL_S):
            self._attempt("confirm the keys", self.refresh)

    def _keep_lease(self) -> None:
        """Beside the keys: a revoked one must not wait for what a dead node left open. With one server, the
        lock on the file is the lease."""
        beat_s = orphans_s = time.monotonic()
        watch = self._watch
        while not self._stopping.wait(POLL_S):
            now_s = time.monotonic()
            if now_s - beat_s >= HEARTBEAT_S:
                # Once the database is back, before others have watched for long enough.
                if self._attempt("renew the node's lease", self._renew):
                    beat_s = now_s
                    watch.renewed(time.monotonic())
                self._attempt("count the nodes", self._count_nodes)
            if now_s - orphans_s >= ORPHANS_S and watch.suffices(time.monotonic()):
                self._attempt("settle interrupted exchanges", self._settle_orphans)
                # There may be more: not before the lease had its turn.
                orphans_s = now_s - ORPHANS_S if self._found == ORPHANS_AT_ONCE else now_s

    def _renew(self) -> None:
        asked_s = passed_s()
        if heartbeat(self._database, self._node):
            since_s = self.lease.since_s if passed_s() < self.lease.until_s else time.monotonic()
            self.lease = Lease(since_s, asked_s + LEASE_S)

    def _settle_orphans(self) -> None:
        self._found = 0
        self._found = settle_orphans(self._database, self._node, exclusive=False, told=self._orphaned)

    def _count_nodes(self) -> None:
        living = living_nodes(self._database, self._node)
        # Fewer only once it is sure: each of them has its share of the limits.
        sure = self._watch.suffices(time.monotonic())
        self.known_nodes = 1 + len(living) if sure else max(self.known_nodes, 1 + len(living))
        gone = {id: until_us for id, until_us in self._living.items() if id not in living}
        if gone:
            for ended in ended_before_death(self._database, gone):
                self._orphaned(ended)
        self._living = living

    def _attempt(self, purpose: str, work: Callable[[], object]) -> bool:
        """Whether it was done. A database that is away for a moment must not end the thread; staleness is
        what counts. Why it failed is told once, not twice a second."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
            why = reason(error)
            if self._told.get(purpose) != why:
                self._told[purpose] = why
                logger.warning("could not %s: %s", purpose, why)
            return False
        self._told.pop(purpose, None)
        return True
