"""The arguments of ``triptych serve``, read without typer.

A gateway runs for months: what typer loads to read four options (pydantic, 14 MB) would stay as long,
and takes a fifth of the start. Only what is plainly right is read here; typer reads the rest, and
complains about it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

_NAMES: Final = {
    "--config": "config",
    "-c": "config",
    "--host": "host",
    "--port": "port",
    "--workers": "workers",
}


class ServeOptions(NamedTuple):
    """What ``cli.serve.serve`` takes, in its order."""

    config: Path | None
    host: str | None
    port: int | None
    workers: int | None


def serve_options(arguments: Sequence[str]) -> ServeOptions | None:
    """None: not ``serve``, or not plainly right."""
    if not arguments or arguments[0] != "serve":
        return None
    given: dict[str, str] = {}
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name not in _NAMES or (equals and not name.startswith("--")):
            return None
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-"):
            return None
        given[_NAMES[name]] = value
    numbers = [given.get(name) for name in ("port", "workers")]
    if not all(number is None or (number.isascii() and number.isdecimal()) for number in numbers):
        return None
    port, workers = (None if number is None else int(number) for number in numbers)
    config = given.get("config")
    return ServeOptions(None if config is None else Path(config), given.get("host"), port, workers)
