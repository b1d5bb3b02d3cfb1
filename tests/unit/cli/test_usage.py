"""``triptych usage``: the ledger, added up."""

import sqlite3
from contextlib import closing

import msgspec
import pytest

from tests.unit.cli.conftest import Run
from tests.unit.cli.test_commands import ACME, configure


def test_usage_adds_up_the_ledger_to_the_last_nano_usd(run: Run) -> None:
    configure(ACME)
    assert run("apply", "t.toml")[0] == 0
    with closing(sqlite3.connect("triptych.db")) as database, database:
        org, user, key = (
            database.execute(f"SELECT id FROM {table}").fetchone()[0]
            for table in ("orgs", "users", "api_keys")
        )
        rows = [
            (f"X{place}", org, user, key, model, day * 86_400_000_000, ending, cost)
            for place, (model, day, ending, cost) in enumerate(
                [
                    ("house", 20_500, "completed", 1),
                    ("house", 20_500, "completed", 10**9),
                    ("house", 20_501, "failed", 999_999_999),
                    (None, 20_501, "refused", 0),
                ]
            )
        ]
        database.executemany(
            "INSERT INTO exchanges (id, org_id, user_id, key_id, model, started_us, ending, cost_nusd, "
            "node_id, node_epoch, environment, surface, endpoint, stream, bytes_in, ended_us, credits, "
            "input_tokens) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'n', 1, 'live', 'inference', 'messages', 0, 1, 1, 7, 5)",
            rows,
        )
    code, out, err = run("usage", "--config", "t.toml", "--by", "org")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["acme", "4", "2", "20", "0", "0", "28", "0", "2.000000000"]
    code, out, _ = run("usage", "--config", "t.toml", "--by", "day,model", "--json")
    told = [msgspec.json.decode(line) for line in out.splitlines()]
    assert [(one["day"], one["model"], one["cost_nusd"], one["cost_usd"]) for one in told] == [
        ("2026-02-16", "house", 10**9 + 1, "1.000000001"),
        ("2026-02-17", "house", 999_999_999, "0.999999999"),
        ("2026-02-17", None, 0, "0.000000000"),
    ]
    code, out, _ = run(
        "usage", "--config", "t.toml", "--by", "key", "--from", "2026-02-17", "--to", "2026-02-17"
    )
    assert out.splitlines()[-1].split()[:1] == ["ci"]
    assert out.splitlines()[-1].endswith(" 0.999999999")
    assert "total" in run("usage", "--config", "t.toml", "--by", "model")[1].splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--by", "colour"), "expected org, user, key, model, day"),
        (("--by", "org,org"), "each once"),
        (("--from", "yesterday"), "expected a date, such as 2026-11-01"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "'2026-11-01' is before --from '2026-11-02'"),
        (("--org", "nobody"), 'There is no org "nobody"'),
    ],
)
def test_usage_says_what_it_cannot_do(run: Run, arguments: tuple[str, str], said: str) -> None:
    configure(ACME)
    assert run("apply", "t.toml")[0] == 0
    code, out, err = run("usage", "--config", "t.toml", *arguments)
    assert code in (1, 2)
    assert (out, said in err) == ("", True), err
