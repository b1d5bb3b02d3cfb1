"""All commands, in the order in which help lists them."""

from typing import Annotated

import typer

from triptych.cli import apply, baa, check, doctor, emotion, init, keys, models, phi, usage
from triptych.cli.options import ConfigOption, help_when_alone
from triptych.cli.terminal import say


def build() -> typer.Typer:
    app = typer.Typer(
        name="triptych",
        help="A self-hosted, governed AI gateway.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_options)
    app.command("serve")(_serve)
    app.command("demo")(_demo)
    app.command("init", short_help="Write a commented configuration, print a first key.")(init.init)
    app.command("check", short_help="Check a configuration, print what is in effect.")(check.check)
    app.command("apply", short_help="Apply the [[orgs]] of a file to the database.")(apply.apply)
    app.add_typer(keys.build(), name="keys")
    app.add_typer(models.build(), name="models")
    app.add_typer(baa.build(), name="baa")
    app.add_typer(phi.build(), name="phi")
    app.command("usage", short_help="Add up spending, tokens and requests.")(usage.usage)
    app.add_typer(emotion.build(), name="emotion")
    app.command("doctor", short_help="Check what a gateway needs, from disk to providers.")(doctor.doctor)
    return app


def _version(asked: bool) -> None:
    if asked:
        from triptych import __version__

        say(f"triptych {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted, governed AI gateway."""
    help_when_alone(context)


def _serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (1).", show_default=False)] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Without a file: SQLite here, the sandbox and a demo org."""
    from triptych.cli.serve import serve

    serve(config, host, port, workers)


def _demo() -> None:
    """Start a gateway of its own, show what it does, and exit."""
    from triptych.cli.demo import demo

    demo()
