"""How a command ends when it cannot do what it was asked: clear lines on stderr, no traceback."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from triptych.cli import INTERRUPTED
from triptych.cli.plain_serve import serve_options
from triptych.cli.terminal import complain, leave_stdout, open_standard_streams

FAILED: Final = 1
MISUSED: Final = 2
_ADDRESSES: Final = {
    errno.EADDRINUSE: "{host} port {port} is in use already; stop what listens there, or choose another with "
    '"--port" ([server] port, metrics_port)',
    errno.EADDRNOTAVAIL: "{host} port {port}: this machine has no such address; choose one it has with "
    '"--host" ([server] host), such as 127.0.0.1, or 0.0.0.0 for all',
    errno.EACCES: "{host} port {port}: this user may not listen on it; ports below 1024 are the system's; "
    'choose another with "--port" ([server] port, metrics_port)',
}


def run(arguments: Sequence[str] | None) -> int:
    from triptych.settings.problem import SettingsError

    open_standard_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = serve_options(given)
    try:
        if options is None:
            code = _command(given)
        else:
            from triptych.cli.serve import serve

            serve(*options)
            code = 0
        sys.stdout.flush()
        return code
    except SettingsError as error:
        complain(str(error))
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        leave_stdout()
        return FAILED
    except OSError as error:
        complain(_system(error))
        _try_stdout()
        return FAILED
    except UnicodeEncodeError as error:
        foreign = [argument for argument in given if not _is_text(argument)]
        complain(f"{foreign[0]!r} is not UTF-8" if foreign else _unexpected(error))
        return MISUSED if foreign else FAILED
    except Exception as error:  # noqa: BLE001 - the last resort of the program: told, never swallowed
        complain(_unexpected(error))
        return FAILED


def _try_stdout() -> None:
    """Where it is what failed, the interpreter would fail on it once more at the end, with a traceback and
    an exit code of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        leave_stdout()


def _command(arguments: list[str]) -> int:
    import typer

    from triptych.cli.app import build

    # The common base of typer's complaints about arguments, wherever this version of typer keeps it.
    usage_error: type[Exception] = typer.BadParameter.__mro__[1]
    try:
        code = typer.main.get_command(build()).main(arguments, prog_name="triptych", standalone_mode=False)
    except usage_error as error:
        complain(_usage(error))
        return MISUSED
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _is_text(argument: str) -> bool:
    """Bytes that are none reach a program as halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    told = getattr(error, "format_message", lambda: str(error))().replace("\n", " ")
    path = context.command_path if context else "triptych"
    return f'{told} (see "{path} --help")'


def _system(error: OSError) -> str:
    told = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        return f"{error.filename}: {told}"
    # asyncio puts the address into the text and nowhere else.
    address = re.search(r"address \('([^']*)', (\d+)", told)
    if address is not None and error.errno in _ADDRESSES:
        return _ADDRESSES[error.errno].format(host=address[1], port=address[2])
    return told


def _unexpected(error: Exception) -> str:
    """Errors meant for people (storage's) are shown as they are. Of any other, only the kind and
    the place: its text may quote what must not be printed."""
    from triptych.storage.errors import StorageError

    if isinstance(error, StorageError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "no place"
    return f"internal error ({type(error).__name__} at {place}); this is a bug in triptych, please report it"
