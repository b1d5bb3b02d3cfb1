import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import insert, select, text, update

from tests.storage.conftest import opened, outcome
from triptych.core.clock import now_us
from triptych.core.hold import Booking
from triptych.core.ids import first_ulid, new_ulid
from triptych.core.outcome import Opened
from triptych.storage import keyring
from triptych.storage.database import Database, open_database
from triptych.storage.errors import StorageError
from triptych.storage.keyring import KeyRing
from triptych.storage.ledger_writer import connect
from triptych.storage.nodes import (
    Node,
    Orphan,
    Watch,
    dead_nodes,
    ended_before_death,
    give_up_lease,
    heartbeat,
    living_nodes,
    register_node,
    require_alone,
    settle_orphans,
    settle_the_dead,
)
from triptych.storage.rows import OPEN_COLUMNS, Batch, ended_row, opened_row
from triptych.storage.tables import exchanges, metered_orgs, nodes


def leave_open(database: Database, node: Node, count: int = 1) -> list[str]:
    batch = Batch()
    batch.opened.extend(opened_row(opened(), node.id, node.epoch) for _ in range(count))
    connection = connect(database, node.id, node.epoch)
    connection.write(batch)
    connection.close()
    return [row[OPEN_COLUMNS.index("id")] for row in batch.opened]


def let_lapse(database: Database, node: Node) -> None:
    with database.write() as connection:
        connection.execute(
            text("UPDATE nodes SET lease_until_us = :past WHERE id = :id"),
            {"past": now_us() - 1_000_000, "id": node.id},
        )


def ended(database: Database) -> dict[str, object]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(select(exchanges)) if row.ended_us is not None}


def test_registering_again_under_a_name_counts_the_epoch_up(database: Database) -> None:
    assert [register_node(database, "n1").epoch for _ in range(3)] == [1, 2, 3]


def test_a_heartbeat_renews_the_lease_of_its_own_epoch_only(database: Database) -> None:
    first = register_node(database, "n1")
    let_lapse(database, first)
    assert heartbeat(database, first)
    with database.read() as connection:
        until_us = connection.execute(select(nodes.c.lease_until_us)).scalar_one()
    assert abs(until_us - now_us() - 10_000_000) < 2_000_000
    register_node(database, "n1")
    assert not heartbeat(database, first)


def test_a_node_without_a_name_gets_one(database: Database) -> None:
    first, second = register_node(database), register_node(database)
    if database.dialect_name == "sqlite":
        assert (first, second) == (Node("local", 1), Node("local", 2))
    else:
        assert first.id != second.id


def test_a_name_that_is_no_name_is_refused(database: Database) -> None:
    with pytest.raises(StorageError, match="cannot be named"):
        register_node(database, "a'b")


def test_exchanges_of_a_dead_node_are_settled_as_interrupted(database: Database) -> None:
    dead, living, me = (register_node(database, name) for name in ("dead", "living", "me"))
    orphans = leave_open(database, dead, 3)
    leave_open(database, living)
    leave_open(database, me)
    let_lapse(database, dead)
    assert settle_orphans(database, me, exclusive=False) == 3
    assert settle_orphans(database, me, exclusive=False) == 0
    rows = ended(database)
    assert sorted(rows) == sorted(orphans)
    for row in rows.values():
        assert (row.ending, row.failure_kind, row.status) == ("interrupted", "interrupted", 0)  # type: ignore[attr-defined]


