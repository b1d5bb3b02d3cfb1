"""``triptych models``: what clients can ask for."""

import os
from decimal import Decimal
from typing import TYPE_CHECKING

import typer

from triptych.cli.terminal import ConfigOption, help_when_alone, say, table

if TYPE_CHECKING:
    from triptych.core.usage import Price
    from triptych.settings.tree import ModelSettings, Settings


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_models)
    app.command("list", short_help="List the configured models, then the sandbox's own.")(list_)
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
    now = now_us()
    rows = [
        (
            model.id,
            ", ".join(f"{target.provider}:{target.upstream_id}" for target in model.targets),
            model.tier,
            _price(model.price),
            "all" if model.groups is None else ", ".join(sorted(model.groups)) or "none",
            _state(model, settings, now),
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


def _state(model: "ModelSettings", settings: "Settings", now_us: int) -> str:
    from triptych.core.clock import rfc3339

    built = {provider.name for provider in settings.providers if provider.built}
    if model.retires_at_us is not None:
        verb = "retired" if model.retires_at_us <= now_us else "retires"
        return f"{verb} {rfc3339(model.retires_at_us // 1_000_000)}"
    if not any(target.provider in built for target in model.targets):
        return "503: kind not built yet"
    return "available"
