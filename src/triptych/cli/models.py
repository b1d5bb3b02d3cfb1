"""``triptych models``: what clients can ask for."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.keys import opened_vault
from triptych.cli.options import ConfigOption, help_when_alone
from triptych.cli.terminal import note, say, table
from triptych.cli.usage import usd

if TYPE_CHECKING:
    from triptych.core.usage import Price
    from triptych.settings.tree import ModelSettings, Settings
    from triptych.storage.database import Database
    from triptych.storage.retirements import Retirement


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_models)
    app.command("list", short_help="List the configured models, then the sandbox's own.")(list_)
    app.command("retire", short_help="Announce when a model goes, at least 90 days ahead.")(retire)
    app.command("callers", short_help="Who still calls a model that goes.")(callers)
    return app


def _models(context: typer.Context) -> None:
    """The model catalogue."""
    help_when_alone(context)


def list_(config: ConfigOption = None) -> None:
    """List the configured models, then the sandbox's own (for test keys and demo orgs)."""
    from triptych.core.clock import now_us
    from triptych.settings import config_path, load_settings
    from triptych.upstreams.sandbox import sandbox_model_ids

    settings = load_settings(config_path(config, os.environ), os.environ)
    going = _going(config, settings)
    now = now_us()
    rows = [
        (
            model.id,
            ", ".join(f"{target.provider}:{target.upstream_id}" for target in model.targets),
            model.tier,
            _price(model.price),
            "all" if model.groups is None else ", ".join(sorted(model.groups)) or "none",
            _state(model, settings, going.get(model.id), now),
        )
        for model in settings.models
    ]
    if rows:
        say(table(("ID", "ANSWERED BY", "TIER", "USD/M IN, OUT", "GROUPS", "STATE"), rows))
        say()
    say("Sandbox models, for test keys and demo orgs:")
    for id in sandbox_model_ids():
        say(f"  {id}")


def _price(price: "Price | None") -> str:
    if price is None:
        return "-"
    return ", ".join(f"{Decimal(nusd) / 10**9:f}" for nusd in (price.input, price.output))


def retire(
    model: Annotated[str, typer.Argument(help="Its id.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="DATE",
            help="When it goes: a date (00:00 UTC) or an RFC 3339 time.",
            show_default=False,
        ),
    ] = None,
    replacement: Annotated[
        str | None, typer.Option(help="The model to ask instead.", show_default=False)
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the announcement back.")] = False,
    config: ConfigOption = None,
) -> None:
    """Announce when a model goes: at least 90 days ahead. Running gateways know within a second.

    From then on its answers carry Deprecation and Sunset headers; from the date on it is refused.
    Announcing it again moves the date. A date in the file (retires_at) goes before this one.
    """
    from triptych.core.clock import rfc3339
    from triptych.storage import retirements

    if withdraw != (at is None):
        raise typer.BadParameter("give either a date or --withdraw", param_hint="--at")
    with opened_vault(config) as (settings, vault):
        known = {one.id: one for one in settings.models}
        _known(model, known, "MODEL")
        if known[model].retires_at_us is not None:
            raise typer.BadParameter(
                f"retires_at of {model!r} stands in {settings.source}: change it there", param_hint="MODEL"
            )
        if withdraw:
            gone = retirements.withdraw(vault.database, model)
            say(f"{model} stays." if gone else f"No retirement of {model} was announced.")
            return
        if replacement is not None:
            _known(replacement, known, "--replacement")
            if replacement == model:
                raise typer.BadParameter("is the model itself", param_hint="--replacement")
        moment_us = _moment(at or "")
        retirements.announce(vault.database, model, moment_us, replacement)
    instead = f", to be replaced by {replacement}" if replacement else ""
    say(f"{model} retires {rfc3339(moment_us // 1_000_000)}{instead}.")


def callers(
    model: Annotated[
        str | None, typer.Argument(help="Its id; all that are to go when absent.", show_default=False)
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")] = 30,
    config: ConfigOption = None,
) -> None:
    """Who still calls a model that goes: its requests of the last days by key, and the latest."""
    from triptych.core.clock import now_us, rfc3339
    from triptych.storage.usage import callers_of

    with opened_vault(config) as (settings, vault):
        going = _announced(settings, vault.database)
        if model is not None:
            _known(model, {one.id: one for one in settings.models}, "MODEL")
        asked = sorted(going) if model is None else [model]
        since_us = now_us() - days * 86_400_000_000
        found = callers_of(vault.database, asked, since_us=since_us) if asked else []
    rows = []
    for one in found:
        retirement = going.get(one.model)
        rows.append(
            (
                one.model,
                "-" if retirement is None else rfc3339(retirement.retires_us // 1_000_000)[:10],
                one.org or "-",
                one.user or "-",
                one.key,
                str(one.requests),
                rfc3339(one.last_us // 1_000_000),
                usd(one.cost_nusd),
            )
        )
    if rows:
        say(table(("MODEL", "RETIRES", "ORG", "USER", "KEY", "REQUESTS", "LAST", "USD"), rows))
    elif not asked:
        note("no model is to go")
    else:
        note(f"nobody called {', '.join(asked)} in the last {days} days")


def _known(model: str, known: "Mapping[str, ModelSettings]", hint: str) -> None:
    if model not in known:
        raise typer.BadParameter(f"{model!r} is no configured model", param_hint=hint)


def _moment(text: str) -> int:
    from triptych.settings.moment import moment_us

    moment = moment_us(text)
    if moment is None:
        raise typer.BadParameter(f"{text!r}: expected a date, such as 2027-06-01", param_hint="--at")
    return moment


def _going(config: Path | None, settings: "Settings") -> "Mapping[str, Retirement]":
    """What was announced; nothing is when there is no database yet."""
    path = settings.storage.sqlite_path
    if path is not None and not Path(path).exists():
        return {}
    with opened_vault(config) as (_, vault):
        return _announced(settings, vault.database)


def _announced(settings: "Settings", database: "Database") -> "Mapping[str, Retirement]":
    from triptych.catalogue import stated_retirements
    from triptych.storage.retirements import known_retirements

    return known_retirements(database, stated_retirements(settings))


def _state(model: "ModelSettings", settings: "Settings", retirement: "Retirement | None", now_us: int) -> str:
    from triptych.core.clock import rfc3339

    built = {provider.name for provider in settings.providers if provider.built}
    retires_us = model.retires_at_us if retirement is None else retirement.retires_us
    if retires_us is not None:
        verb = "retired" if retires_us <= now_us else "retires"
        return f"{verb} {rfc3339(retires_us // 1_000_000)}"
    if not any(target.provider in built for target in model.targets):
        return "503: kind not built yet"
    return "available"
