"""``triptych usage``: what was used and spent, from the ledger."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.keys import known_org, opened_vault, users_by_org
from triptych.cli.options import ConfigOption
from triptych.cli.terminal import say, table

if TYPE_CHECKING:
    from triptych.storage.usage import UsageSum

_GROUPINGS = ("org", "user", "key", "model", "day")


def usage(
    config: ConfigOption = None,
    by: Annotated[
        str, typer.Option("--by", help=f"One or more of {', '.join(_GROUPINGS)}, with commas between.")
    ] = "org",
    org: Annotated[str | None, typer.Option("--org", help="This org alone.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DATE", help="First day (UTC), such as 2026-11-01.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last day (UTC).", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one object per line.")] = False,
) -> None:
    """Add up spending, tokens and requests from the ledger, exact to the nano-USD.

    Requests that still run are left out; refused ones count as failed requests.
    """
    from triptych.core.cycle import start_us
    from triptych.storage.usage import usage_sums

    groupings = _groupings(by)
    first, last = _day("--from", since), _day("--to", until)
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"{until!r} is before --from {since!r}", param_hint="--to")
    with opened_vault(config) as (settings, vault):
        if org is not None:
            known_org(org, users_by_org(vault.database), settings)
        sums = usage_sums(
            vault.database,
            groupings,
            org=org,
            since_us=None if first is None else start_us(first),
            until_us=None if last is None else start_us(last + 1),
        )
    if json:
        for one in sums:
            say(_json(one))
        return
    rows = [_row(one, groupings) for one in sums]
    if len(sums) > 1:
        rows.append(("total", *[""] * (len(groupings) - 1), *_numbers(sums)))
    header = ("REQUESTS", "FAILED", "TOKENS IN", "CACHED", "TOKENS OUT", "CREDITS", "UNPRICED", "USD")
    say(table((*(grouping.upper() for grouping in groupings), *header), rows))


def _groupings(by: str) -> tuple[str, ...]:
    groupings = tuple(name.strip() for name in by.split(","))
    for name in groupings:
        if name not in _GROUPINGS or groupings.count(name) > 1:
            raise typer.BadParameter(
                f"{name!r}: expected {', '.join(_GROUPINGS)}, each once", param_hint="--by"
            )
    return groupings


def _day(option: str, text: str | None) -> int | None:
    """In days since the epoch."""
    if text is None:
        return None
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)) // timedelta(days=1)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: expected a date, such as 2026-11-01", param_hint=option
        ) from error


def _row(one: "UsageSum", groupings: tuple[str, ...]) -> tuple[str, ...]:
    return (*(one.group[grouping] or "-" for grouping in groupings), *_numbers([one]))


def _numbers(sums: "list[UsageSum]") -> tuple[str, ...]:
    counts = (
        sum(one.requests for one in sums),
        sum(one.failed for one in sums),
        sum(one.input_tokens for one in sums),
        sum(one.cache_read_tokens + one.cache_write_tokens for one in sums),
        sum(one.output_tokens for one in sums),
        sum(one.credits for one in sums),
        sum(one.unpriced for one in sums),
    )
    return (*(str(count) for count in counts), usd(sum(one.cost_nusd for one in sums)))


def usd(nusd: int) -> str:
    """Every digit there is: nine decimals."""
    return f"{nusd // 10**9}.{nusd % 10**9:09d}"


def _json(one: "UsageSum") -> str:
    import msgspec

    facts = msgspec.structs.asdict(one)
    group = facts.pop("group")
    return msgspec.json.encode({**group, **facts, "cost_usd": usd(one.cost_nusd)}).decode()
