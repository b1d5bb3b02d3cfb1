"""The commands as a person runs them, in a directory of their own."""

import re
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.unit.cli.conftest import Run
from triptych import __version__
from triptych.cli.terminal import program
from triptych.settings import tree

KEY = re.compile(r"trp_(live|test)_[0-9A-HJKMNP-TV-Z]{32}")


@pytest.fixture
def listening() -> Iterator[int]:
    """A port somebody listens on, who answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def configure(text: str) -> None:
    Path("t.toml").write_text(text, encoding="utf-8")


ACME = """
[server]
port = 0
[[providers]]
name = "sandbox"
kind = "sandbox"
[[models]]
id = "house"
provider = "sandbox"
upstream_id = "sandbox-echo"
price = { input = 3, output = 15.5 }
[[orgs]]
slug = "acme"
[[orgs.groups]]
name = "everyone"
models = ["*"]
api_key_access = true
[[orgs.users]]
name = "ana"
groups = ["everyone"]
[[orgs.keys]]
name = "ci"
user = "ana"
secret = "a-secret-of-acme-0000"
"""


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"triptych {__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("keys",), ("keys", "create", "--help")])
def test_help_is_printed_for_those_who_ask_and_those_who_do_not_know(
    run: Run, arguments: tuple[str, ...]
) -> None:
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: triptych")


def test_every_command_of_the_contract_is_listed(run: Run) -> None:
    _, out, _ = run("--help")
    for command in ("serve", "demo", "init", "check", "apply", "keys", "models", "doctor"):
        assert re.search(rf"^  {command} ", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sreve",), "No such command 'sreve'"),
        (("check", "--bogus"), "No such option"),
        (("serve", "--port", "x"), "Invalid value for '--port'"),
        (("apply",), "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("triptych: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_check_prints_the_effective_settings_without_secrets(run: Run) -> None:
    configure(ACME)
    code, out, err = run("check", "--config", "t.toml")
    assert (code, err) == (0, "")
    assert "[[orgs.keys]]" in out
    assert "max_body_bytes = 52428800" in out
    assert "a-secret-of-acme" not in out


def test_check_tells_every_error_on_stderr_and_exits_2(run: Run) -> None:
    configure(ACME.replace("slug", "slgu").replace("port = 0", "port = -1"))
    code, out, err = run("check", "--config", "t.toml")
    assert (code, out) == (2, "")
    assert 'triptych: error: t.toml: orgs[0].slgu: unknown key; did you mean "slug"?' in err
    assert all(line.startswith("triptych: error: t.toml: ") for line in err.splitlines())


def test_check_warns_about_what_is_not_built_yet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "BUILT_KINDS", tree.BUILT_KINDS - {"gemini"})
    configure('[[providers]]\nname = "g"\nkind = "gemini"\napi_key = "k"\n')
    code, out, err = run("check", "--config", "t.toml")
    assert code == 0
    assert 'kind = "gemini"' in out
    assert err.startswith('triptych: warning: provider "g": kind "gemini" is not built yet')


def test_the_configuration_may_be_named_by_a_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ACME)
    monkeypatch.setenv("TRIPTYCH_CONFIG", "t.toml")
    assert "Effective configuration of t.toml" in run("check")[1]


def test_a_file_in_the_directory_is_not_used_unless_it_is_named(run: Run) -> None:
    Path("triptych.toml").write_text("[nonsense]\n")
    assert run("check")[0] == 0


def test_init_writes_a_file_makes_a_database_and_shows_one_key_once(run: Run) -> None:
    code, out, err = run("init")
    assert (code, err) == (0, "")
    assert len(KEY.findall(out)) == 1
    for name in ("triptych.toml", "triptych.db", "triptych.key"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    assert run("check", "--config", "triptych.toml")[0] == 0
    assert "active" in run("keys", "list", "--config", "triptych.toml")[1]


def test_init_does_not_replace_a_file_unless_forced_and_never_shows_a_second_first_key(run: Run) -> None:
    run("init")
    Path("triptych.toml").write_text("# mine\n")
    code, out, err = run("init")
    assert (code, out) == (1, "")
    assert (
        err == "triptych: error: triptych.toml: is there already; --force replaces it (never the database)\n"
    )
    assert Path("triptych.toml").read_text() == "# mine\n"
    code, out, _ = run("init", "--force")
    assert code == 0
    assert not KEY.search(out)
    assert "triptych keys create" in out


def test_apply_tells_what_changed_and_the_second_time_nothing(run: Run) -> None:
    configure(ACME)
    code, out, err = run("apply", "t.toml")
    assert (code, err) == (0, "")
    assert "+ org acme\n" in out
    assert "+ group acme/everyone\n" in out
    assert "+ user acme/ana\n" in out
    assert "+ key acme/ci " in out
    assert run("apply", "t.toml") == (0, "Nothing to change.\n", "")


def test_apply_tells_what_is_different_and_what_is_gone(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    changed = ACME.replace('slug = "acme"', 'slug = "acme"\nrpm = 7\nplan = "growth"')
    configure(changed[: changed.index("[[orgs.keys]]")].replace('groups = ["everyone"]', "groups = []"))
    _, out, _ = run("apply", "t.toml")
    assert "~ org acme: plan, rpm\n" in out
    assert "~ user acme/ana: groups\n" in out
    assert "- key acme/ci " in out
    assert "a-secret" not in out


def test_apply_tells_of_keys_of_an_org_that_left_the_file(run: Run) -> None:
    acme = ACME[ACME.index("[[orgs]]") :]
    configure(ACME + acme.replace("acme", "zeta"))
    assert run("apply", "t.toml")[2] == ""
    configure(ACME)
    code, _, err = run("apply", "t.toml")
    assert code == 0
    assert 'warning: org "zeta" is in the database but not in this configuration' in err
    run("keys", "revoke", "ci", "--org", "zeta", "--config", "t.toml")
    assert run("apply", "t.toml")[2] == ""


def test_a_created_key_is_alone_on_stdout_and_never_shown_again(run: Run) -> None:
    code, out, err = run("keys", "create", "--name", "mine", "--scope", "ai:chat", "--environment", "test")
    assert code == 0
    assert KEY.fullmatch(out.strip())
    assert out.startswith("trp_test_")
    assert '"mine" of demo in demo, test, ai:chat' in err
    listed = run("keys", "list")[1]
    assert out.strip() not in listed
    assert re.search(r"trp_test_\.\.\.\w{4}", listed)


def test_a_key_is_revoked_by_name_or_by_id(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    _, _, note = run("keys", "create", "--config", "t.toml", "--name", "two")
    identity = note.partition(":")[0]
    assert run("keys", "revoke", "ci", "--config", "t.toml")[0] == 0
    assert run("keys", "revoke", identity, "--config", "t.toml")[0] == 0
    listed = run("keys", "list", "--config", "t.toml", "--org", "acme")[1].splitlines()[1:]
    assert len(listed) == 2
    assert all("revoked 20" in line for line in listed)
    code, out, err = run("keys", "revoke", "ci", "--config", "t.toml")
    assert (code, out, err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--scope", "ai:cat"), 1, "unknown scope 'ai:cat'"),
        (("--environment", "prod"), 1, "must be live or test"),
        (("--user", "bob"), 1, 'There is no user "bob"'),
        (("--org", "other"), 1, 'There is no org "other" in the database. The orgs are: demo.'),
        (("--org", "other", "--user", "x"), 1, 'There is no org "other"'),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_in_one_line(
    run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = run("keys", "create", *arguments)
    assert (got, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_key_that_nobody_was_shown_is_revoked(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    command = [sys.executable, "-m", "triptych", "keys", "create", "--config", "t.toml", "--name", "unseen"]
    with open("/dev/full", "w") as full:
        made = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert made.returncode == 1
    assert "could not be shown, so it is revoked" in made.stderr
    _, listed, _ = run("keys", "list", "--config", "t.toml")
    assert [" revoked " in line for line in listed.splitlines() if "unseen" in line] == [True]


def test_an_org_that_was_not_applied_yet_is_told_what_to_do(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    configure(ACME + '[[orgs]]\nslug = "late"\n')
    code, out, err = run("keys", "create", "--config", "t.toml", "--org", "late")
    assert (code, out) == (1, "")
    assert "It stands in t.toml, which was not applied" in err
    assert err.endswith("triptych apply t.toml\n")


def test_listing_the_keys_of_an_unknown_org_is_an_error_and_not_an_empty_list(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    code, out, err = run("keys", "list", "--config", "t.toml", "--org", "amce")
    assert (code, out) == (1, "")
    assert 'There is no org "amce" in the database. The orgs are: acme.' in err


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        (".venv/bin/triptych", ".venv/bin/triptych"),
        ("/x/triptych/__main__.py", "python -m triptych"),
        ("/x/pytest", "triptych"),
    ],
)
def test_commands_to_copy_name_the_program_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, called: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == shown


def test_an_address_in_use_is_told_with_its_port(run: Run, listening: int) -> None:
    configure(ACME)
    code, _, err = run("serve", "--config", "t.toml", "--port", str(listening))
    assert code == 1
    assert err.startswith(f"triptych: error: 127.0.0.1 port {listening} is in use already; stop what")


def test_listing_keys_makes_no_database(run: Run) -> None:
    code, _, err = run("keys", "list")
    assert code == 1
    assert "triptych.db: no such database yet" in err
    assert list(Path.cwd().iterdir()) == []


def test_models_are_listed_with_their_prices_and_the_sandboxs_own_after_them(run: Run) -> None:
    configure(ACME)
    code, out, err = run("models", "list", "--config", "t.toml")
    assert (code, err) == (0, "")
    assert re.search(r"^house +sandbox:sandbox-echo +standard +3, 15\.5 +all +available$", out, re.MULTILINE)
    assert "  sandbox-echo\n" in out


def test_doctor_finds_nothing_wrong_with_a_new_installation(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    code, out, err = run("doctor", "--config", "t.toml")
    assert (code, err) == (0, "")
    assert "WRONG" not in out
    assert re.search(r"^ok +master key ", out, re.MULTILINE)


def test_doctor_tells_of_keys_of_an_org_that_left_the_configuration(run: Run) -> None:
    assert run("keys", "create")[0] == 0
    configure(ACME)
    run("apply", "t.toml")
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 0
    assert re.search(
        r'^look +orgs +org "demo" is in the database but not in this configuration', out, re.MULTILINE
    )
    run("keys", "revoke", "cli", "--config", "t.toml")
    assert "look" not in run("doctor", "--config", "t.toml")[1]


def test_doctor_makes_nothing(run: Run) -> None:
    configure(ACME)
    assert run("doctor", "--config", "t.toml")[0] == 0
    assert [path.name for path in Path.cwd().iterdir()] == ["t.toml"]


def test_doctor_finds_a_folder_in_which_no_database_can_be_made(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # a test that runs as root may write anywhere
    code, out, _ = run("doctor")
    assert code == 1
    assert "triptych.db is not there, and this user may not make it" in out


def test_doctor_finds_a_key_file_others_can_read_and_one_that_is_gone(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    Path("triptych.key").chmod(0o640)
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert "WRONG  key file" in out
    Path("triptych.key").unlink()
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert re.search(r"^WRONG +master key +The master key is missing", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("revision", "code", "said"),
    [
        ("0007", 0, r"^look +database .* schema 0007; .* \(the next start upgrades it\)"),
        ("9999", 1, r"^WRONG +database .* made by a newer version"),
        ("*", 1, r"^WRONG +database .* made by a newer version"),
    ],
)
def test_doctor_tells_an_older_database_from_one_that_is_not_known(
    run: Run, revision: str, code: int, said: str
) -> None:
    configure(ACME)
    run("apply", "t.toml")
    with closing(sqlite3.connect(next(Path.cwd().glob("*.db")))) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    told, out, _ = run("doctor", "--config", "t.toml")
    assert told == code
    assert re.search(said, out, re.MULTILINE)


def test_doctor_finds_another_master_key(run: Run) -> None:
    configure(ACME)
    run("apply", "t.toml")
    configure(ACME + f'[secrets]\nmaster_key = "{"0" * 64}"\n')
    code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert re.search(r"^WRONG +master key +The master key is not the one", out, re.MULTILINE)
    assert "0000" not in out.replace("0001", "")


def test_doctor_connects_to_providers_and_says_who_cannot_be_reached(run: Run, listening: int) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = bound.getsockname()[1]
        configure(
            "[server]\nport = 0\n"
            f'[[providers]]\nname = "up"\nkind = "anthropic"\napi_key = "k"\nbase_url = "http://127.0.0.1:{listening}"\n'
            f'[[providers]]\nname = "down"\nkind = "anthropic"\napi_key = "k"\nbase_url = "http://127.0.0.1:{closed}"\n'
        )
        code, out, _ = run("doctor", "--config", "t.toml")
    assert code == 1
    assert re.search(r"^ok +provider up +127\.0\.0\.1:\d+ can be reached", out, re.MULTILINE)
    assert re.search(
        r"^WRONG +provider down +127\.0\.0\.1:\d+ cannot be reached: .*refused", out, re.MULTILINE
    )


def test_doctor_says_when_a_provider_does_not_speak_tls(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        port = server.getsockname()[1]
        configure(
            "[server]\nport = 0\n"
            f'[[providers]]\nname = "p"\nkind = "anthropic"\napi_key = "k"\nbase_url = "https://127.0.0.1:{port}"\n'
        )
        code, out, _ = run("doctor", "--config", "t.toml")
        thread.join()
    assert code == 1
    assert "cannot be reached" in out


def test_doctor_finds_a_port_that_is_taken_by_something_else(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        configure(f"[server]\nport = {port}\n")
        code, out, _ = run("doctor", "--config", "t.toml")
        thread.join()
    assert code == 1
    assert re.search(rf"^WRONG +port +127\.0\.0\.1:{port} cannot be used", out, re.MULTILINE)


def test_doctor_shows_a_broken_configuration_as_a_finding(run: Run) -> None:
    configure("[sever]\n")
    code, out, err = run("doctor", "--config", "t.toml")
    assert (code, err) == (1, "")
    assert "WRONG  configuration" in out
    assert "unknown key" in out


def test_an_unexpected_error_is_told_without_its_text_and_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("triptych.settings.load_settings", broken)
    code, out, err = run("check")
    assert (code, out) == (1, "")
    assert err.startswith("triptych: error: internal error (RuntimeError at test_commands.py:")
    assert "canary" not in err


def test_a_reader_who_leaves_early_causes_no_complaint(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "triptych", "check"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(10) == 1


def test_the_entry_point_loads_nothing_and_help_loads_no_database(tmp_path: Path) -> None:
    loaded = (
        "import sys; from triptych.cli import main; first = len(set(sys.modules) & {'typer', 'msgspec'}); "
        "main(['--help']); heavy = {'sqlalchemy', 'cryptography', 'uvloop', 'rich', 'alembic'}; "
        "import json; print(json.dumps([first, sorted(heavy & set(sys.modules))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20
    )
    assert msgspec.json.decode(done.stdout.splitlines()[-1]) == [0, []]
