"""When models go: announced with notice, noted once, told to every org."""

import json

import pytest
from sqlalchemy import select

from triptych.core.clock import now_us
from triptych.storage.database import Database
from triptych.storage.directory import GroupSpec, OrgSpec, UserSpec, apply_orgs, read_version
from triptych.storage.errors import StorageError
from triptych.storage.retirements import Retirement, Stated, announce, known_retirements, withdraw
from triptych.storage.secrets import KeyHasher
from triptych.storage.tables import events

DAY_US = 86_400_000_000


def orgs(database: Database, *slugs: str) -> None:
    specs = [
        OrgSpec(slug=slug, groups=(GroupSpec(name="all"),), users=(UserSpec(name="ana", groups=("all",)),))
        for slug in slugs
    ]
    apply_orgs(database, KeyHasher(b"k" * 32), specs)


def told(database: Database) -> list[dict[str, str]]:
    with database.read() as connection:
        rows = connection.execute(select(events).where(events.c.type == "model.retirement_announced")).all()
    return [json.loads(row.details) for row in rows]


@pytest.mark.parametrize("days", [-1, 0, 1, 89, 89.999])
def test_less_than_ninety_days_of_notice_are_refused(database: Database, days: float) -> None:
    with pytest.raises(StorageError, match="at least 90 days ahead"):
        announce(database, "m", now_us() + int(days * DAY_US), None)
    assert known_retirements(database, ()) == {}


def test_the_earliest_date_that_is_named_is_taken(database: Database) -> None:
    from triptych.settings.moment import moment_us

    with pytest.raises(StorageError) as refused:
        announce(database, "m", 0, None)
    earliest = moment_us(str(refused.value).split(" is ")[-1].split(" ")[0])
    assert earliest is not None
    announce(database, "m", earliest, None)


def test_an_announcement_is_known_told_to_each_org_and_counts_the_version_up(database: Database) -> None:
    orgs(database, "acme", "zen")
    before, start_us = read_version(database), now_us()
    at_us = start_us + 91 * DAY_US
    made = announce(database, "m", at_us, "n")
    assert read_version(database) == before + 1
    assert known_retirements(database, ()) == {"m": made}
    assert (made.retires_us, made.replacement) == (at_us, "n")
    assert start_us <= made.announced_us <= now_us()
    assert [one["model"] for one in told(database)] == ["m", "m"]
    assert {one["replacement"] for one in told(database)} == {"n"}


def test_a_date_can_be_moved_and_taken_back_and_callers_know_since_the_first(database: Database) -> None:
    first = announce(database, "m", now_us() + 91 * DAY_US, None)
    later_us = now_us() + 200 * DAY_US
    assert announce(database, "m", later_us, "n").announced_us == first.announced_us
    assert known_retirements(database, ()) == {"m": Retirement("m", later_us, "n", first.announced_us)}
    before = read_version(database)
    assert withdraw(database, "m")
    assert not withdraw(database, "m")
    assert known_retirements(database, ()) == {}
    assert read_version(database) == before + 1


def test_a_date_of_the_file_holds_as_it_stands_and_is_noted_once(database: Database) -> None:
    orgs(database, "acme")
    soon_us, start_us = now_us() + DAY_US, now_us()
    stated = (Stated("m", soon_us, "n"), Stated("gone", 0, None))
    first = known_retirements(database, stated)
    assert (first["m"].retires_us, first["m"].replacement) == (soon_us, "n")
    assert start_us <= first["m"].announced_us <= now_us()
    assert known_retirements(database, stated) == first
    assert [one["model"] for one in told(database)] == ["m"], "what is gone is not announced"


def test_the_file_goes_before_an_announcement_and_gives_it_back(database: Database) -> None:
    announced = announce(database, "m", now_us() + 100 * DAY_US, "n")
    soon_us = now_us() + DAY_US
    assert known_retirements(database, (Stated("m", soon_us, None),))["m"].retires_us == soon_us
    assert known_retirements(database, ()) == {"m": announced}