def test_many_orphans_are_settled_some_at_a_time_and_at_a_start_alone_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who settles them renews its own lease in between."""
    monkeypatch.setattr("triptych.storage.nodes.ORPHANS_AT_ONCE", 2)
    dead, me = register_node(database, "dead"), register_node(database, "me")
    leave_open(database, dead, 5)
    let_lapse(database, dead)
    heard: list[Orphan] = []
    found = [settle_orphans(database, me, exclusive=False, told=heard.append) for _ in range(4)]
    assert found == [2, 2, 1, 0] and len({orphan.exchange_id for orphan in heard}) == 5
    leave_open(database, dead, 5)
    assert settle_the_dead(database, me, exclusive=True, told=heard.append) == 5


@pytest.mark.postgres
def test_orphans_that_another_node_is_about_to_settle_are_not_waited_for(postgresql_url: str) -> None:
    database = open_database(postgresql_url, durability="strict")
    database.migrate()
    dead, me = register_node(database, "dead"), register_node(database, "me")
    orphans = leave_open(database, dead, 3)
    let_lapse(database, dead)
    with database.write() as other:
        other.execute(text("UPDATE exchanges SET retries = 1 WHERE id = :id"), {"id": orphans[0]})
        assert settle_orphans(database, me, exclusive=False) == 2
    assert settle_orphans(database, me, exclusive=False) == 1
    database.close()


def test_what_a_dead_node_ended_shortly_before_is_told(database: Database) -> None:
    """Its holds may not have been settled; of what it ended long before, they have been."""
    dead, me = register_node(database, "dead"), register_node(database, "me")
    moment_us = now_us()
    booking = msgspec.json.encode(Booking(1, (("org", "ORG"),))).decode()

    def start(**changes: object) -> Opened:
        facts = {"id": new_ulid(), "booking": booking, "hold_nusd": 9, "hold_credits": 9} | changes
        return opened(**facts)

    told, long_ago, running, of_me = (start() for _ in range(4))
    free = opened(id=new_ulid())
    for node, starts in ((dead, (told, long_ago, free, running)), (me, (of_me,))):
        begun, over = Batch(), Batch()
        begun.opened.extend(opened_row(one, node.id, node.epoch) for one in starts)
        ends = {told.id: moment_us, long_ago.id: moment_us - 600_000_000, free.id: moment_us}
        ends |= {of_me.id: moment_us}
        over.ended.extend(
            ended_row(one.id, outcome(credits=3), ends[one.id]) for one in starts if one.id in ends
        )
        connection = connect(database, node.id, node.epoch)
        connection.write(begun)
        assert connection.write(over)
        connection.close()
    let_lapse(database, dead)
    assert list(dead_nodes(database, me)) == ["dead"]
    tokens = 120 + 540 + 7 + 8
    booked = Orphan(told.id, "ORG", tokens, 8_460_000, 3)
    assert ended_before_death(database, dead_nodes(database, me)) == [booked]
    # The dead node may have known of no budget where there is one by now.
    with database.write() as writing:
        writing.execute(insert(metered_orgs).values(org_id="ORG", since_us=moment_us))
    unbooked = Orphan(free.id, "ORG", tokens, 8_460_000, 3, booked=False)
    found = ended_before_death(database, dead_nodes(database, me))
    assert sorted(found, key=lambda orphan: orphan.booked) == [unbooked, booked]


def test_what_a_node_ended_is_told_however_long_nobody_came_back(database: Database) -> None:
    """The start that forgets the dead tells of what they had ended first."""
    dead, me = register_node(database, "dead"), register_node(database, "me")
    died_us = now_us() - 3 * 86_400_000_000
    booking = msgspec.json.encode(Booking(1, (("org", "ORG"),))).decode()
    facts = {"booking": booking, "hold_nusd": 9, "hold_credits": 9, "started_us": died_us}
    told, left_open = (opened(id=first_ulid(died_us)[:-1] + digit, **facts) for digit in "12")
    connection = connect(database, dead.id, dead.epoch)
    begun, over = Batch(), Batch()
    begun.opened.extend(opened_row(one, dead.id, dead.epoch) for one in (told, left_open))
    over.ended.append(ended_row(told.id, outcome(credits=3), died_us))
    connection.write(begun)
    connection.write(over)
    connection.close()
    with database.write() as writing:
        writing.execute(update(nodes).where(nodes.c.id == dead.id).values(lease_until_us=died_us))
    heard: list[Orphan] = []
    assert settle_the_dead(database, me, exclusive=False, told=heard.append) == 0
    assert [(orphan.exchange_id, orphan.nusd) for orphan in heard] == [(told.id, 8_460_000)]
    assert settle_orphans(database, me, exclusive=False, told=heard.append) == 1
    assert heard[1].exchange_id == left_open.id
    heard.clear()
    assert settle_the_dead(database, me, exclusive=False, told=heard.append) == 0
    assert dead_nodes(database, me) == {} and not heard


def test_a_node_that_starts_ends_nothing_of_others_that_may_live_after_an_outage(database: Database) -> None:
    """Their leases have lapsed while the database was away for all. Alone, it waits for nobody."""
    other, me = register_node(database, "other"), register_node(database, "me")
    orphans = leave_open(database, other)
    let_lapse(database, other)
    assert settle_the_dead(database, me, exclusive=False, told=lambda orphan: None) == 0
    assert not ended(database)
    assert settle_the_dead(database, me, exclusive=False, told=None) == 1
    assert list(ended(database)) == orphans


def test_who_could_not_renew_its_own_lease_takes_nobody_for_dead_before_others_could_renew_theirs() -> None:
    watch = Watch(100.0)

    def renew(*moments_s: float) -> list[bool]:
        found = []
        for moment_s in moments_s:
            watch.renewed(moment_s)
            found.append(watch.suffices(moment_s))
        return found

    assert renew(103, 106, 109, 112) == [False, False, False, True]
    assert not watch.suffices(112 + 7), "the database has not answered for a while"
    # An outage of 8 s: another one may have renewed its lease three seconds before it.
    assert renew(120, 123, 126, 129, 132) == [False, False, False, False, True]
    assert renew(135.4, 138.8, 142.2) == [True, True, True], "a busy machine is no outage"


def test_an_earlier_epoch_of_a_living_node_is_dead(database: Database) -> None:
    before = register_node(database, "n1")
    orphans = leave_open(database, before)
    now = register_node(database, "n1")
    leave_open(database, now)
    assert settle_orphans(database, now, exclusive=False) == 1
    assert list(ended(database)) == orphans


def test_who_is_alone_settles_everything_that_is_not_its_own(database: Database) -> None:
    other, me = register_node(database, "other"), register_node(database, "me")
    leave_open(database, other, 2)
    mine = leave_open(database, me)
    assert settle_orphans(database, me, exclusive=True) == 2
    assert mine[0] not in ended(database)


def test_long_dead_nodes_are_forgotten(database: Database) -> None:
    dead, me = register_node(database, "dead"), register_node(database, "me")
    with database.write() as connection:
        connection.execute(text("UPDATE nodes SET lease_until_us = 1 WHERE id = 'dead'"))
    settle_orphans(database, me, exclusive=False)
    with database.read() as connection:
        assert connection.execute(select(nodes.c.id)).scalars().all() == [me.id]
    assert not heartbeat(database, dead)


# -- alone or not --------------------------------------------------------------------------------


def test_a_node_is_living_until_its_lease_lapses_or_is_given_up(database: Database) -> None:
    one, two, three = (register_node(database, name) for name in ("n1", "n2", "n3"))
    assert living_nodes(database, one).keys() == {"n2", "n3"}
    let_lapse(database, two)
    give_up_lease(database, three)
    assert living_nodes(database, one) == {}


def test_giving_up_a_lease_takes_nothing_from_who_took_it_over(database: Database) -> None:
    one, before = register_node(database, "n1"), register_node(database, "n2")
    register_node(database, "n2")
    give_up_lease(database, before)
    assert living_nodes(database, one).keys() == {"n2"}


def test_beside_a_living_node_limits_in_memory_are_refused(database: Database) -> None:
    one, two = register_node(database, "n1"), register_node(database, "n2")
    stopping = threading.Event()

    def live() -> None:
        while not stopping.wait(0.02):
            heartbeat(database, one)

    living = threading.Thread(target=live)
    living.start()
    try:
        with pytest.raises(StorageError, match=r"node n1\) serves on this database.*redis://"):
            require_alone(database, two, poll_s=0.1)
    finally:
        stopping.set()
        living.join()
    assert living_nodes(database, one) == {}


def test_of_two_nodes_that_start_together_none_goes_on_alone(database: Database) -> None:
    started = [register_node(database, name) for name in ("n1", "n2")]
    with ThreadPoolExecutor(2) as threads:
        attempts = [threads.submit(require_alone, database, node, poll_s=0.05) for node in started]
        outcomes = [type(attempt.exception()) for attempt in attempts]
    # The one that saw the other first gave up its lease: then the other may go on.
    assert outcomes.count(type(None)) <= 1


def test_a_node_that_was_killed_is_waited_for(database: Database) -> None:
    killed, started = register_node(database, "n1"), register_node(database, "n2")
    with database.write() as connection:
        connection.execute(
            text("UPDATE nodes SET lease_until_us = :soon WHERE id = :id"),
            {"soon": now_us() + 300_000, "id": killed.id},
        )
    require_alone(database, started, poll_s=0.05)


def test_why_the_keys_cannot_be_confirmed_is_told_once_in_words(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "POLL_S", 0.02)
    database = open_database(sqlite_url, durability="strict")
    database.migrate()
    keys = KeyRing(database, register_node(database), exclusive=True)
    assert database.path is not None
    keys.start()
    elsewhere = database.path.rename(database.path.with_suffix(".elsewhere"))
    time.sleep(0.3)
    elsewhere.rename(database.path)
    time.sleep(0.3)
    keys.close()
    database.close()
    (told,) = (record.getMessage() for record in caplog.records if "confirm" in record.getMessage())
    assert told.startswith(f"could not confirm the keys: The database file {database.path} was deleted or")
    assert keys.fresh


@pytest.mark.postgres
def test_a_revoked_key_does_not_wait_for_what_a_dead_node_left_open(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "POLL_S", 0.02)
    monkeypatch.setattr(keyring, "ORPHANS_S", 0.02)
    monkeypatch.setattr(Watch, "suffices", lambda watch, now_s: True)
    database = open_database(postgresql_url, durability="strict")
    database.migrate()
    dead, me = register_node(database, "dead"), register_node(database, "me")
    leave_open(database, dead)
    let_lapse(database, dead)
    keys = KeyRing(database, me, exclusive=False)
    before = keys.version

    def until(holds: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    waiting = text("SELECT 1 FROM pg_locks WHERE relation = 'request_days'::regclass AND NOT granted")
    with database.write() as other:
        other.execute(text("LOCK TABLE request_days IN SHARE MODE"))
        keys.start()
        until(lambda: other.execute(waiting).first())
        with database.write() as connection:
            connection.execute(text("UPDATE snapshot_version SET version = version + 1"))
        until(lambda: keys.version > before)
        assert not ended(database)
    until(lambda: ended(database))
    keys.close()
    database.close()
